from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.training.curves import Curves

FIRST = {"samples": 16, "voxels": 0.5, "val_iou": 0.1, "val_bce": 0.4, "lr": 0.001}
SECOND = {"samples": 32, "voxels": 0.25, "adversarial": 1 / 3, "val_iou": 0.2, "val_bce": 0.3, "lr": 0.0005}
FIRST_TABLE = "samples,voxels,val_iou,val_bce,val_chamfer,lr\n16,0.5,0.1,0.4,,0.001\n"
TABLE = (
    "samples,voxels,adversarial,val_iou,val_bce,val_chamfer,lr\n"
    "16,0.5,,0.1,0.4,,0.001\n32,0.25,0.333333,0.2,0.3,,0.0005\n"
)


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_table_has_a_column_for_every_loss_that_ever_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dvclive", None)
    with Curves("r3d", []) as curves:
        curves.add(FIRST)
        assert Path("data/curves/r3d.csv").read_text() == FIRST_TABLE
        curves.add(SECOND)
    assert Path("data/curves/r3d.csv").read_text() == TABLE
    assert not Path("data/dvclive").exists()


def test_a_resumed_training_begins_with_the_rows_that_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dvclive", None)
    rows = [FIRST]
    with Curves("r3d", rows) as curves:
        curves.add(SECOND)
    assert rows == [FIRST, SECOND]
    assert Path("data/curves/r3d.csv").read_text() == TABLE


def test_processes_but_the_first_write_nothing(tmp_path: Path) -> None:
    with Curves("r3d", [], enabled=False) as curves:
        curves.add(FIRST)
    assert not list(tmp_path.iterdir())


def test_dvclive_gets_the_same_rows() -> None:
    pytest.importorskip("dvclive")
    with Curves("r3d", [FIRST]) as curves:
        curves.add(SECOND)
    with open("data/dvclive/r3d/plots/metrics/val_iou.tsv", newline="") as file:
        found = [(int(row["step"]), float(row["val_iou"])) for row in csv.DictReader(file, delimiter="\t")]
    assert found == [(16, 0.1), (32, 0.2)]
    assert json.loads(Path("data/dvclive/r3d/metrics.json").read_text())["voxels"] == 0.25
    assert not Path("dvc.yaml").exists()


class Board:
    """What TensorBoard is told."""

    def __init__(self, folder: str, purge_step: int):
        self.folder, self.begin, self.closed = folder, purge_step, False
        self.scalars: list[tuple[str, float, int]] = []

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.append((name, value, step))

    def close(self) -> None:
        self.closed = True


def test_tensorboard_gets_rows_and_log_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dvclive", None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Board))
    with Curves("r3d", [FIRST], tensorboard=True) as curves:
        board: Any = curves.board
        curves.log(20, {"waiting": 0.25})
        curves.add(SECOND)
    assert (board.folder, board.begin, board.closed) == ("data/tensorboard/r3d", 17, True)
    rest = [(name, value, 32) for name, value in SECOND.items() if name != "samples"]
    assert board.scalars == [("waiting", 0.25, 20), *rest]
    with Curves("r3d", []) as curves:
        curves.log(20, {"waiting": 0.25})
        assert curves.board is None
    assert Curves("r3d", [], enabled=False, tensorboard=True).board is None


def test_tensorboard_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match="train.tensorboard: expected the package tensorboard, which is not installed"):
        Curves("r3d", [], tensorboard=True)
