"""Predictions against the truth of a split, view by view; `metrics.py` says what the numbers are."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from model.distances import chamfer_unsquared, iou, iou_curve
from model.isosurface import marching_cubes
from pipeline.batches import make_batch
from pipeline.command import progress
from pipeline.machine import device, workers
from pipeline.meshes import sample_surface
from pipeline.shards import ShardDataset

THRESHOLDS = torch.arange(1, 100, dtype=torch.float32) / 100
METRICS, SCORES = Path("data/metrics"), Path("data/scores")
WORST_CHAMFER = 2 * math.sqrt(3)  # both directions from corner to corner of the unit cube
Predict = Callable[[Tensor], Tensor]  # images (B, V, 1, H, W) -> probabilities (B, R, R, R)


@dataclass(frozen=True)
class Score:
    """One prediction against the truth."""

    iou: float
    chamfer_unsquared: float
    failed: bool


@dataclass(frozen=True)
class Scorer:
    """Scores a predictor on items of a split.

    Attributes:
        image_size, resolution: of the predictor, (H, W) and R.
        points: how many are drawn on a predicted surface.
        seed: they are drawn by it, and by the name of the sample.
        batch_size: items predicted together.
    """

    image_size: tuple[int, int]
    resolution: int
    points: int
    seed: int
    batch_size: int

    def sweep(self, predict: Predict, dataset: ShardDataset, items: Sequence[int], label: str) -> np.ndarray:
        """(99,) float32: mean IoU over the items at each of THRESHOLDS."""
        thresholds = THRESHOLDS.to(device())
        curves = [
            iou_curve(prediction, batch["occupancy"].bool(), thresholds)
            for prediction, batch, _ in self._predictions(predict, dataset, items, label)
        ]
        return torch.cat(curves).mean(0).cpu().numpy()

    def scores(
        self, predict: Predict, threshold: float, dataset: ShardDataset, items: Sequence[int], label: str
    ) -> list[Score]:
        """The score of every item, in their order; the same for any number of workers."""
        found: list[Score] = []
        # Threads: the k-d tree and most of NumPy let each other run, and no grid has to be copied.
        with joblib.Parallel(workers(), prefer="threads") as pool:
            for prediction, batch, keys in self._predictions(predict, dataset, items, label):
                overlaps = iou(prediction > threshold, batch["occupancy"].bool()).tolist()
                distances = pool(
                    joblib.delayed(self.chamfer)(field, threshold, truth, key)
                    for field, truth, key in zip(prediction.cpu().numpy(), batch["points"], keys, strict=True)
                )
                found += [
                    Score(overlap, WORST_CHAMFER if distance is None else distance, distance is None)
                    for overlap, distance in zip(overlaps, distances, strict=True)
                ]
        return found

    def chamfer(self, field: np.ndarray, threshold: float, truth: Tensor, name: str) -> float | None:
        """Chamfer distance of a field (R, R, R) to true points (P, 3); None where nothing is predicted.

        `name` is the sample's; with the seed it decides which points of the surface are taken.
        """
        vertices, faces = marching_cubes(field, threshold)
        if not len(faces):
            return None
        rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        points = torch.from_numpy(sample_surface(vertices, faces, self.points, rng))
        return chamfer_unsquared(points.to(truth.device), truth).item()

    def _predictions(
        self, predict: Predict, dataset: ShardDataset, items: Sequence[int], label: str
    ) -> Iterator[tuple[Tensor, dict[str, Any], list[str]]]:
        """(probabilities (B, R, R, R), batch, names); all 0 where one of a sample is no finite number."""
        with progress(label, len(items), "view") as bar, torch.inference_mode():
            for raw in batches(dataset, items, self.batch_size):
                raw = {name: value.to(device()) for name, value in raw.items()}
                batch = make_batch(raw, self.image_size, self.resolution)
                prediction = predict(batch["images"])
                sound = prediction.isfinite().flatten(1).all(1)[:, None, None, None]
                names = ["/".join(map(str, sample_key(dataset, item))) for item in raw["item"].tolist()]
                yield torch.where(sound, prediction, 0.0), batch, names
                bar.update(len(names))


def batches(dataset: ShardDataset, items: Sequence[int], batch_size: int) -> DataLoader:
    """Collated batches of the items, in their order."""
    return DataLoader(Subset(dataset, items), batch_size)  # type: ignore[arg-type]


def best_threshold(curve: np.ndarray) -> float:
    """The one of THRESHOLDS with the highest mean IoU; the middle one where several have it."""
    best = np.flatnonzero(curve >= curve.max() - 1e-7)
    return round(float(THRESHOLDS[best[len(best) // 2]]), 2)


def one_a_model(dataset: ShardDataset) -> range:
    """The item of the first view of every model."""
    return range(0, len(dataset), dataset.groups)


def sample_key(dataset: ShardDataset, item: int) -> tuple[str, str, int]:
    """(synset, model id, view) of an item."""
    return (*dataset.models[item // dataset.groups], item % dataset.groups)
