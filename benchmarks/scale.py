"""Draws what more training models are worth, to networks and to looking up.

    python -m benchmarks.recipe FOLDER/scale.yaml --out FOLDER/out --seconds 3600
    python -m benchmarks.scale FOLDER/out/recipe.json --out docs/scale.png

FOLDER has a copy of benchmarks/scale.yaml, and the project that it names.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from pipeline.pages.charts import STYLE
from pipeline.runtime.files import atomic_write

COLOURS = {"recall": "#e08a1e", "view2voxel": "#5b8c5a", "nearest image": "#64748b"}
Point = tuple[int, list[float]]  # training models; mean, low and high


def lines(finals: list[dict[str, Any]]) -> dict[str, list[Point]]:
    """Of each system, and of looking up, its points in the order of their models."""
    found: dict[str, dict[int, list[float]]] = {}
    for final in finals:
        found.setdefault(final["entry"], {})[final["models"]] = final["one"]["test_iou"]
        found.setdefault("nearest image", {})[final["models"]] = final["nearest_image"]
    return {name: sorted(points.items()) for name, points in found.items()}


def draw(finals: list[dict[str, Any]], path: Path) -> None:
    """The picture of all points; ValueError where there are none."""
    if not finals:
        raise ValueError(f"{path}: expected results to draw, found none")
    with matplotlib.rc_context(STYLE | {"grid.color": "#e2e8f0"}):
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        axes = figure.subplots()
        for name, points in lines(finals).items():
            models, (mean, low, high) = [n for n, _ in points], zip(*(score for _, score in points), strict=True)
            colour, marker = COLOURS.get(name), "s" if name == "nearest image" else "o"
            axes.plot(models, mean, marker=marker, color=colour, label=name)
            axes.fill_between(models, low, high, color=colour, alpha=0.15)
        ticks = sorted({final["models"] for final in finals})
        axes.set(xscale="log", xlabel="training models", ylabel="test IoU at 32³")
        axes.set_xticks(ticks, [f"{n:,}" for n in ticks], minor=False)
        axes.set_xticks([], minor=True)
        axes.legend(loc="upper left")
        with atomic_write(path) as temporary:
            figure.savefig(temporary, format="png", dpi=150, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.scale", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path, help="what benchmarks.recipe wrote of benchmarks/scale.yaml")
    parser.add_argument("--out", type=Path, required=True, help="the picture, a PNG")
    args = parser.parse_args()
    draw(json.loads(args.results.read_text(encoding="utf-8"))["finals"], args.out)


if __name__ == "__main__":
    main()
