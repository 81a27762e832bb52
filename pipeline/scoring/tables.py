"""The comparison as files: CSV in full, and Markdown that says who is how good and which systems beat retrieval."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FIGURES, SCORES, COMPARISON = Path("data/metrics"), Path("data/scores"), Path("data/comparison")
METRICS = {
    "iou": ("IoU", 1),
    "iou_32": ("IoU at 32³", 1),
    "chamfer_unsquared": ("Chamfer", -1),
    "f_score_1%": ("F-score 1%", 1),
}  # -1: less is better
NOTE = """\
Means over the scored views with 95 % intervals (bootstrap over shapes); bold: the best trained system. IoU is at each
system's own resolution, the others' at the shards'; at 32³ all compare. Chamfer distance and F-score favour dense point
clouds: a system that predicts points gives as many as it has, from surfaces `metrics.points` are drawn.
`<system>_retrieval` and `nearest_image` answer with the nearest training view's shape. `category_mean_shape` is told
the category, `oracle` has the training shape with the highest IoU: neither competes.

Does a system beat retrieval? Its figure minus that of looking up, on the same views."""


def markdown(figures: list[dict[str, Any]], pairs: Iterable[Mapping[str, Any]]) -> str:
    """The table, its note, and which systems beat retrieval; from what `figures` and `differences` of compare give."""
    shown = {m: METRICS[m] for m in METRICS if not all(math.isnan(row[m]) for row in figures)}
    titles = [f"{title} {'↑' if sign > 0 else '↓'}" for title, sign in shown.values()]
    systems = [row for row in figures if row["kind"] == "system"]
    best = {metric: _best([row[metric] for row in systems], sign) for metric, (_, sign) in shown.items()}
    if "iou_32" in shown:
        best["iou"] = None  # of grids that may differ in their resolution
    lines = [_line("name", *titles, "failures"), _line(*["---"] * (len(titles) + 2))]
    for row in figures:
        cells = [_cell(row, metric, row["kind"] == "system" and row[metric] == best[metric]) for metric in shown]
        lines.append(_line(row["name"], *cells, f"{row['failures']} of {row['samples']}"))
    overall = {(pair["a"], pair["b"], pair["metric"]): pair for pair in pairs if pair["scope"] == "overall"}
    return "\n".join([*lines, "", NOTE, "", *verdicts([row["name"] for row in systems], overall), ""])


def verdicts(systems: Iterable[str], overall: Mapping[tuple[str, str, str], Mapping[str, Any]]) -> list[str]:
    """A table that says of every system whether it beats retrieval: whether the interval of the difference excludes 0.

    Args:
        overall: rows of pairs.csv by (system, other, metric).
    """
    judged_by = ("iou_32" if any(metric == "iou_32" for *_, metric in overall) else "iou", "chamfer_unsquared")
    lines = [_line("system", "against", *(f"by {METRICS[metric][0]}" for metric in judged_by)), _line(*["---"] * 4)]
    for system in systems:
        for other in ("nearest_image", f"{system}_retrieval"):
            common = [metric if (system, other, metric) in overall else None for metric in judged_by]
            cells = [_judgement(overall[system, other, metric], metric) if metric else "" for metric in common]
            lines.append(_line(system, other, *cells))
    return lines


def _judgement(pair: Mapping[str, Any], metric: str) -> str:
    return f"{_outcome(pair, METRICS[metric][1])} {pair['difference']:+.3f} [{pair['low']:+.3f}, {pair['high']:+.3f}]"


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Numbers with 6 decimals, empty where there is none."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: _shown(value) for key, value in row.items()})


def _shown(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else f"{value:.6f}"


def _outcome(pair: Mapping[str, Any], sign: int) -> str:
    if pair["low"] <= 0 <= pair["high"] or pair["shapes"] < 2:  # the interval of one shape has no width
        return "unclear"
    return "**beats**" if pair["difference"] * sign > 0 else "**loses**"


def _best(values: list[float], sign: int) -> float | None:
    return max((value for value in values if not math.isnan(value)), key=lambda value: sign * value, default=None)


def _cell(row: Mapping[str, Any], metric: str, bold: bool) -> str:
    if math.isnan(row[metric]):
        return ""
    text = f"{row[metric]:.3f} [{row[f'{metric}_low']:.3f}, {row[f'{metric}_high']:.3f}]"
    return f"**{text}**" if bold else text


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
