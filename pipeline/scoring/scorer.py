"""Predictions against the truth of a split, one by one; `metrics.py` says what the numbers are."""

from __future__ import annotations

import importlib.util
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import joblib
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from pipeline.runtime.command import progress
from pipeline.runtime.machine import device, workers
from pipeline.scoring import protocols
from pipeline.scoring.clouds import BOUNDS, cloud_scores
from pipeline.scoring.distances import iou, iou_curve, log_loss
from pipeline.scoring.matching import emd
from pipeline.scoring.predictions import Prediction, predict
from pipeline.shards.batches import grids, make_batch
from pipeline.shards.layout import ShardDataset

THRESHOLDS = torch.arange(1, 100, dtype=torch.float32) / 100
FIXED = (0.4, 0.5)  # thresholds at which IoU is given as well
COMMON = 32  # side of the grid at which systems of different resolutions are compared
OF_CUBES = ("chamfer_unsquared", "chamfer_squared", "f_score_1%")  # given against the grid's surface as well
WITH_SCIPY = importlib.util.find_spec("scipy") is not None
BRIEF = ("iou", "iou_0.4", "log_loss", "chamfer_unsquared", "f_score_1%")
Scores = dict[str, Any]  # name -> float; of names that end in `_curve` an array over thresholds
Answers = Iterable[tuple[Sequence[int], Prediction]]  # items of one model, and what is predicted for them all


@dataclass(frozen=True)
class Truth:
    """A shape to compare with.

    Attributes:
        occupancy: (R, R, R) bool, at the resolution of the prediction.
        points: (P, 3) float32 on the mesh, on the device where distances are worked out.
        cubes: points and unit normals (P, 3) on the marching cubes of the grid, there as well; none of an empty grid.
    """

    occupancy: np.ndarray
    points: Tensor
    cubes: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Scorer:
    """Scores answers to items of a split.

    Attributes:
        dataset: the split, with `occupancy` and `points`.
        resolution: R of the grids that are compared.
        points: how many are drawn on a surface.
        matched: how many of them have a partner in the earth mover's distance.
        seed: they are drawn by it, and by the name of the sample.
        views: of a model that are scored, the first ones, among which protocol `r3d` has its images; all where None.
    """

    dataset: ShardDataset
    resolution: int
    points: int
    matched: int
    seed: int
    views: int | None = None

    def __call__(self, answers: Answers, threshold: float, brief: bool = False) -> dict[int, Scores]:
        """The scores of every item that is answered, the same for any number of workers; some of them where `brief`.

        Answers for a model come one after the other, as its truth is made ready once.
        """
        # Threads: the k-d tree and most of NumPy let each other run, and no grid has to be copied.
        with joblib.Parallel(workers(), prefer="threads", return_as="generator") as pool:
            calls = (
                joblib.delayed(self._brief if brief else self._whole)(items, prediction, threshold, truth)
                for items, prediction, truth in self._with(answers, self._truth)
            )
            return {item: scores for part in pool(calls) for item, scores in part.items()}

    def curve(self, answers: Answers) -> np.ndarray:
        """(99,) float64: mean IoU over the items at each of THRESHOLDS; answers are fields."""
        curves = []
        for items, prediction, truth in self._with(answers, self._grid):
            curves += len(items) * [self._curve(prediction, truth)]
        return np.stack(curves).mean(0, dtype=np.float64)

    def _curve(self, prediction: Prediction, truth: np.ndarray) -> np.ndarray:
        field = torch.from_numpy(prediction.occupancy(self.resolution))[None]
        return iou_curve(field, torch.from_numpy(truth)[None], THRESHOLDS)[0].numpy()

    def _whole(self, items: Sequence[int], prediction: Prediction, threshold: float, truth: Truth) -> dict[int, Scores]:
        points, normals = self._cloud(items[0], prediction, threshold)
        scores: Scores = {"failed": not len(points)} | grid_scores(prediction, threshold, truth.occupancy)
        if prediction.field is not None:
            scores["iou_curve"] = self._curve(prediction, truth.occupancy)
        scores |= cloud_scores(points, truth.points)
        cubes = cloud_scores(points, truth.cubes[0], normals, truth.cubes[1] if normals is not None else None)
        scores |= {f"cubes_{name}": cubes[name] for name in OF_CUBES}
        if normals is not None:
            scores["normal_consistency"] = cubes["normal_consistency"]
        return {item: scores | self._by_protocol(item, prediction, points, truth) for item in items}

    def _brief(self, items: Sequence[int], prediction: Prediction, threshold: float, truth: Truth) -> dict[int, Scores]:
        points, _ = self._cloud(items[0], prediction, threshold)
        scores = grid_scores(prediction, threshold, truth.occupancy) | cloud_scores(points, truth.points)
        return {item: {name: scores[name] for name in BRIEF if name in scores} for item in items}

    def _by_protocol(self, item: int, prediction: Prediction, points: Tensor, truth: Truth) -> Scores:
        """Protocols, and the earth mover's distance, whose cost allows for one view a model."""
        scores: Scores = {}
        field = prediction.occupancy(self.resolution)
        if field is not None and self.resolution % protocols.R2N2_SIDE == 0:
            of_r2n2 = protocols.r2n2(field, truth.occupancy)
            if prediction.field is None:  # a mesh has no probabilities
                del of_r2n2["log_loss"]
            scores |= {f"r2n2_{name}": value for name, value in of_r2n2.items()}
        if not WITH_SCIPY:
            return scores
        if item % self.dataset.groups == 0:
            rng = self._rng(item, "matched")
            scores["emd"] = self._emd(points.cpu().numpy(), truth.points.cpu().numpy(), rng)
            answer = field if field is not None else prediction.points
            of_pix3d = protocols.pix3d(answer, truth.occupancy, rng) if answer is not None else {}
            scores |= {f"pix3d_{name}": value for name, value in of_pix3d.items()}
        if field is not None and sample_key(self.dataset, item) in self._r3d_images:
            scores |= {f"r3d_{name}": value for name, value in protocols.r3d(field, truth.occupancy).items()}
        return scores

    @cached_property
    def _r3d_images(self) -> set[tuple[str, str, int]]:
        items = some_views(self.dataset, self.views or self.dataset.groups)
        return set(protocols.r3d_images(sample_key(self.dataset, item) for item in items))

    def _emd(self, points: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> float:
        if not len(points):
            return BOUNDS["emd"][1]
        count = min(self.matched, len(points), len(truth))
        a, b = (cloud[rng.choice(len(cloud), count, replace=False)] for cloud in (points, truth))
        return emd(a, b)

    def _cloud(self, item: int, prediction: Prediction, threshold: float) -> tuple[Tensor, Tensor | None]:
        points, normals = prediction.cloud(self.points, threshold, self._rng(item, "surface"))
        on_device = [None if a is None else torch.from_numpy(a).to(device()) for a in (points, normals)]
        return on_device[0], on_device[1]  # type: ignore[return-value]

    def _rng(self, item: int, purpose: str) -> np.random.Generator:
        name = "/".join(map(str, (*sample_key(self.dataset, item), purpose)))
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def _with(self, answers: Answers, read: Callable[[int], Any]) -> Iterator[tuple[Sequence[int], Prediction, Any]]:
        """Every answer with what is read of its model, once a model."""
        model, truth = -1, None
        for items, prediction in answers:
            if items[0] // self.dataset.groups != model:
                model = items[0] // self.dataset.groups
                truth = read(model * self.dataset.groups)
            yield items, prediction, truth

    def _grid(self, item: int) -> np.ndarray:
        return grids(torch.from_numpy(self.dataset[item]["occupancy"])[None], self.resolution)[0].numpy()

    def _truth(self, item: int) -> Truth:
        grid, points = self._grid(item), self.dataset[item]["points"]
        surface = Prediction(field=grid.astype(np.float32)).cloud(self.points, 0.5, self._rng(item, "truth"))
        cubes = [torch.from_numpy(np.asarray(values)).to(device()) for values in surface]
        return Truth(grid, torch.from_numpy(points).to(device()), (cubes[0], cubes[1]))


def grid_scores(prediction: Prediction, threshold: float, truth: np.ndarray) -> Scores:
    """IoU and log loss against a grid (R, R, R) bool; of points nothing, of meshes no log loss."""
    field = prediction.occupancy(len(truth))
    if field is None:
        return {}
    values, true = torch.from_numpy(field)[None], torch.from_numpy(truth)[None]
    scores = {"iou": iou(values > threshold, true)} | {f"iou_{t}": iou(values > t, true) for t in FIXED}
    if len(truth) % COMMON == 0:
        side = len(truth) // COMMON
        pooled = [torch.nn.functional.max_pool3d(g.float(), side) > 0 for g in (values > threshold, true)]
        scores[f"iou_{COMMON}"] = iou(*pooled)
    if prediction.field is not None:
        scores["log_loss"] = log_loss(values, true)
    return {name: value.item() for name, value in scores.items()}


def system_answers(
    network: Any, config: Any, dataset: ShardDataset, items: Sequence[int], batch_size: int, label: str
) -> Iterator[tuple[Sequence[int], Prediction]]:
    """What a system makes of the items, in their order."""
    for images, numbers in shown(dataset, items, config.image_size, batch_size, label):
        for number, prediction in zip(numbers, predict(network, images), strict=True):
            yield [number], prediction


def shown(
    dataset: ShardDataset, items: Sequence[int], image_size: tuple[int, int], batch_size: int, label: str
) -> Iterator[tuple[Tensor, list[int]]]:
    """Batches of images (B, V, C, H, W) as a system of that image size takes them, and their items; with progress."""
    with progress(label, len(items), "view") as bar:
        for raw in batches(dataset, items, batch_size):
            numbers = raw["item"].tolist()
            inputs = {name: raw[name].to(device()) for name in ("views", "masks", "depth") if name in raw}
            yield make_batch(inputs, image_size, 1)["images"], numbers
            bar.update(len(numbers))


def batches(dataset: ShardDataset, items: Sequence[int], batch_size: int) -> DataLoader:
    """Collated batches of the items, in their order."""
    return DataLoader(Subset(dataset, items), batch_size)  # type: ignore[arg-type]


def best_threshold(curve: np.ndarray) -> float:
    """The one of THRESHOLDS with the highest mean IoU; the middle one where several have it."""
    best = np.flatnonzero(curve >= curve.max() - 1e-7)
    return round(float(THRESHOLDS[best[len(best) // 2]]), 2)


def some_views(dataset: ShardDataset, views: int) -> list[int]:
    """The items of the first so many views (or groups of views) of every model, all where there are fewer."""
    return [item for item in range(len(dataset)) if item % dataset.groups < views]


def sample_key(dataset: ShardDataset, item: int) -> tuple[str, str, int]:
    """(synset, model id, view) of an item."""
    return (*dataset.models[item // dataset.groups], item % dataset.groups)
