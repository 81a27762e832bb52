"""The curves of the report's page, as SVG."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

INK, GRID = "#010203", "#040506"  # stand-ins for what the page's colours are, by day and by night
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "oneview",  # ids in the file do not change from run to run
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}
SYSTEM, FIXED = "#e08a1e", "#8f9bab"
COLOURS = SYSTEM, "#4a86c5", "#4f9a55", "#b0609f", "#8f9bab", "#9a6b3f", "#c04a42", "#6a6fc0"
MARKERS = "os^Dvxp*"  # no line is told by its colour alone
VALIDATION = {"val_iou": "validation IoU", "val_chamfer": "validation Chamfer distance"}
SIZE = 3.6, 2.9  # inches
TICKS = 5  # of an axis, at most
Rows = list[dict[str, str]]


def charts(curves: Rows, sweep: Rows, views: Rows) -> list[str]:
    """Each an <svg>: validation scores and losses over training samples, and of what else there is to draw.

    Args:
        curves: rows of data/curves/<system>.csv; a loss is any column without a place of its own, blank cells are
            left out.
        sweep: rows of data/scores/<system>/thresholds.csv, none of a system without a threshold.
        views: rows of data/views/<system>.csv, drawn where there are several.
    """
    drawn = [partial(learning, rows={"": curves}, score=s) for s in VALIDATION if series(curves, "samples", s)[1]]
    drawn.append(partial(losses, rows=curves))
    drawn += [partial(thresholds, rows=sweep)] if sweep else []
    drawn += [partial(more_views, rows=views)] if len(views) > 1 else []
    return [drawing(draw) for draw in drawn]


def compared(curves: dict[str, Rows], views: dict[str, Rows]) -> list[str]:
    """Each an <svg>: what `charts` shows of one system, of all that have it, by name."""
    drawn = []
    for score in VALIDATION:
        if found := {name: rows for name, rows in curves.items() if series(rows, "samples", score)[1]}:
            drawn.append(partial(learning, rows=found, score=score))
    if found := {name: rows for name, rows in views.items() if len(rows) > 1 and rows[0].get("iou")}:
        drawn.append(partial(by_views, rows=found))
    return [drawing(draw) for draw in drawn]


def drawing(draw: Callable[[Axes], None]) -> str:
    """An <svg> of axes, in the colours of the page around it."""
    with matplotlib.rc_context(STYLE):
        content = io.StringIO()
        axed(draw).savefig(content, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = re.sub(r"<metadata>.*?</metadata>", "", content.getvalue()[content.getvalue().index("<svg") :], flags=re.S)
    used = set(re.findall(r"#([\w-]+)[\")]", text))
    text = re.sub(r' id="([\w.-]+)"', lambda found: found[0] if found[1] in used else "", text)  # the page has several
    return text.replace(INK, "currentColor").replace(GRID, "var(--line)")


def axed(draw: Callable[[Axes], None]) -> Figure:
    figure = Figure(figsize=SIZE, layout="constrained")
    draw(figure.subplots())
    return figure


def legend(axes: Axes) -> None:
    """Below the axes, where it covers no line."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)


def sampled(axes: Axes) -> None:
    """An axis of training samples: few ticks, in thousands."""
    axes.xaxis.set_major_locator(MaxNLocator(TICKS - 1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 1000:g}k" if abs(x) >= 1000 else f"{x:g}"))
    axes.set_xlabel("training samples")


def learning(axes: Axes, rows: dict[str, Rows], score: str) -> None:
    for (name, found), colour, marker in zip(rows.items(), cycle(COLOURS), cycle(MARKERS)):
        axes.plot(*series(found, "samples", score), color=colour, marker=marker, markersize=4, label=plain(name))
    axes.set(title=VALIDATION[score], ylim=(0, None))
    sampled(axes)
    legend(axes)


def losses(axes: Axes, rows: Rows) -> None:
    styles = zip(cycle(COLOURS), cycle(MARKERS))
    for name in rows[0]:
        x, y = series(rows, "samples", name)
        if name not in ("samples", "lr", *VALIDATION) and max(y, default=0) > 0:
            y = [value if value > 0 else math.nan for value in y]  # a part that rests has no loss
            colour, marker = next(styles)
            line = "--" if name == "val_bce" else "-"
            axes.plot(x, y, color=colour, marker=marker, markersize=4, linestyle=line, label=name)
    axes.set(title="losses", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow(axes) else (1.0,), numticks=TICKS + 1))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    sampled(axes)
    legend(axes)


def narrow(axes: Axes) -> bool:
    """Whether powers of ten are too far apart to be ticks of the y axis."""
    low, high = axes.get_ylim()
    return high < 100 * low


def thresholds(axes: Axes, rows: Rows) -> None:
    axes.plot(*series(rows, "threshold", "val_iou"), color=SYSTEM)
    axes.set(title="validation IoU by threshold", xlabel="threshold", xlim=(0, 1), ylim=(0, None))


def more_views(axes: Axes, rows: Rows) -> None:
    """With 95 % intervals."""
    of_grids = {"iou": ("at the tuned threshold", SYSTEM, "o"), "iou_0.4": ("at 0.4", FIXED, "s")}
    with_grids = bool(rows[0].get("iou"))
    shown = of_grids if with_grids else {"chamfer_unsquared": ("", SYSTEM, "o")}
    for score, style in shown.items():
        banded(axes, rows, score, *style)
    viewed(axes, "IoU" if with_grids else "Chamfer distance", series(rows, "views", "views")[0])


def by_views(axes: Axes, rows: dict[str, Rows]) -> None:
    for (name, found), colour, marker in zip(rows.items(), cycle(COLOURS), cycle(MARKERS)):
        banded(axes, found, "iou", name, colour, marker)
    viewed(axes, "IoU", sorted({x for found in rows.values() for x in series(found, "views", "views")[0]}))


def plain(name: str) -> str:
    """A name as matplotlib shows it letter by letter: no formula, and in the legend though it begins with _."""
    return "\u200b" * name.startswith("_") + name.replace("$", r"\$")


def banded(axes: Axes, rows: Rows, score: str, label: str, colour: str, marker: str) -> None:
    x, y = series(rows, "views", score)
    low, high = (series(rows, "views", f"{score}_{end}")[1] for end in ("low", "high"))
    axes.plot(x, y, color=colour, marker=marker, markersize=4, label=plain(label))
    axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)


def viewed(axes: Axes, title: str, views: list[float]) -> None:
    """An axis of views of a shape, with a tick for each of their numbers as far as there is room."""
    axes.set(title=f"test {title} by views of a shape", xlabel="views", ylim=(0, None))
    room, ticks = (views[-1] - views[0]) / 12, views[-1:]
    for x in views[-2::-1]:
        ticks += [x] if ticks[-1] - x >= room else []
    axes.set_xticks(ticks)
    legend(axes)


def series(rows: Rows, x: str, y: str) -> tuple[list[float], list[float]]:
    """Two columns of numbers, without the rows where one is blank."""
    pairs = [(float(row[x]), float(row[y])) for row in rows if row.get(x) and row.get(y)]
    return [a for a, _ in pairs], [b for _, b in pairs]
