"""What was scored, read from data/scores/ and data/comparison/."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.pages.picks import Key, Sample, key_of
from pipeline.pages.scores import Line, Results
from pipeline.scoring.figures import read_figures
from pipeline.scoring.tables import COMPARISON, SCORES, judged_by


def read_results(systems: Sequence[str]) -> Results:
    """What was scored of all, the systems in the order of the comparison."""
    kinds = {row["name"]: row["kind"] for row in read_csv(COMPARISON / "table.csv")}
    if missing := [name for name in systems if kinds.get(name) != "system"]:
        raise ValueError(f"{COMPARISON / 'table.csv'}: expected all selected systems, lacks {missing[0]}")
    pairs: dict[tuple[str, str, str, str], Any] = {
        (row["scope"], row["a"], row["b"], row["metric"]): row
        | {name: float(row[name]) for name in ("difference", "low", "high", "won", "shapes")}
        for row in read_csv(COMPARISON / "pairs.csv")
    }
    overall = {(a, b, metric): row for (scope, a, b, metric), row in pairs.items() if scope == "overall"}
    figures = {name: read_figures(name) for name in kinds}
    return Results(kinds, figures, {name: read_lines(name) for name in kinds}, pairs, judged_by(overall))


def read_samples(name: str) -> dict[Key, Sample]:
    return {key_of(row): row for row in read_csv(SCORES / name / "samples.csv")}


def read_lines(name: str) -> dict[tuple[str, str], Line]:
    """Lines of metrics.csv by scope and score."""
    numbers = ("mean", "low", "high", "samples")
    rows = read_csv(SCORES / name / "metrics.csv")
    return {(row["scope"], row["score"]): {key: float(row[key]) for key in numbers} for row in rows}


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a table; ValueError where there is none."""
    text = path.read_text(encoding="utf-8", errors="surrogateescape") if path.is_file() else ""
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows:
        raise ValueError(f"{path}: expected a table with rows, found none")
    return rows
