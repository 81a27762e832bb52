from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.recipe import Runner
from pipeline.training.checkpoints import load_checkpoint
from tests.samples import SYNSETS, write_boxes

pytestmark = pytest.mark.long

R = 32
COUNTS = {"train": 8, "val": 4, "test": 3}
RECALL: dict[str, Any] = {"image_size": [32, 32], "resolution": R, "encoder_channels": [8, 16], "encoder_blocks": 1}
RECALL |= {"side": R, "grid_channels": [16, 8], "refine_channels": 8, "key_width": 8}
PLAN: dict[str, Any] = {
    "views": 2,
    "modules": {"recall": "recall"},
    "projects": {"boxes": {"folder": "boxes"}, "others": {"folder": "boxes"}},
    "ablations": {
        "project": "boxes",
        "system": "recall",
        "folds": 2,
        "trained_folds": 2,
        "seconds": 3000,
        "common": {"train.samples": 32, "system.dice_weight": 0.5},
        "held": {"behind": {"background": True}, "same": {"project": "others"}},
        "settings": {
            "base": {},
            "cross_entropy": {"system.dice_weight": 0.0},
            "others": {"project": "others", "train.balanced": True, "train.augment.background": 0.5},
        },
    },
    "final_common": {"train.samples": 160},
    "finals": [{"name": "last", "project": "boxes", "system": "recall", "settings": {}}],
}


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plan beside its project, of shards of boxes."""
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    write_boxes(tmp_path / "boxes/data/shards", R, COUNTS)
    given = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8"))
    given["dataset"]["categories"] = list(SYNSETS)
    given["train"] |= {"batch_size": 8, "validations": 2, "lr": 0.003}
    given["systems"] = {"recall": RECALL}
    (tmp_path / "boxes/params.yaml").write_text(json.dumps(given))
    (tmp_path / "plan.yaml").write_text(json.dumps(PLAN))
    return tmp_path / "plan.yaml"


def test_a_plan_is_worked_through(plan: Path) -> None:
    root = Path(__file__).parents[2]
    arguments = f"-m benchmarks.recipe {plan} --out {plan.parent / 'out'} --seconds 3000"
    command = [sys.executable, *arguments.split()]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    found = json.loads((plan.parent / "out/recipe.json").read_text())
    assert "failed" not in found, found["failed"]
    assert [(row["setting"], row["fold"]) for row in found["ablations"]] == [
        (name, fold) for name in ("base", "cross_entropy", "others") for fold in (0, 1)
    ]
    means = {name: [row["iou"] for row in found["ablations"] if row["setting"] == name] for name in found["gains"]}
    base = [row["iou"] for row in found["ablations"] if row["setting"] == "base"]
    for name, gain in found["gains"].items():
        expected = [a - b for a, b in zip(means[name], base, strict=True)]
        assert gain["folds"] == pytest.approx(expected, abs=1e-4)
        assert gain["low"] <= gain["gain"] <= gain["high"]
    # The other project's views are the same here, and before backgrounds they are others.
    nothing = found["held"]["same"]["base"]
    assert nothing["against"] == "plain" and nothing["gain"] == nothing["low"] == nothing["high"] == 0
    assert {k: v for k, v in found["gains"]["others"].items() if k != "kept"} == found["held"]["same"]["others"]
    for row in found["ablations"]:
        assert row["same_iou"] == pytest.approx(row["iou"]) and row["behind_iou"] != row["iou"]
    # Each fold is held out once, and what is looked up then comes from the others.
    held = [found[f"fold_{fold}"]["models"] for fold in (0, 1)]
    assert sum(held) == len(SYNSETS) * (COUNTS["train"] + COUNTS["val"]) and min(held) > 0
    assert [row["models"] for row in found["ablations"][:2]] == held[::-1]
    (final,) = found["finals"]
    assert final["test_models"] == len(SYNSETS) * COUNTS["test"] and final["samples"] == 160
    # Flat and tall boxes, which a look at a silhouette tells apart.
    assert final["one"]["test_iou"][0] > 0.5 and final["nearest_image"][0] > 0.5
    network, _, info = load_checkpoint(plan.parent / "out/last.pt")
    assert len(network.grids) == len(SYNSETS) * COUNTS["train"] and info["system"] == "recall"


def test_where_time_is_over_nothing_begins(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(plan.parent)
    runner = Runner(PLAN, plan.parent / "out", time.monotonic())
    runner.ablations()
    runner.final(PLAN["finals"][0])
    runner.write()
    found = json.loads((plan.parent / "out/recipe.json").read_text())
    assert found["ablations"] == found["finals"] == [] and found["kept"] == {}
