"""The comparison as files: CSV in full, Markdown, and the few lines of it that one reads first."""

from __future__ import annotations

import csv
import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FIGURES, SCORES, COMPARISON = Path("data/metrics"), Path("data/scores"), Path("data/comparison")
METRICS = {
    "iou": ("IoU", 1),
    "iou_32": ("IoU at 32³", 1),
    "chamfer_unsquared": ("Chamfer", -1),
    "f_score_1%": ("F-score 1%", 1),
}  # -1: less is better
WIDTH = 100  # of a terminal
COMPETITOR = "nearest_image"  # that a system has to beat
FEW = 10  # shapes: the interval of fewer is too narrow to say anything by (`statistics.py`)
TOLD = ("category_mean_shape", "oracle")  # what they are told, nobody else knows: they do not compete
TOLD_RULES = ("best_of_24", "scaled_icp")  # of `others/frames.py`, by which a method was moved to fit
MADE = ("system", "method")  # kinds of what predicts: systems of this project, and what others made
NOTE = """\
Means over the scored views with 95 % intervals (bootstrap over shapes); bold: a trained system, or a method of others,
`<method>@<rule of its frame>`, that is better than all that competes. IoU is at each system's own resolution, the
others' at the shards'; at 32³ all compare. Chamfer distance and F-score favour dense point clouds: a system that
predicts points gives as many as it has, from surfaces `metrics.points` are drawn. `<system>_retrieval` and
`nearest_image` answer with the nearest training view's shape. `category_mean_shape` is told the category, `oracle` has
the training shape with the highest IoU, and what was moved by `best_of_24` or `scaled_icp` is told the truth's place:
none of these competes.

Does a system beat retrieval? Its figure minus that of looking up, on the same views."""
Row = Mapping[str, Any]
Pairs = Mapping[tuple[str, str, str], Row]  # rows of pairs.csv over all samples, by a, b and metric


def tuned_threshold(system: str) -> float | None:
    """Of the occupancy, as the metrics stage tuned it on validation; None where it has not, or the system has none."""
    found: float | None = figures_of(system).get("threshold")
    return found


def figures_of(name: str) -> dict[str, Any]:
    """The figures over all samples in its figures.json; none where it was not scored."""
    path = SCORES / name / "figures.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))["overall"]) if path.is_file() else {}


def markdown(figures: Sequence[Row], overall: Pairs) -> str:
    """All scores, what they are, and which systems beat retrieval; from what `figures` of compare gives."""
    shown = [metric for metric in METRICS if not all(math.isnan(row[metric]) for row in figures)]
    lines = [_line("name", *map(_title, shown), "failures"), _line(*["---"] * (len(shown) + 2))]
    for row in figures:
        cells = [f"**{_cell(row, m)}**" if _wins(row, m, figures, overall) else _cell(row, m) for m in shown]
        lines.append(_line(row["name"], *cells, f"{row['failures']} of {row['samples']}"))
    return "\n".join([*lines, "", NOTE, "", *verdicts(figures, overall), ""])


def summary(figures: Sequence[Row], overall: Pairs) -> str:
    """The scores by which all compare, for a terminal, and in a sentence what they say."""
    judges = judged_by(overall)
    lines = [["", *map(_title, (*judges, "f_score_1%")), "failures"]]
    for row in figures:
        scores = [_cell(row, metric) + "*" * _wins(row, metric, figures, overall) for metric in judges]
        points = "" if math.isnan(row["f_score_1%"]) else f"{row['f_score_1%']:.3f}"
        lines.append([row["name"], *scores, points, f"{row['failures']} of {row['samples']}"])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    apart = [row["name"] for row in figures if not competes(row["name"])]
    note = f"Means with 95 % intervals. *: better than all that competes; {', '.join(apart)} do not."
    return "\n".join([*table, "", note, "", verdict(figures, overall), ""])


def verdict(figures: Sequence[Row], overall: Pairs) -> str:
    """A sentence: which systems are better than looking up the nearest image; on a par is what can't be told apart."""
    systems = [row["name"] for row in figures if row["kind"] in MADE and competes(row["name"])]
    parts = []
    for metric in judged_by(overall):
        found: dict[str, list[str]] = {"beats": [], "unclear": [], "loses": []}
        for system in systems:
            if pair := overall.get((system, COMPETITOR, metric)):
                found[_outcome(pair, metric)].append(system)
        words = [
            f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} {word}"
            for names, word in zip(found.values(), ("better", "on a par", "worse"), strict=True)
            if names
        ]
        none = ["no system is better"] * (len(systems) > 1 and not found["beats"])
        parts.append(f"by {METRICS[metric][0]} {', '.join(none + words)}" if words else "")
    text = f"Beside looking up the nearest training image, {'; '.join(filter(None, parts))}."
    return textwrap.fill(text, WIDTH)


def verdicts(figures: Sequence[Row], overall: Pairs) -> list[str]:
    """A table: whether every system beats retrieval, which is whether the interval of the difference excludes 0."""
    judges = judged_by(overall)
    lines = [_line("system", "against", *(f"by {METRICS[metric][0]}" for metric in judges)), _line(*["---"] * 4)]
    for system in (row["name"] for row in figures if row["kind"] == "system"):
        for other in (COMPETITOR, f"{system}_retrieval"):
            pairs = [(overall.get((system, other, metric)), metric) for metric in judges]
            lines.append(_line(system, other, *(_judgement(pair, metric) if pair else "" for pair, metric in pairs)))
    return lines


def competes(name: str) -> bool:
    """Whether it knows no more than the photo."""
    return name not in TOLD and not any(rule in TOLD_RULES for rule in name.partition("@")[2].split("+"))


def judged(pair: Row, metric: str) -> str:
    """What a row of pairs.csv says of its first name: `better` or `worse` than the second, `unclear`, or `few`."""
    if pair["shapes"] < FEW:
        return "few"
    if pair["low"] <= 0 <= pair["high"]:
        return "unclear"
    return "better" if pair["difference"] * METRICS[metric][1] > 0 else "worse"


def told(pair: Row, metric: str, other: str) -> str:
    """The same in words, with the difference and its interval; `other` is what the second name is called."""
    outcome, count = judged(pair, metric), int(pair["shapes"])
    if outcome == "few":
        return f"{count} model{'s' * (count > 1)}: too few to tell"
    if outcome == "unclear":
        return f"can't be told from {other}: {_interval(pair, '+')}"
    ends = sorted((abs(pair["low"]), abs(pair["high"])))
    size = {"difference": abs(pair["difference"]), "low": ends[0], "high": ends[1]}
    return f"{outcome} than {other} by {_interval(size)}"


def pair_of(pairs: Pairs, a: str, b: str, metric: str) -> Row | None:
    """Of the difference a - b, whichever of them comes first in pairs.csv; None where either lacks the metric."""
    if (a, b, metric) in pairs:
        return pairs[a, b, metric]
    return turned(pairs[b, a, metric]) if (b, a, metric) in pairs else None


def turned(pair: Row) -> Row:
    """A row of pairs.csv with its two names the other way round."""
    names = {"a": pair["b"], "b": pair["a"]}
    return {**pair, **names, "difference": -pair["difference"], "low": -pair["high"], "high": -pair["low"]}


def _interval(pair: Row, sign: str = "") -> str:
    return f"{pair['difference']:{sign}.3f} [{pair['low']:{sign}.3f}, {pair['high']:{sign}.3f}]"


def judged_by(overall: Pairs) -> tuple[str, str]:
    """The two scores by which all are compared."""
    return ("iou_32" if any(metric == "iou_32" for *_, metric in overall) else "iou", "chamfer_unsquared")


def _judgement(pair: Row, metric: str) -> str:
    outcome = _outcome(pair, metric)
    shown = f"**{outcome}**" if outcome == "beats" else outcome
    return f"{shown} {_interval(pair, '+')}"


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


def _outcome(pair: Row, metric: str) -> str:
    return {"better": "beats", "worse": "loses"}.get(judged(pair, metric), "unclear")


def _wins(row: Row, metric: str, figures: Sequence[Row], overall: Pairs) -> bool:
    """Whether it predicts, and is better than everything else that competes, by a metric that compares all."""
    if (
        row["kind"] not in MADE
        or not competes(row["name"])
        or (metric == "iou" and not all(math.isnan(other["iou_32"]) for other in figures))
    ):
        return False
    others = [other["name"] for other in figures if other is not row and competes(other["name"])]
    found = [pair_of(overall, row["name"], other, metric) for other in others]
    return not math.isnan(row[metric]) and all(judged(pair, metric) == "better" for pair in found if pair)


def _title(metric: str) -> str:
    title, sign = METRICS[metric]
    return f"{title} {'↑' if sign > 0 else '↓'}"


def _cell(row: Row, metric: str) -> str:
    if math.isnan(row[metric]):
        return ""
    if row["shapes"] < 2:
        return f"{row[metric]:.3f}"
    return f"{row[metric]:.3f} [{row[f'{metric}_low']:.3f}, {row[f'{metric}_high']:.3f}]"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
