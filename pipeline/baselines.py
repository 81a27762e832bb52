"""Stage baselines: what is scored without a network, and how near test shapes are to training ones.

    python -m pipeline.baselines

Reads data/shards/. Writes data/neighbours.csv, of every test model the training shape with the highest IoU of solid
grids, and scores and metrics as `scoring/figures.py` has them for

    mean_shape              one answer to every view: the mean of all training shapes
    category_mean_shape     the mean of the training shapes of the category, which it is told
    nearest_image           the shape of the training view that looks most alike, by a descriptor that nobody trained
                            (`model/layers/descriptors.py`)
    oracle                  the training shape with the highest IoU: the best that looking up can do, by IoU

Tatarchenko et al. 2019 (arXiv:1905.03678) found that such baselines beat the networks of their day. Means are of grids
at the shards' resolution, with a threshold tuned on the validation split. A test model whose nearest training shape
has an IoU of LEAK_IOU or more counts as leaked; every figure is given without those as well.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pipeline.runtime.command import run

    run("pipeline.baselines")

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.layers.descriptors import SIZE, descriptor
from pipeline.metrics import Params
from pipeline.runtime.files import atomic_write
from pipeline.runtime.machine import device
from pipeline.runtime.params import Dataset, load
from pipeline.scoring.figures import NEIGHBOURS, facts, mean_curve, rows_of, write
from pipeline.scoring.neighbours import closest_grids, packed_grids
from pipeline.scoring.predictions import Prediction
from pipeline.scoring.retrieval import lookups, nearest_models
from pipeline.scoring.scorer import Scorer, best_threshold, some_views
from pipeline.scoring.tables import write_csv
from pipeline.shards.batches import unpack_bits
from pipeline.shards.layout import SHARDS, ShardDataset


class Baselines:
    """The splits, and what is worked out from them.

    Args:
        params: section `metrics`.
        categories: those to read, as dataset.categories names them.

    Raises:
        ValueError: shards of a split are missing or unusable.
    """

    def __init__(self, params: Params, categories: Sequence[str]):
        self.train = ShardDataset(SHARDS, categories, "train", targets=())
        self.val, self.test = (
            ShardDataset(SHARDS, categories, split, targets=("occupancy", "points")) for split in ("val", "test")
        )
        self.params, self.resolution = params, self.test.resolution
        self.shapes = packed_grids(self.train, self.resolution)
        self.items = some_views(self.test, params.views)
        synsets = np.array([synset for synset, _ in self.train.models])
        self.mean = mean_occupancy(self.shapes, self.resolution)
        self.means_of = {s: mean_occupancy(self.shapes[synsets == s], self.resolution) for s in sorted(set(synsets))}

    def write(self) -> None:
        """Everything that the module names."""
        closest, overlaps = closest_grids(packed_grids(self.test, self.resolution), self.shapes, device())
        self.write_neighbours(closest.tolist(), overlaps.tolist())
        known = facts(self.test)
        for name, means in (("mean_shape", False), ("category_mean_shape", True)):
            curve = self.scorer(self.val).curve(self.means(self.val, some_views(self.val, 1), means))
            threshold = best_threshold(curve)
            scores = self.scorer(self.test)(self.means(self.test, self.items, means), threshold)
            curves = {"val_iou": curve, "test_iou": mean_curve(scores)}
            self.put(name, rows_of(self.test, scores, known), threshold, curves)
        alike = nearest_models(
            descriptor, SIZE, self.train, self.test, self.items, self.params.batch_size, "nearest image"
        )
        best = {item: int(closest[item // self.test.groups]) for item in self.items}
        for name, found in (("nearest_image", alike), ("oracle", best)):
            answers = lookups(self.test, found, self.shapes, self.resolution, name)
            models = {item: self.train.models[index] for item, index in found.items()}
            self.put(name, rows_of(self.test, self.scorer(self.test)(answers, 0.5), known, models), 0.5)

    def write_neighbours(self, closest: Sequence[int], overlaps: Sequence[float]) -> None:
        rows = []
        for model, index, overlap in zip(self.test.models, closest, overlaps, strict=True):
            names = ("synset", "model_id", "train_synset", "train_model_id", "iou")
            rows.append(dict(zip(names, (*model, *self.train.models[index], overlap), strict=True)))
        with atomic_write(NEIGHBOURS) as temporary:
            write_csv(temporary, rows)

    def scorer(self, dataset: ShardDataset) -> Scorer:
        params = self.params
        return Scorer(dataset, self.resolution, params.points, params.matched, params.seed, params.views)

    def put(
        self,
        name: str,
        rows: list[dict[str, Any]],
        threshold: float,
        curves: dict[str, np.ndarray] | None = None,
    ) -> None:
        overall = write(name, rows, self.test.split_source, threshold, curves, self.scorer(self.test).terms)
        print(f"{name}: {', '.join(f'{key} {value}' for key, value in overall.items())}", flush=True)

    def means(
        self, dataset: ShardDataset, items: Sequence[int], by_category: bool
    ) -> Iterator[tuple[list[int], Prediction]]:
        """The mean shape, or that of its category, as the answer for every model of the items."""
        groups: dict[int, list[int]] = {}
        for item in items:
            groups.setdefault(item // dataset.groups, []).append(item)
        for model, members in groups.items():
            # A category without a training shape is answered with the mean of all.
            synset = dataset.models[model][0]
            yield members, Prediction(field=self.means_of.get(synset, self.mean) if by_category else self.mean)


def mean_occupancy(shapes: Tensor, resolution: int) -> np.ndarray:
    """(R, R, R) float32: the share of the packed grids (M, ceil(R^3/8)) that fill each cell."""
    total = torch.zeros(resolution**3)
    for packed in shapes:
        total += unpack_bits(packed, resolution**3)
    return (total / len(shapes)).view(*[resolution] * 3).numpy()


def main() -> None:
    Baselines(load("metrics", Params), load("dataset", Dataset).categories).write()
