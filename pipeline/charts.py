"""The curves of the report's page, as SVG."""

from __future__ import annotations

import io
import math
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "oneview",  # ids in the file do not change from run to run
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#eceef1",
    "axes.axisbelow": True,
    "legend.frameon": False,
}
SYSTEM, MEAN_SHAPE = "#e08a1e", "#8f9bab"


def charts(curves: list[dict[str, str]], sweep: list[dict[str, str]]) -> str:
    """An <svg> of validation IoU and losses over training samples, and of validation IoU over thresholds.

    Args:
        curves: rows of data/curves/<system>.csv; a loss is any column without a place of its own, blank cells are
            left out.
        sweep: rows of data/scores/<system>/thresholds.csv.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 2.9), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        learning(left, curves)
        losses(middle, curves)
        thresholds(right, sweep)
        content = io.StringIO()
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return content.getvalue()[content.getvalue().index("<svg") :]


def learning(axes: Axes, curves: list[dict[str, str]]) -> None:
    axes.plot(*series(curves, "samples", "val_iou"), color=SYSTEM, marker=".")
    axes.set(title="validation IoU", xlabel="training samples", ylim=(0, None))


def losses(axes: Axes, curves: list[dict[str, str]]) -> None:
    for name in curves[0]:
        x, y = series(curves, "samples", name)
        if name not in ("samples", "val_iou", "lr") and max(y, default=0) > 0:
            y = [value if value > 0 else math.nan for value in y]  # a part that rests has no loss
            axes.plot(x, y, marker=".", linestyle="--" if name == "val_bce" else "-", label=name)
    axes.set(title="losses", xlabel="training samples", yscale="log")
    axes.legend(fontsize=7)


def thresholds(axes: Axes, sweep: list[dict[str, str]]) -> None:
    for name, label, colour in (
        ("val_iou", "system", SYSTEM),
        ("mean_shape_val_iou", "mean shape", MEAN_SHAPE),
    ):
        axes.plot(*series(sweep, "threshold", name), color=colour, label=label)
    axes.set(title="validation IoU by threshold", xlabel="threshold", xlim=(0, 1), ylim=(0, None))
    axes.legend()


def series(rows: list[dict[str, str]], x: str, y: str) -> tuple[list[float], list[float]]:
    """Two columns of numbers, without the rows where one is blank."""
    pairs = [(float(row[x]), float(row[y])) for row in rows if row.get(x) and row.get(y)]
    return [a for a, _ in pairs], [b for _, b in pairs]
