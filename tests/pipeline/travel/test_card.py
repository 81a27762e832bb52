from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.travel.card import card
from tests.systems import CONFIGS

PARAMS = """
dataset: {root: data/chairs, categories: ["03001627", lamp], variants: {count: 4}}
train: {batch_size: 32, samples: 1000}
report: {rows: 3}
"""
INFO: dict[str, Any] = {
    "system": "mine",
    "module": "view2voxel",
    "config": {"resolution": 16},
    "samples": 1234,
    "val_iou": 0.4567,
    "val_chamfer": None,
    "params": PARAMS,
    "splits": {"train": 64 * "a", "val": 64 * "b"},
    "versions": {"torch": "2.11"},
    "commit": "0123",
    "threshold": 0.35,
}


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def text(**changed: Any) -> str:
    return card(Path("mine.onnx"), INFO | changed, CONFIGS["view2voxel"], "occupancy", None, "USE")


def test_it_tells_data_split_training_and_leaves_the_licence_open() -> None:
    told = text()
    assert told.startswith("# mine.onnx\n")
    for line in (
        "| what | from photos to a voxel grid, by transposed convolutions: `mine`, `model/view2voxel.py` of oneview |",
        "| trained on | `data/chairs`: chair, lamp, 4 stretched variants of each training model |",
        "| split | train `aaaaaaaa`, val `bbbbbbbb`, a hash of the models' names |",
        "| for | 1,234 samples in batches of 32 |",
        "| commit | `0123` |",
        "| licence | **to be filled in** (`--licence` does), as that of the data allows |",
        "In validation: val_iou 0.457.",
        "1. Cut the object out: a mask of the photo's size, 1 on the object.",
        "USE",
    ):
        assert line in told.splitlines(), line
    made = list(yaml.safe_load_all(told.partition("```yaml\n")[2].partition("```")[0]))
    sections = {name: section for name, section in yaml.safe_load(PARAMS).items() if name != "report"}
    assert made == [{"config": {"resolution": 16}} | sections]


def test_test_figures_stand_beside_looking_up() -> None:
    for name, iou in (("mine", 0.5), ("nearest_image", 0.4)):
        folder = Path("data/scores") / name
        folder.mkdir(parents=True)
        lines = f"overall,iou_32,{iou},{iou - 0.1},{iou + 0.1},20\nchair,iou_32,0.9,0.9,0.9,9\n"
        (folder / "metrics.csv").write_text(f"scope,score,mean,low,high,samples\n{lines}")
        overall = {"samples": 20, "models": 5, "split_sha256": "abcd", "failures": 1}
        (folder / "figures.json").write_text(json.dumps({"overall": overall}))
    assert "| IoU at 32³ ↑ | 0.500 [0.400, 0.600] | 0.400 [0.300, 0.500] |" in text()
    assert "20 views of 5 test models, split `abcd`; 1 predictions failed." in text()


def test_what_is_not_known_is_said() -> None:
    told = card(Path("a"), {k: INFO[k] for k in ("system", "module", "config")}, CONFIGS["r3d"], "occupancy", "MIT", "")
    assert "| trained on | not told |" in told and "No figures are told." in told and "| licence | MIT |" in told
