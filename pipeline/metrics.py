"""Stage metrics: how good a trained system is on the test split, and its encoder at looking up.

    python -m pipeline.metrics r3d

Reads data/checkpoints/<system>.pt, data/shards/ and data/neighbours.csv. Writes scores and metrics of `<system>`, and
of `<system>_retrieval`, which answers a view with the shape of the training view whose features are nearest; where,
says `scoring/figures.py`. And data/views/<system>.csv, what more views of a shape are worth to a system that was
trained on several: a row for each of 1, 2, 3, 5, 10 and 20 that the shards have, from the first `views` of a model in
groups of so many, or one group of more.

Scores of a sample, a view of a test model:

    iou                 |X and Y| / |X or Y| of the solid grids at the system's resolution; X is what is predicted
                        with a probability above the threshold, or what a predicted mesh encloses; Y the truth
    threshold           tuned on the validation split, where it maximises the mean IoU
    iou_0.4, iou_0.5    the same at these thresholds
    iou_32              at the threshold, both grids reduced to 32^3, a cell full where any part is: what systems of
                        different resolutions are compared by, if their side is a multiple of 32
    log_loss            cross-entropy of a cell, mean over the grid, in nats; a shape that was looked up is certain of
                        every cell, and pays for it
    chamfer_..., f_score_..., precision_..., recall_...
                        of points on the predicted surface, marching cubes of the probabilities at the threshold, and
                        the points of the shard, on the true mesh (`scoring/clouds.py`). A system that predicts points
                        gives as many as it has: fewer points score worse, however well they lie
    cubes_...           the same against as many points on the marching cubes of the true grid
    normal_consistency  against these as well, as grids are seen from outside, and meshes in any winding
    emd                 earth mover's distance of `matched` points of both, exact (`scoring/matching.py`)
    pix3d_..., r2n2_..., r3d_..., pix2vox_..., occnet_...
                        by published protocols (`scoring/protocols.py`, `scoring/shapenet.py`)

A prediction without a surface at the threshold, or with a value that is not finite, fails: it is counted, and has the
worst IoU, and of what is measured on surfaces the worst score (`BOUNDS` in `scoring/clouds.py`). Points have no grid
and so no IoU. EMD, `pix3d`, `pix2vox` and `occnet` are of the first view of a model, `r3d` is of 30 images; these five
need SciPy, and are left out where there is none.

Figures are means over samples with 95 % intervals over shapes (`scoring/statistics.py`), and are comparable where
`split_sha256`, a hash of the scored models' names, is equal.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pipeline.runtime.command import SYSTEM, run

    run("pipeline.metrics", SYSTEM)

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model import maps
from pipeline.runtime.files import atomic_write
from pipeline.runtime.machine import device
from pipeline.runtime.params import Dataset, load
from pipeline.scoring.figures import Facts, facts, mean_curve, rows_of, summary, write
from pipeline.scoring.neighbours import packed_grids
from pipeline.scoring.retrieval import lookups, nearest_models
from pipeline.scoring.scorer import BRIEF, Scorer, best_threshold, some_views, system_answers
from pipeline.scoring.tables import write_csv
from pipeline.shards.layout import SHARDS, ShardDataset
from pipeline.training.checkpoints import CHECKPOINTS, load_checkpoint

VIEWS, COUNTS = Path("data/views"), (1, 2, 3, 5, 10, 20)


@dataclass(frozen=True)
class Params:
    """Section `metrics`.

    Attributes:
        seed: of the points on predicted surfaces.
        points: points on a predicted surface.
        matched: how many of them the earth mover's distance is of.
        views: of a test model that are scored, the first ones; all where there are fewer.
        batch_size: views predicted together.
    """

    seed: int
    points: int
    matched: int
    views: int
    batch_size: int

    def __post_init__(self) -> None:
        for name, smallest in (("seed", 0), ("points", 1), ("matched", 1), ("views", 1), ("batch_size", 1)):
            if getattr(self, name) < smallest:
                raise ValueError(f"{name}: expected at least {smallest}, got {getattr(self, name)}")


class Evaluation:
    """A trained system and the splits that it is measured on.

    Args:
        system: entry of `systems:`.
        params: section `metrics`.
        categories: those to read, as dataset.categories names them.

    Raises:
        ValueError: the checkpoint, the shards of a split or the neighbours are missing or unusable.
    """

    def __init__(self, system: str, params: Params, categories: Sequence[str]):
        self.system, self.params, self.categories = system, params, categories
        self.network, self.config, _ = load_checkpoint(CHECKPOINTS / f"{system}.pt", device())
        self.test = self.split("test")
        self.known: Facts = facts(self.test)

    def write(self) -> None:
        """Everything that the module names."""
        threshold, curve = self.tuned()
        items = some_views(self.test, self.params.views)
        scorer = self.scorer(self.test)
        scores = scorer(self.answers(self.test, items, "test"), 0.5 if threshold is None else threshold)
        rows = rows_of(self.test, scores, self.known)
        curves = None if curve is None else {"val_iou": curve, "test_iou": mean_curve(scores)}
        overall = write(self.system, rows, self.test.split_source, threshold, curves, scorer.terms)
        print(f"{self.system}: {', '.join(f'{key} {value}' for key, value in overall.items())}", flush=True)
        self.write_views(0.5 if threshold is None else threshold, rows)
        self.write_retrieval(items)

    def tuned(self) -> tuple[float | None, np.ndarray | None]:
        """The threshold that is best on the validation split, and the curve; None of what has no probabilities."""
        if self.network.output != "occupancy":
            return None, None
        val = self.split("val")
        items = some_views(val, self.params.views)
        curve = self.scorer(val).curve(self.answers(val, items, "threshold"))
        return best_threshold(curve), curve

    def write_retrieval(self, items: Sequence[int]) -> None:
        """Scores of looking up, at the shards' own resolution."""
        train, name = self.split("train"), f"{self.system}_retrieval"
        features, size = self.network.features, self.config.image_size
        found = nearest_models(features, size, train, self.test, items, self.params.batch_size, name)
        side = self.test.resolution
        answers = lookups(self.test, found, packed_grids(train, side), side, name)
        scores = self.scorer(self.test, side)(answers, 0.5)
        models = {item: train.models[index] for item, index in found.items()}
        rows = rows_of(self.test, scores, self.known, models)
        overall = write(name, rows, self.test.split_source, 0.5, terms=self.scorer(self.test).terms)
        print(f"{name}: {', '.join(f'{key} {value}' for key, value in overall.items())}", flush=True)

    def write_views(self, threshold: float, rows: list[dict[str, Any]]) -> None:
        """How scores depend on the number of views: of the first `views` of a model, in groups, one at least."""
        trained = getattr(self.config, "views", 1)
        table = [self.of_views(1, rows)]
        for count in COUNTS[1:] if trained > 1 else ():
            if count <= self.test.groups:
                data = self.split("test", count)
                items = some_views(data, max(1, self.params.views // count))
                answers = self.answers(data, items, f"{count} views")
                scores = self.scorer(data)(answers, threshold, brief=True)
                found = rows_of(data, {item: values | {"failed": 0} for item, values in scores.items()}, self.known)
                table.append(self.of_views(count, found))
        with atomic_write(VIEWS / f"{self.system}.csv") as temporary:
            write_csv(temporary, table)

    def of_views(self, count: int, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """A row of the table, of the same columns whatever the system's scores are, as `dvc plots` wants it."""
        row: dict[str, Any] = {"views": count, "samples": len(rows)}
        lines = {line["score"]: line for line in summary(rows)}
        for name in BRIEF:
            line = lines.get(name, dict.fromkeys(("mean", "low", "high"), math.nan))
            row |= {name: line["mean"], f"{name}_low": line["low"], f"{name}_high": line["high"]}
        return row

    def split(self, name: str, views: int = 1) -> ShardDataset:
        compared = () if name == "train" else ("occupancy", "points")  # of training shapes only the views are looked at
        return ShardDataset(SHARDS, self.categories, name, views, (*compared, *maps(self.config)))

    def scorer(self, dataset: ShardDataset, resolution: int = 0) -> Scorer:
        params = self.params
        side = resolution or self.config.resolution
        return Scorer(dataset, side, params.points, params.matched, params.seed, params.views)

    def answers(self, dataset: ShardDataset, items: Sequence[int], what: str) -> Any:
        label = f"metrics {self.system}, {what}"
        return system_answers(self.network, self.config, dataset, items, self.params.batch_size, label)


def main(system: str) -> None:
    Evaluation(system, load("metrics", Params), load("dataset", Dataset).categories).write()
