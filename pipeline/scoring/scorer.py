"""Predictions against the truth of a split, one by one; `metrics.py` says what the numbers are."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from pipeline.geometry import isosurface
from pipeline.runtime.command import progress
from pipeline.runtime.forks import spread
from pipeline.runtime.machine import device
from pipeline.scoring import protocols, shapenet
from pipeline.scoring.clouds import BOUNDS, cloud_scores
from pipeline.scoring.cubes import marching_cubes, surface_points
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
Answer = tuple[Sequence[int], Prediction]  # items of one model, and what is predicted for them all


@dataclass(frozen=True)
class Truth:
    """A shape to compare with, on the device where that is done.

    Attributes:
        occupancy: (R, R, R) bool, at the resolution of the prediction.
        points: (P, 3) float32 on the mesh.
        cubes: points and unit normals (P, 3) on the marching cubes of the grid; none of an empty grid.
    """

    occupancy: Tensor
    points: Tensor
    cubes: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Measured:
    """An answer that is scored but for what no device is needed for.

    Attributes:
        items: of one model.
        prediction: for them.
        scores: those that are the items' alike.
        field: (R, R, R) float32, what is predicted as a grid; None of points.
        points: (P, 3) float32 on what is predicted.
    """

    items: Sequence[int]
    prediction: Prediction
    scores: Scores
    field: np.ndarray | None
    points: np.ndarray


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

    def __call__(self, answers: Iterable[Answer], threshold: float, brief: bool = False) -> dict[int, Scores]:
        """The scores of every item that is answered, the same for any number of workers; some of them where `brief`.

        Answers for a model come one after the other, as its truth is made ready once.
        """
        where = device()
        models = (list(some) for _, some in itertools.groupby(answers, self._model))
        if where == "cpu":
            parts = spread(self._whole, ((some, threshold, brief, where) for some in models))
        else:  # forks have no part of the device: they do the rest
            parts = spread(self._completed, (self._measured(some, threshold, brief, where) for some in models))
        return {item: scores for part in parts for item, scores in part.items()}

    @property
    def terms(self) -> str:
        """Changes with all that the scores of a prediction depend on, but for its resolution and the code."""
        settings = (self.dataset.fingerprint, self.points, self.matched, self.seed, self.views)
        return hashlib.sha256(repr(settings).encode()).hexdigest()[:8]

    def curve(self, answers: Iterable[Answer]) -> np.ndarray:
        """(99,) float64: mean IoU over the items at each of THRESHOLDS; answers are fields."""
        where = device()
        models = ((list(some), where) for _, some in itertools.groupby(answers, self._model))
        curves = (spread if where == "cpu" else itertools.starmap)(self._curves, models)
        return np.concatenate(list(curves)).mean(0, dtype=np.float64)

    def _curves(self, answers: Sequence[Answer], where: str) -> np.ndarray:
        """(N, 99) float32, a row an item of a model."""
        truth = self._grid(self._model(answers[0]) * self.dataset.groups, where)
        found = []
        for items, prediction in answers:
            found += len(items) * [curve_of(torch.from_numpy(prediction.field).to(where), truth)]
        return np.stack(found)

    def _model(self, answer: Answer) -> int:
        return answer[0][0] // self.dataset.groups

    def _whole(self, answers: Sequence[Answer], threshold: float, brief: bool, where: str) -> dict[int, Scores]:
        return self._completed(*self._measured(answers, threshold, brief, where))

    def _measured(
        self, answers: Sequence[Answer], threshold: float, brief: bool, where: str
    ) -> tuple[list[Measured], float, bool, np.ndarray, np.ndarray]:
        """Of the answers for a model what is worked out on a device; threshold and `brief`; and its grid and points."""
        truth = self._truth(self._model(answers[0]) * self.dataset.groups, where)
        measured = []
        for items, prediction in answers:
            field = prediction.occupancy(self.resolution)
            points, normals = prediction.cloud(self.points, threshold, self._rng(items[0], "surface"), where)
            scores: Scores = {"failed": not len(points)}
            if field is not None:
                grid = torch.from_numpy(field).to(where)
                scores |= grid_scores(grid, threshold, truth.occupancy, prediction.field is not None)
                if prediction.field is not None and not brief:
                    scores["iou_curve"] = curve_of(grid, truth.occupancy)
            scores |= cloud_scores(points, truth.points)
            if not brief:
                cubes = cloud_scores(points, truth.cubes[0], normals, None if normals is None else truth.cubes[1])
                scores |= {f"cubes_{name}": cubes[name] for name in OF_CUBES}
                scores |= {name: cubes[name] for name in ("normal_consistency",) if name in cubes}
            measured.append(Measured(items, prediction, scores, field, points.cpu().numpy()))
        return measured, threshold, brief, truth.occupancy.cpu().numpy(), truth.points.cpu().numpy()

    def _completed(
        self, measured: Sequence[Measured], threshold: float, brief: bool, occupancy: np.ndarray, points: np.ndarray
    ) -> dict[int, Scores]:
        """The scores of the items, with protocols and the earth mover's distance unless `brief`."""
        found: dict[int, Scores] = {}
        for answer in measured:
            if brief:
                scores = {name: answer.scores[name] for name in BRIEF if name in answer.scores}
                found |= dict.fromkeys(answer.items, scores)
                continue
            scores = answer.scores | self._r2n2(answer, occupancy)
            found |= {item: scores | self._by_protocol(item, answer, occupancy, points) for item in answer.items}
            if WITH_SCIPY and (first := [item for item in answer.items if item % self.dataset.groups == 0]):
                found[first[0]] |= self._shapenet(first[0], answer, occupancy, threshold)
        return found

    def _r2n2(self, answer: Measured, occupancy: np.ndarray) -> Scores:
        if answer.field is None or self.resolution % protocols.R2N2_SIDE:
            return {}
        of_r2n2 = protocols.r2n2(answer.field, occupancy)
        if "log_loss" not in answer.scores:  # a mesh has no probabilities
            del of_r2n2["log_loss"]
        return {f"r2n2_{name}": value for name, value in of_r2n2.items()}

    def _by_protocol(self, item: int, answer: Measured, occupancy: np.ndarray, points: np.ndarray) -> Scores:
        """What SciPy is needed for; the earth mover's distance, and so `pix3d`, costs too much for more than a view."""
        scores: Scores = {}
        if not WITH_SCIPY:
            return scores
        if item % self.dataset.groups == 0:
            rng = self._rng(item, "matched")
            scores["emd"] = self._emd(answer.points, points, rng)
            shape = answer.points if answer.field is None else answer.field
            scores |= {f"pix3d_{name}": value for name, value in protocols.pix3d(shape, occupancy, rng).items()}
        if answer.field is not None and sample_key(self.dataset, item) in self._r3d_images:
            scores |= {f"r3d_{name}": value for name, value in protocols.r3d(answer.field, occupancy).items()}
        return scores

    def _shapenet(self, item: int, answer: Measured, occupancy: np.ndarray, threshold: float) -> Scores:
        """`pix2vox` and `occnet`; the truth of the latter is at the shards' own resolution."""
        scores: Scores = {}
        rng, prediction = self._rng(item, "shapenet"), answer.prediction
        if answer.field is not None and self.resolution % shapenet.PIX2VOX_SIDE == 0:
            scores |= {f"pix2vox_{name}": v for name, v in shapenet.pix2vox(answer.field, occupancy, rng).items()}
        shape = prediction.surface(threshold) if prediction.points is None else prediction.points
        body = None if prediction.cells is None else prediction.body(threshold)
        truth = isosurface.marching_cubes(self._grid(item, "cpu", self.dataset.resolution).numpy())
        return scores | {f"occnet_{name}": v for name, v in shapenet.occnet(shape, truth, rng, body).items()}

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

    def _rng(self, item: int, purpose: str) -> np.random.Generator:
        name = "/".join(map(str, (*sample_key(self.dataset, item), purpose)))
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def _grid(self, item: int, where: str, resolution: int = 0) -> Tensor:
        packed = torch.from_numpy(self.dataset[item]["occupancy"]).to(where)
        return grids(packed[None], resolution or self.resolution)[0]

    def _truth(self, item: int, where: str) -> Truth:
        grid = self._grid(item, where)
        vertices, faces = marching_cubes(grid, 0.5)
        cubes = surface_points(vertices, faces, self.points, self._rng(item, "truth"))
        return Truth(grid, torch.from_numpy(self.dataset[item]["points"]).to(where), cubes)


def curve_of(field: Tensor, truth: Tensor) -> np.ndarray:
    """(99,) float32: IoU of a field (R, R, R) at each of THRESHOLDS."""
    return iou_curve(field[None], truth[None], THRESHOLDS.to(field.device))[0].cpu().numpy()


def grid_scores(field: Tensor, threshold: float, truth: Tensor, probable: bool = True) -> Scores:
    """IoU, and log loss, against a grid (R, R, R) bool.

    Args:
        field: (R, R, R) float32, on the device of the truth.
        probable: it has probabilities; the cells that a mesh encloses are none, and have no log loss.
    """
    values, true = field[None], truth[None]
    scores = {"iou": iou(values > threshold, true)} | {f"iou_{t}": iou(values > t, true) for t in FIXED}
    if len(truth) % COMMON == 0:
        side = len(truth) // COMMON
        pooled = [torch.nn.functional.max_pool3d(g.float(), side) > 0 for g in (values > threshold, true)]
        scores[f"iou_{COMMON}"] = iou(*pooled)
    if probable:
        scores["log_loss"] = log_loss(values, true)
    return dict(zip(scores, torch.cat(list(scores.values())).tolist(), strict=True))


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
    where = device()
    with progress(label, len(items), "view") as bar:
        for raw in batches(dataset, items, batch_size):
            numbers = raw["item"].tolist()
            yield images_of(raw, image_size, where), numbers
            bar.update(len(numbers))


def batches(dataset: ShardDataset, items: Sequence[int], batch_size: int) -> DataLoader:
    """Collated batches of the items, in their order."""
    return DataLoader(Subset(dataset, items), batch_size)  # type: ignore[arg-type]


def images_of(raw: dict[str, Tensor], image_size: tuple[int, int], where: str) -> Tensor:
    """(B, V, C, H, W) float32 of a collated batch, on the device `where`."""
    given = ("views", "masks", "color", "depth")
    inputs: dict[str, Tensor] = {name: raw[name].to(where) for name in given if name in raw}
    return make_batch(inputs, image_size, 1)["images"]


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
