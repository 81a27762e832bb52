from __future__ import annotations

from math import exp, log

import pytest
import torch

from model.view2voxel import Config, Model
from pipeline.scoring.distances import iou
from tests.model.boxes import ENCODER, boxes, linear, overfit, parameters, small_encoder


def test_the_default_decoder_has_the_parameters_and_sizes_of_the_seed() -> None:
    def convolution(before: int, after: int) -> int:
        return before * after * 4**3 + after

    with torch.device("meta"):
        model = Model(Config())
        assert model.predict(torch.empty(2, 1, 1, 192, 256)).shape == (2, 32, 32, 32)
    upwards = convolution(64, 32) + convolution(32, 16) + convolution(16, 8) + convolution(8, 1)
    seed = linear(512, 64 * 2 * 2 * 2) + upwards
    normalised = 2 * (32 + 16 + 8)  # not in the seed
    assert parameters(model.decoder) == seed + normalised == 435_257 + 112


def test_a_smaller_network_has_the_parameters_counted_by_hand() -> None:
    model = Model(Config(**ENCODER, resolution=16, decoder_channels=(16, 8)))
    upwards = (16 * 8 * 64 + 8) + (8 * 1 * 64 + 1)
    assert parameters(model) == small_encoder() + linear(32, 16 * 4**3) + upwards + 2 * 8
    assert model.predict(torch.rand(3, 2, 1, *ENCODER["image_size"])).shape == (3, 16, 16, 16)


def test_the_loss_by_hand() -> None:
    model, batch = Model(Config(**ENCODER, resolution=16)), boxes(3)
    model.predict = lambda images: torch.full((3, 16, 16, 16), 1.5)  # type: ignore[method-assign]
    share, probability = batch["occupancy"].mean().item(), 1 / (1 + exp(-1.5))
    expected = -share * log(probability) - (1 - share) * log(1 - probability)
    assert model.losses(batch, "reconstruction")["voxels"].item() == pytest.approx(expected, 1e-4)


@pytest.mark.long
def test_sixteen_samples_are_learnt_by_heart() -> None:
    torch.manual_seed(0)
    model, batch = Model(Config(**ENCODER, resolution=16)), boxes(16)
    overfit(model, batch, steps=150, lr=1e-2)
    with torch.no_grad():
        found = iou(model.predict(batch["images"]) > 0, batch["occupancy"].bool())
    assert found.mean() >= 0.9


def test_a_grid_that_does_not_fit_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"^resolution: expected a multiple of 16, got 40$"):
        Config(resolution=40)
    with pytest.raises(ValueError, match=r"^decoder_channels: expected one or more positive numbers, got \(\)$"):
        Config(decoder_channels=())
