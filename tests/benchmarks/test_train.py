from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml

from benchmarks import train
from benchmarks.train import Row, layers_of_pytorch, rows
from model.layers import pointloss
from model.layers.blocks import Doubling
from tests.samples import write_boxes

TINY = {
    "image_size": [32, 32],
    "resolution": 16,
    "encoder_channels": [4, 8],
    "encoder_pools": [4, 2],
    "attention_dropout": 0.0,
    "hidden": [16],
    "latent": 8,
    "generator_channels": [8, 4],
    "discriminator_channels": [4, 8],
}
VIEW = {"image_size": [32, 32], "resolution": 16, "encoder_channels": [4, 8], "encoder_blocks": 1}


@pytest.mark.long
def test_the_table_of_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    monkeypatch.setattr(train, "MATRIX", {"cpu": (64, torch.float32)})
    Path("params.yaml").write_text(yaml.safe_dump({"systems": {"r3d": TINY, "view2voxel": VIEW}}))
    root = write_boxes(tmp_path / "shards")
    monkeypatch.setattr("sys.argv", ["train", "--root", str(root), "--row-seconds", "0.01", "--steps", "20"])
    train.main()
    (found,) = [json.loads(path.read_text()) for path in Path("benchmarks/results").iterdir()]
    assert found["device"] == "cpu" and found["matrix_tflops"] >= 0
    for entry in ("r3d", "view2voxel"):
        speed = found["speed"][entry]
        assert list(speed) == ["batch", "gflops_a_sample", *rows("cpu", True)]
        assert speed["gflops_a_sample"] > 0 and speed["plain"]["times"] == 1
        for title in rows("cpu", True):
            assert speed[title]["samples_per_s"] > 0 and 0 <= speed[title]["waiting"] <= 1
    learnt = found["after 20 steps"]["r3d"]
    for loss in ("voxels", "kl", "adversarial", "discriminator"):
        assert learnt["resident, seed 0"][loss] > 0
    assert learnt["resident, seed 0"]["voxels"] == pytest.approx(learnt["plain, seed 0"]["voxels"], rel=0.1)
    assert learnt["resident, seed 0"]["voxels"] != learnt["resident, seed 1"]["voxels"]


def test_rows_add_one_thing_each() -> None:
    for kind, alike in (("cuda", True), ("cuda", False), ("cpu", True)):
        table = rows(kind, alike)
        assert ("recorded" in table) == (kind == "cuda" and alike) and ("compiled" in table) == (kind == "cuda")
        flat = [set(_facts(row).items()) for row in table.values()]
        changes = [len(after - before) for before, after in itertools.pairwise(flat)]
        assert changes == [2 if title == "tf32" else 1 for title in list(table)[1:]]


def _facts(row: Row) -> dict[str, bool]:
    return {**{name: value for name, value in vars(row).items() if name != "choices"}, **vars(row.choices)}


def test_the_plain_row_has_pytorchs_layers_and_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer, x = Doubling(3, 1), torch.randn(2, 3, 4, 4, 4)
    a, b = torch.randn(2, 2, 50, 3).unbind()
    here = layer(x), pointloss.nearest(a, b)
    with layers_of_pytorch():
        there = layer(x), pointloss.nearest(a, b)
        assert torch.equal(there[0], F.conv_transpose3d(x, layer.weight, layer.bias, 2, 1))
    torch.testing.assert_close(here, there)
    assert torch.equal(layer(x), here[0]) and pointloss.nearest.__module__ == "model.layers.pointloss"
