from __future__ import annotations

import pytest
import torch
from scipy.spatial import cKDTree

from model.view2points import Config, Model
from pipeline.scoring.distances import chamfer_unsquared
from tests.model.boxes import ENCODER, boxes, linear, overfit, parameters, small_encoder


def test_the_default_decoder_has_the_parameters_and_sizes_of_the_seed() -> None:
    with torch.device("meta"):
        model = Model(Config())
        assert model.predict(torch.empty(2, 1, 1, 192, 256)).shape == (2, 1000, 3)
    assert parameters(model.decoder) == linear(512, 1024) + linear(1024, 2048) + linear(2048, 3000) == 8_771_512


def test_a_smaller_network_has_the_parameters_counted_by_hand() -> None:
    model = Model(Config(**ENCODER, hidden=(24, 40), points=50))
    assert parameters(model) == small_encoder() + linear(32, 24) + linear(24, 40) + linear(40, 150)
    assert model.predict(torch.rand(3, 2, 1, *ENCODER["image_size"])).shape == (3, 50, 3)


def test_predicted_points_stay_in_the_unit_cube() -> None:
    model, images = Model(Config(**ENCODER, hidden=(8,), points=50)).eval(), boxes(2)["images"]
    torch.nn.init.uniform_(model.decoder[-1].bias, -2, 2)  # type: ignore[arg-type]
    assert model.predict(images).abs().max() == 0.5


def test_the_loss_is_that_of_scipy() -> None:
    torch.manual_seed(0)  # some first weights put points outside the cube, where predictions are moved to its faces
    model, batch = Model(Config(**ENCODER, hidden=(8,), points=500)).eval(), boxes(2)  # 500 true points: all
    found = model.losses(batch, "reconstruction")["chamfer"].item()
    expected = 0.0
    for cloud, true in zip(model.predict(batch["images"]).detach().numpy(), batch["points"].numpy(), strict=True):
        expected += ((cKDTree(true).query(cloud)[0] ** 2).mean() + (cKDTree(cloud).query(true)[0] ** 2).mean()) / 2
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.long
def test_sixteen_samples_are_learnt_by_heart() -> None:
    torch.manual_seed(0)
    model, batch = Model(Config(**ENCODER, hidden=(128, 256), points=300)), boxes(16)
    overfit(model, batch, steps=150, lr=3e-3)
    with torch.no_grad():
        clouds = model.predict(batch["images"])
    found = [chamfer_unsquared(cloud, true).item() for cloud, true in zip(clouds, batch["points"], strict=True)]
    # Two draws of 250 points from these surfaces are 0.087 apart; a cloud fitted to the very points comes closer.
    assert sum(found) / 16 < 0.05


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": 0}, "points: expected a positive number, got 0"),
        ({"hidden": (8, -1)}, r"hidden: expected one or more positive numbers, got \(8, -1\)"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Config(**changes)
