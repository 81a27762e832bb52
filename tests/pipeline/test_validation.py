from __future__ import annotations

from collections.abc import Iterator
from math import log

import pytest
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from pipeline.validation import validate


class Echo(nn.Module):
    """Predicts the logits that it is given as images."""

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
