from __future__ import annotations

from collections.abc import Iterator
from math import log
from typing import Any

import pytest
import torch
import trimesh
from lightning_fabric import Fabric
from torch import Tensor, nn

from pipeline.training.validation import POINTS, better, validate


class Echo(nn.Module):
    """Predicts what it is given as images."""

    def __init__(self, output: str = "occupancy"):
        super().__init__()
        self.output = output

    def predict(self, images: Tensor) -> Tensor:
        assert not self.training
        return images


def scores(logits: Tensor, truth: Tensor, sizes: tuple[int, ...] = (), threshold: float = 0.5) -> dict[str, float]:
    def batches() -> Iterator[dict[str, Tensor]]:
        parts = [each.split(sizes or len(logits)) for each in (logits, truth.float())]
        for images, occupancy in zip(*parts, strict=True):
            yield {"images": images, "occupancy": occupancy}

    fabric = Fabric(accelerator="cpu", devices=1)
    return validate(fabric, Echo(), batches(), threshold, logits.shape[-1])


def grids(*filled: int) -> Tensor:
    """2x2x2 grids with the first so many cells full."""
    return torch.arange(8).reshape(1, 2, 2, 2) < torch.tensor(filled).reshape(-1, 1, 1, 1)


def test_scores_by_hand() -> None:
    truth, predicted = grids(4, 2, 8), grids(2, 4, 8)
    found = scores(torch.where(predicted, 1.0, -1.0), truth)
    assert found["val_iou"] == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)
    right, wrong = log(1 + torch.e**-1), log(1 + torch.e)
    assert found["val_bce"] == pytest.approx((20 * right + 4 * wrong) / 24)


def test_means_are_over_samples_whatever_the_batches() -> None:
    torch.manual_seed(0)
    logits, truth = torch.randn(7, 4, 4, 4), torch.rand(7, 4, 4, 4) > 0.5
    assert scores(logits, truth, (3, 3, 1)) == pytest.approx(scores(logits, truth))


def test_the_threshold_is_a_probability() -> None:
    logits, truth = torch.full((1, 2, 2, 2), log(3.0)), torch.ones(1, 2, 2, 2)  # a probability of 3/4
    assert scores(logits, truth, threshold=0.7)["val_iou"] == 1
    assert scores(logits, truth, threshold=0.8)["val_iou"] == 0


def test_variety_is_that_of_the_predictions_against_that_of_the_shapes() -> None:
    truth = grids(1, 3, 5, 7)
    assert scores(torch.where(truth, 5.0, -5.0), truth)["variety"] == pytest.approx(1)
    assert scores(torch.full((4, 2, 2, 2), -5.0), truth)["variety"] == 0
    assert scores(torch.where(grids(4, 4, 4, 4), 5.0, -5.0), truth)["variety"] == pytest.approx(0, abs=1e-6)
    half = scores(torch.where(grids(3, 3, 5, 5), 5.0, -5.0), truth)["variety"]
    # Of two random ones, E|A and B| / E|A or B|: cells are full in 4/4 (3), 2/4 (2) of the predictions,
    # and in 4/4, 3/4, 3/4, 2/4, 2/4, 1/4, 1/4 of the shapes.
    predicted, true = 1 - (3 + 2 * 0.25) / (3 + 2 * 0.75), 1 - (2.75 / (8 - 2.75))
    assert half == pytest.approx(predicted / true)


FACES = torch.from_numpy(trimesh.creation.box().faces)


def cube(side: float) -> trimesh.Trimesh:
    return trimesh.creation.box((side,) * 3)


def surface(side: float, seed: int = 0) -> Tensor:
    """(5000, 3) on a cube at the origin."""
    return torch.from_numpy(trimesh.sample.sample_surface(cube(side), 5000, seed=seed)[0]).float()


def solid(side: float, resolution: int = 32) -> Tensor:
    centres = (torch.arange(resolution) + 0.5) / resolution - 0.5
    inside = centres.abs() < side / 2
    return (inside[:, None, None] & inside[None, :, None] & inside[None, None, :]).float()


class Given(Echo):
    """Predicts what it was made with."""

    def __init__(self, output: str, prediction: Any):
        super().__init__(output)
        self.prediction = prediction

    def predict(self, images: Tensor) -> Any:
        return self.prediction


def cloud_scores(network: nn.Module, *sides: float) -> dict[str, float]:
    batch = {
        "images": torch.zeros(len(sides), 1, 1, 4, 4),
        "occupancy": torch.stack([solid(side) for side in sides]),
        "points": torch.stack([surface(side) for side in sides]),
    }
    return validate(Fabric(accelerator="cpu", devices=1), network, [batch], 0.5, 32)


def test_points_are_scored_by_their_distance() -> None:
    found = cloud_scores(Given("points", torch.stack([surface(0.5, 1)] * 2)), 0.5, 0.8)
    truths = [surface(side)[::2] for side in (0.5, 0.8)]
    assert len(truths[0]) == POINTS
    distances = [torch.cdist(surface(0.5, 1), truth) for truth in truths]
    expected = [(d.min(1).values.mean() + d.min(0).values.mean()).item() for d in distances]
    assert set(found) == {"val_chamfer", "variety"}
    assert found["val_chamfer"] == pytest.approx(sum(expected) / 2, rel=1e-4)
    assert found["variety"] == 0  # the same prediction for two shapes


def test_meshes_are_scored_by_distance_and_by_what_they_enclose() -> None:
    vertices = [torch.from_numpy(cube(side).vertices).float() for side in (0.5, 0.75)]
    found = cloud_scores(Given("mesh", [(v, FACES) for v in vertices]), 0.5, 0.5)
    assert found["val_iou"] == pytest.approx((1 + (16 / 24) ** 3) / 2)
    assert 0.01 < found["val_chamfer"] < 0.3


def test_what_is_not_finite_has_the_worst_scores() -> None:
    broken = [(torch.full((8, 3), torch.nan), FACES)]
    found = cloud_scores(Given("mesh", broken), 0.5)
    assert found["val_iou"] == 0 and found["val_chamfer"] == pytest.approx(2 * 3**0.5)
    assert cloud_scores(Given("points", broken[0][0][None]), 0.5)["val_chamfer"] == pytest.approx(2 * 3**0.5)


def test_what_is_better_depends_on_the_output() -> None:
    low, high = {"val_iou": 0.1, "val_chamfer": 0.1}, {"val_iou": 0.2, "val_chamfer": 0.2}
    assert better("occupancy", high, low) and not better("occupancy", low, high)
    for output in ("points", "mesh"):
        assert better(output, low, high) and not better(output, high, low) and not better(output, low, low)
