from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import model
from pipeline.findings.finding import Finding
from pipeline.findings.networks import drawn_mesh, look
from pipeline.geometry.solid import solid
from pipeline.training import checkpoints, weights
from tests.samples import write_boxes
from tests.systems import CONFIGS, created


def contents(name: str, **more: Any) -> dict[str, Any]:
    about = checkpoints.describe("mine", model.system(name), CONFIGS[name])
    return about | {"state": created(name).state_dict(), "samples": 1000, "val_iou": 0.25, "commit": "abc"} | more


def faults(finding: Finding) -> dict[str, str]:
    return {check.what: check.fault for check in finding.checks if check.fault}


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["view2points", "recall", "view2mesh"])
def test_a_checkpoint_and_weights_that_travel_are_told(name: str) -> None:
    told = contents(name)
    checkpoints.save(Path("a.pt"), told)
    weights.write(Path("a.safetensors"), told | {"threshold": 0.35})
    for path in (Path("a.pt"), Path("a.safetensors")):
        finding = look(path)
        assert not finding.faulty and finding.picture is not None
        assert finding.facts["system"] == f"mine, model/{name}.py"
        assert "on 1,000 samples, val_iou 0.250" in finding.facts["trained"]
        count = sum(value.numel() for value in told["state"].values())
        assert finding.facts["weights"].startswith(f"{count:,} numbers in {len(told['state'])} tensors")
        assert ("remembers" in finding.facts) == (name == "recall")
    assert finding.facts["trained"].endswith("threshold 0.35")


def test_a_config_that_can_not_be_and_weights_that_are_not_finite_are_faults() -> None:
    told = contents("view2voxel")
    checkpoints.save(Path("a.pt"), told | {"config": told["config"] | {"resolution": 7}})
    what = "config is valid, and the weights fit it"
    assert "resolution: expected a multiple of" in faults(look(Path("a.pt")))[what]
    checkpoints.save(Path("b.pt"), told | {"config": told["config"] | {"decoder_channels": [8, 8]}})
    assert "expected weights for model/view2voxel.py" in faults(look(Path("b.pt")))[what]
    next(iter(told["state"].values()))[0] = torch.nan
    checkpoints.save(Path("c.pt"), told)
    assert faults(look(Path("c.pt")))["all weights are finite"].startswith("1 tensors have others, as encoder.0")


def test_splits_are_compared_with_the_shards_that_are_here() -> None:
    from pipeline.shards.layout import SHARDS, ShardDataset, split_sha256
    from tests.samples import SYNSETS

    write_boxes(SHARDS)
    own = split_sha256(ShardDataset(SHARDS, SYNSETS, "train").models)
    checkpoints.save(Path("a.pt"), contents("view2points", splits={"train": own, "val": 64 * "0"}))
    assert (
        look(Path("a.pt")).facts["split"] == f"train {own[:8]} (as the shards here), val 00000000 (not the shards here)"
    )


def test_a_file_that_is_damaged_is_refused() -> None:
    checkpoints.save(Path("a.pt"), contents("view2points"))
    data = bytearray(Path("a.pt").read_bytes())
    data[len(data) // 2] ^= 255
    Path("a.pt").write_bytes(data)
    with pytest.raises(ValueError, match="a.pt: expected a checkpoint"):
        look(Path("a.pt"))


def test_what_is_drawn_is_a_chair_in_the_normalised_frame() -> None:
    mesh = drawn_mesh("03001627")
    grid, note = solid(mesh.vertices, mesh.faces, 32)
    assert note.components == 1 and 0.02 < grid.mean() < 0.3


@pytest.mark.long
def test_a_picture_shows_what_it_answers() -> None:
    checkpoints.save(Path("a.pt"), contents("view2points"))
    draw = look(Path("a.pt")).picture
    assert draw is not None and draw().height > 600
