"""Training curves: `data/curves/<system>.csv` for `dvc plots`, and the same rows to DVCLive where it is installed.

TensorBoard gets them where `train.tensorboard` asks for it, and what the log says: `data/tensorboard/<system>/`.
"""

from __future__ import annotations

import csv
from pathlib import Path
from types import TracebackType
from typing import Any

from pipeline.runtime.files import atomic_write

CURVES, LIVE, BOARD = Path("data/curves"), Path("data/dvclive"), Path("data/tensorboard")
SCORES = ("val_iou", "val_bce", "val_chamfer")  # of `validation.py`


class Curves:
    """Rows of one training, written whole with every row that is added. Use it in a `with`.

    Args:
        system: names the files.
        rows: of the part of the training that is already done; the list grows with the training.
        enabled: False in all processes but the first.
        tensorboard: whether it gets them too.

    Raises:
        ValueError: TensorBoard is asked for and not installed.
    """

    def __init__(self, system: str, rows: list[dict[str, float]], enabled: bool = True, tensorboard: bool = False):
        self.system, self.rows, self.enabled = system, rows, enabled
        self.live: Any = None
        last = int(rows[-1]["samples"]) if rows else -1
        self.board = _tensorboard(BOARD / system, last + 1) if enabled and tensorboard else None

    def __enter__(self) -> Curves:
        if self.enabled:
            self.live = _dvclive(LIVE / self.system)
            for row in self.rows:
                self._show(row)
            self._write()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.end()
        if self.board:
            self.board.close()

    def add(self, row: dict[str, float]) -> None:
        """A row has `samples`, `lr`, those of SCORES that the system has, and whatever losses there were."""
        self.rows.append(row)
        if self.enabled:
            self._write()
            self._show(row)
            self.log(int(row["samples"]), row)

    def log(self, samples: int, figures: dict[str, float]) -> None:
        """Gives TensorBoard figures by name, after so many samples."""
        if self.board:
            for name, value in figures.items():
                if name != "samples":
                    self.board.add_scalar(name, value, samples)

    def _write(self) -> None:
        # Losses may come and go over a training: a column for each that ever was, empty where it was not.
        # Every system has the columns of all scores, as `dvc plots` wants the same ones of each.
        losses = dict.fromkeys(name for row in self.rows for name in row if name not in ("samples", *SCORES, "lr"))
        columns = ["samples", *losses, *SCORES, "lr"]
        with atomic_write(CURVES / f"{self.system}.csv") as path, path.open("w", newline="") as file:
            table = csv.DictWriter(file, columns, lineterminator="\n")
            table.writeheader()
            table.writerows({k: v if k == "samples" else f"{v:.6g}" for k, v in row.items()} for row in self.rows)

    def _show(self, row: dict[str, float]) -> None:
        if self.live:
            self.live.step = row["samples"]
            for name, value in row.items():
                if name != "samples":
                    self.live.log_metric(name, value)
            self.live.make_summary()


def _dvclive(folder: Path) -> Any:
    try:
        from dvclive import Live
    except ImportError:
        return None
    try:
        return Live(str(folder), save_dvc_exp=False, dvcyaml=None)
    except Exception as error:  # an extra must not stop a training; it fails in a git repository without a commit, say
        print(f"curves without DVCLive: {error}", flush=True)
        return None


def _tensorboard(folder: Path, begin: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError(
            "train.tensorboard: expected the package tensorboard, which is not installed; `pip install tensorboard`"
        ) from error
    return SummaryWriter(str(folder), purge_step=begin)  # what an earlier run showed from there on is not shown
