from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

import model
from benchmarks import scoring
from pipeline.training import checkpoints
from tests.samples import SYNSETS, write_boxes

TINY = {"image_size": (48, 64), "resolution": 16, "encoder_channels": (4, 8), "encoder_blocks": 1}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Shards of boxes, and a network that was never trained."""
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["dataset"]["categories"] = list(SYNSETS)
    params["metrics"] |= {"points": 100, "matched": 10, "views": 1}
    (tmp_path / "params.yaml").write_text(json.dumps(params))  # which is YAML, with its strings in quotes
    write_boxes(tmp_path / "data/shards")
    module = model.system("view2voxel")
    config = module.Config(decoder_channels=(8, 4), **TINY)
    torch.manual_seed(0)
    contents = checkpoints.describe("tiny", module, config) | {"state": module.Model(config).state_dict()}
    checkpoints.save(tmp_path / "data/checkpoints/tiny.pt", contents)
    return tmp_path


@pytest.mark.long
def test_every_way_scores_the_same(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEVIEW_WORKERS", "2")
    before = sorted(project.rglob("*"))
    found = scoring.measure("tiny", project, Path(), seconds=300)
    assert sorted(project.rglob("*")) == before
    first = "cuda" if torch.cuda.is_available() else "cpu"
    assert next(iter(found["seconds"])) == first and {"before", "cpu"} <= set(found["seconds"])
    for name, times in found["seconds"].items():
        assert list(times) == ["baselines", "metrics tiny"] and min(times.values()) > 0
        assert min(found["cpu_seconds"][name].values()) > 0
    assert {"iou", "chamfer_unsquared", "emd", "pix3d_emd", "r3d_iou"} <= set(found["difference"]["before"])
    assert max(found["difference"]["before"].values()) <= (1e-4 if first == "cuda" else 0)


def test_what_takes_too_long_is_stopped(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert scoring.measure("tiny", project, None, seconds=0.01)["seconds"] == {}
    assert "baselines: expected to end within --seconds 0.01 in all, was stopped" in capfd.readouterr().out


def test_differences_are_the_largest_over_the_names() -> None:
    expected = {("a", "iou"): 0.5, ("b", "iou"): 0.5, ("a", "emd"): 0.1, ("c", "iou"): 0.0}
    found = {("a", "iou"): 0.25, ("b", "iou"): 0.625, ("a", "emd"): 0.1}
    assert scoring.differences(found, expected) == {"emd": 0, "iou": 0.25}
