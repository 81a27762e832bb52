"""The curves of the report's page, as SVG."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from functools import partial
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
SYSTEM, FIXED = "#e08a1e", "#8f9bab"
VALIDATION = {"val_iou": "validation IoU", "val_chamfer": "validation Chamfer distance"}
ABREAST = 3  # at most


def charts(curves: list[dict[str, str]], sweep: list[dict[str, str]], views: list[dict[str, str]]) -> str:
    """An <svg> of validation scores and losses over training samples, and of what else there is to draw.

    Args:
        curves: rows of data/curves/<system>.csv; a loss is any column without a place of its own, blank cells are
            left out.
        sweep: rows of data/scores/<system>/thresholds.csv, none of a system without a threshold.
        views: rows of data/views/<system>.csv, drawn where there are several.
    """
    drawn: list[Callable[[Axes], None]] = [
        partial(learning, rows=curves, score=s) for s in VALIDATION if series(curves, "samples", s)[1]
    ]
    drawn.append(partial(losses, rows=curves))
    drawn += [partial(thresholds, rows=sweep)] if sweep else []
    drawn += [partial(more_views, rows=views)] if len(views) > 1 else []
    lines = -(-len(drawn) // ABREAST)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 2.9 * lines), layout="constrained")
        places = figure.subplots(lines, -(-len(drawn) // lines), squeeze=False).ravel()
        for draw, axes in zip(drawn, places, strict=False):
            draw(axes)
        for axes in places[len(drawn) :]:
            axes.set_axis_off()
        content = io.StringIO()
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return content.getvalue()[content.getvalue().index("<svg") :]


def learning(axes: Axes, rows: list[dict[str, str]], score: str) -> None:
    axes.plot(*series(rows, "samples", score), color=SYSTEM, marker=".")
    axes.set(title=VALIDATION[score], xlabel="training samples", ylim=(0, None))


def losses(axes: Axes, rows: list[dict[str, str]]) -> None:
    for name in rows[0]:
        x, y = series(rows, "samples", name)
        if name not in ("samples", "lr", *VALIDATION) and max(y, default=0) > 0:
            y = [value if value > 0 else math.nan for value in y]  # a part that rests has no loss
            axes.plot(x, y, marker=".", linestyle="--" if name == "val_bce" else "-", label=name)
    axes.set(title="losses", xlabel="training samples", yscale="log")
    axes.legend(fontsize=7)


def thresholds(axes: Axes, rows: list[dict[str, str]]) -> None:
    axes.plot(*series(rows, "threshold", "val_iou"), color=SYSTEM)
    axes.set(title="validation IoU by threshold", xlabel="threshold", xlim=(0, 1), ylim=(0, None))


def more_views(axes: Axes, rows: list[dict[str, str]]) -> None:
    """With 95 % intervals."""
    of_grids = {"iou": ("at the tuned threshold", SYSTEM), "iou_0.4": ("at 0.4", FIXED)}
    with_grids = bool(rows[0].get("iou"))
    shown = of_grids if with_grids else {"chamfer_unsquared": ("", SYSTEM)}
    for score, (label, colour) in shown.items():
        x, y = series(rows, "views", score)
        low, high = (series(rows, "views", f"{score}_{end}")[1] for end in ("low", "high"))
        axes.plot(x, y, color=colour, marker=".", label=label)
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    title = "IoU" if with_grids else "Chamfer distance"
    axes.set(title=f"test {title} by views of a shape", xlabel="views", ylim=(0, None))
    axes.set_xticks(x)
    if len(shown) > 1:
        axes.legend()


def series(rows: list[dict[str, str]], x: str, y: str) -> tuple[list[float], list[float]]:
    """Two columns of numbers, without the rows where one is blank."""
    pairs = [(float(row[x]), float(row[y])) for row in rows if row.get(x) and row.get(y)]
    return [a for a, _ in pairs], [b for _, b in pairs]
