"""Keeps the figures of a comparison of systems: what was trained on what, for how long, and how good it is.

    python -m benchmarks.systems embedded

After `dvc repro` of the systems that `selected_systems` names. Writes benchmarks/results/systems_<label>.json: the
training's settings, and the data set's (without its path); the configuration and the validation curve of every system;
its scores by number of views; and where there is a comparison, its table, and every system against what was looked up.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

from benchmarks.common import write
from pipeline.metrics import VIEWS
from pipeline.runtime.params import read, selected_systems
from pipeline.scoring.figures import read_figures
from pipeline.scoring.tables import COMPARISON
from pipeline.training.curves import CURVES

LIBRARIES = ("numpy", "torch")


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a table, numbers as numbers, without what is empty."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: number(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def number(text: str) -> Any:
    try:
        return round(float(text), 5)
    except ValueError:
        return text


def collect() -> dict[str, Any]:
    selected = selected_systems()
    about = read_figures("oracle")["overall"]
    found = {
        "data": {key: about[key] for key in ("models", "samples", "leaked", "split", "split_sha256")}
        | {key: read(f"render.{key}") for key in ("views", "height", "width")},
        "train": read("train"),
        "systems": {name: {"module": module} | read(f"systems.{name}") for name, module in selected.items()},
        "curves": {name: rows(CURVES / f"{name}.csv") for name in selected},
        "views": {name: table for name in selected if len(table := rows(VIEWS / f"{name}.csv")) > 1},
    }
    return found | compared(selected) if COMPARISON.is_dir() else found


def compared(selected: dict[str, str]) -> dict[str, Any]:
    pairs = rows(COMPARISON / "pairs.csv")
    asked = [pair for pair in pairs if pair["b"] in ("nearest_image", f"{pair['a']}_retrieval")]
    return {
        "table": rows(COMPARISON / "table.csv"),
        "against_retrieval": [pair for pair in asked if pair["a"] in selected],
    }


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.systems", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("label", help="of the data set, in the name of the file")
    write(f"systems_{parser.parse_args().label}", LIBRARIES, collect())


if __name__ == "__main__":
    main()
