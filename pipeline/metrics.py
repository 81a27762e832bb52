"""Stage metrics: how good a trained system is, on every view of the test split.

    python -m pipeline.metrics r3d

Reads data/checkpoints/<system>.pt and data/shards/. Writes data/metrics/<system>/, which `dvc metrics show`
prints: `overall.json` and one file a category; and data/scores/<system>/: `samples.csv`, the score of every
view, and `thresholds.csv`, the sweep by which the threshold was chosen.

    iou                 |X and Y| / |X or Y| of the solid grids at the system's resolution; X is what is
                        predicted with a probability above `threshold`, Y the truth
    chamfer_unsquared   mean_x min_y |x - y| + mean_y min_x |y - x|, Euclidean, not squared, in the unit cube,
                        where the longest side of every shape is 15/16; x on the marching cubes of the
                        prediction at `threshold`, y the shard's points on the true surface
    threshold           tuned on the validation split, where it maximises the mean IoU
    mean_shape_*        the same for one answer to every view, the mean of all training shapes, at a threshold
                        of its own: what is scored without a look at the picture
    samples, models     views scored, and the shapes that they show
    failures            predictions with no cell above the threshold, or with a value that is not finite;
                        they count as an empty grid, with 2 sqrt(3), the unit cube's diagonal both ways
    split               who says which models are in the test split: a list of the field with the first digits of its
                        hash, as `all.csv:0a1b2c3d`, or `hash` (see `splits.py`)
    split_sha256        first 8 digits of the hash of the sorted `synset/model_id` lines of the scored models:
                        scores are comparable where it is equal

Means are over samples; every model has the same number of views.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model import maps
from pipeline.batches import grids
from pipeline.categories import category
from pipeline.checkpoints import CHECKPOINTS, load_checkpoint
from pipeline.command import run
from pipeline.files import atomic_write
from pipeline.machine import device
from pipeline.params import Dataset, load
from pipeline.scoring import (
    METRICS,
    SCORES,
    THRESHOLDS,
    Score,
    Scorer,
    batches,
    best_threshold,
    one_a_model,
    sample_key,
)
from pipeline.shards import SHARDS, ShardDataset, split_sha256


@dataclass(frozen=True)
class Params:
    """Section `metrics`.

    Attributes:
        seed: of the points on predicted surfaces.
        points: points on a predicted surface.
        batch_size: views predicted together.
    """

    seed: int
    points: int
    batch_size: int

    def __post_init__(self) -> None:
        for name, smallest in (("seed", 0), ("points", 1), ("batch_size", 1)):
            if getattr(self, name) < smallest:
                raise ValueError(f"{name}: expected at least {smallest}, got {getattr(self, name)}")


def evaluate(system: str, params: Params, categories: Sequence[str]) -> None:
    """Scores a trained system and the mean shape, and writes the files named above.

    Raises:
        ValueError: the checkpoint or the shards of a split are missing or unusable.
    """
    model, config, _ = load_checkpoint(CHECKPOINTS / f"{system}.pt", device())
    train = ShardDataset(SHARDS, categories, "train")
    val = ShardDataset(SHARDS, categories, "val", targets=("occupancy", *maps(config)))
    test = ShardDataset(SHARDS, categories, "test", targets=("occupancy", "points", *maps(config)))
    scorer = Scorer(config.image_size, config.resolution, params.points, params.seed, params.batch_size)
    mean = mean_occupancy(train, config.resolution, params.batch_size).to(device())

    def of_system(images: Tensor) -> Tensor:
        return model.predict(images).float().sigmoid()

    def of_mean_shape(images: Tensor) -> Tensor:
        return mean.expand(len(images), *mean.shape)

    curve = scorer.sweep(of_system, val, range(len(val)), f"metrics {system}, threshold")
    mean_curve = scorer.sweep(of_mean_shape, val, one_a_model(val), "mean shape, threshold")
    threshold, mean_threshold = best_threshold(curve), best_threshold(mean_curve)
    scores = scorer.scores(of_system, threshold, test, range(len(test)), f"metrics {system}")
    # It is the same for all views of a model.
    mean_scores = scorer.scores(of_mean_shape, mean_threshold, test, one_a_model(test), "mean shape")
    rows = [row(sample_key(test, item), score, mean_scores[item // test.groups]) for item, score in enumerate(scores)]
    write_scores(SCORES / system, rows, curve, mean_curve)
    settings = {"threshold": threshold, "split": test.split_source}
    write_metrics(METRICS / system, rows, settings)
    figures = ", ".join(f"{name} {value}" for name, value in summary(rows, settings).items())
    print(f"metrics {system}: {figures}", flush=True)


def mean_occupancy(dataset: ShardDataset, resolution: int, batch_size: int) -> Tensor:
    """(R, R, R) float32: the share of the models of a split that fill each cell."""
    total = torch.zeros(resolution, resolution, resolution)
    for raw in batches(dataset, one_a_model(dataset), batch_size):
        total += grids(raw["occupancy"], resolution).sum(0)
    return total / len(dataset.models)


def row(key: tuple[str, str, int], score: Score, mean_score: Score) -> dict[str, Any]:
    """A row of samples.csv."""
    return {
        "synset": key[0],
        "model_id": key[1],
        "view": key[2],
        "iou": round(score.iou, 6),
        "chamfer_unsquared": round(score.chamfer_unsquared, 6),
        "failed": int(score.failed),
        "mean_shape_iou": round(mean_score.iou, 6),
        "mean_shape_chamfer_unsquared": round(mean_score.chamfer_unsquared, 6),
    }


def summary(rows: list[dict[str, Any]], settings: dict[str, Any]) -> dict[str, Any]:
    """The figures of a set of samples, as `dvc metrics show` prints them, with the settings that they hold for."""
    models = {(r["synset"], r["model_id"]) for r in rows}

    def mean(name: str) -> float:
        return round(math.fsum(r[name] for r in rows) / len(rows), 5)

    return {
        "iou": mean("iou"),
        "mean_shape_iou": mean("mean_shape_iou"),
        "chamfer_unsquared": mean("chamfer_unsquared"),
        "mean_shape_chamfer": mean("mean_shape_chamfer_unsquared"),
        "samples": len(rows),
        "models": len(models),
        "failures": sum(r["failed"] for r in rows),
        **settings,
        "split_sha256": split_sha256(models)[:8],
    }


def write_metrics(folder: Path, rows: list[dict[str, Any]], settings: dict[str, Any]) -> None:
    """`overall.json` and one file a category."""
    groups = {"overall": rows}
    for synset in sorted({r["synset"] for r in rows}):
        groups[category(synset)] = [r for r in rows if r["synset"] == synset]
    with atomic_write(folder) as temporary:
        temporary.mkdir()
        for name, members in groups.items():
            text = json.dumps(summary(members, settings), indent=2)
            (temporary / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def write_scores(folder: Path, rows: list[dict[str, Any]], curve: np.ndarray, mean_curve: np.ndarray) -> None:
    """`samples.csv` and `thresholds.csv`."""
    sweep = [
        {"threshold": f"{t:.2f}", "val_iou": f"{a:.6f}", "mean_shape_val_iou": f"{b:.6f}"}
        for t, a, b in zip(THRESHOLDS.tolist(), curve, mean_curve, strict=True)
    ]
    with atomic_write(folder) as temporary:
        temporary.mkdir()
        for name, table in (("samples", rows), ("thresholds", sweep)):
            with (temporary / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("system", help="an entry of `selected_systems` in params.yaml")
    evaluate(parser.parse_args().system, load("metrics", Params), load("dataset", Dataset).categories)


if __name__ == "__main__":
    run("pipeline.metrics")
