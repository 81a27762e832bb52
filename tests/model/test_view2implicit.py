from __future__ import annotations

from math import exp, log

import pytest
import torch
import trimesh

from model import view2implicit
from model.view2implicit import Config, Model, occupied
from pipeline.geometry.isosurface import marching_cubes
from pipeline.scoring.distances import iou
from tests.model.boxes import ENCODER, boxes, linear, overfit, parameters, small_encoder


def test_the_default_decoder_has_the_parameters_of_the_seed() -> None:
    with torch.device("meta"):
        model = Model(Config())
        assert model.predict(torch.empty(2, 1, 1, 192, 256)).shape == (2, 32, 32, 32)
    assert parameters(model.field) == linear(512 + 3, 256) + linear(256, 128) + linear(128, 64) + linear(64, 1)


def test_a_smaller_network_has_the_parameters_counted_by_hand() -> None:
    model = Model(Config(**ENCODER, resolution=12, hidden=(24, 16)))
    assert parameters(model) == small_encoder() + linear(32 + 3, 24) + linear(24, 16) + linear(16, 1)
    assert model.predict(torch.rand(3, 2, 1, *ENCODER["image_size"])).shape == (3, 12, 12, 12)


def test_the_field_is_one_perceptron_of_features_and_position() -> None:
    model = Model(Config(**ENCODER, hidden=(24, 16)))
    features, points = torch.randn(2, 32), torch.rand(2, 5, 3) - 0.5
    first = torch.nn.Linear(35, 24)
    first.weight.data = torch.cat([model.field.features.weight, model.field.position.weight], dim=1).detach()
    first.bias.data = model.field.features.bias.detach()
    together = torch.cat([features[:, None].expand(-1, 5, -1), points], dim=2)
    expected = model.field.rest(first(together).relu()).squeeze(2)
    torch.testing.assert_close(model.field(features, points), expected)


def test_a_prediction_is_the_field_at_the_centres_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(Config(**ENCODER, resolution=8, hidden=(24, 16))).eval()
    images = boxes(3)["images"]
    logits = model.predict(images)
    centre = (torch.tensor([5.0, 0, 2]) + 0.5) / 8 - 0.5
    alone = model.field(model.features(images), centre.expand(3, 1, 3))[:, 0]
    torch.testing.assert_close(logits[:, 5, 0, 2], alone, atol=1e-5, rtol=1e-5)
    asked: list[int] = []
    model.field.register_forward_pre_hook(lambda _, given: asked.append(len(given[0]) * given[1].shape[1]))
    monkeypatch.setattr(view2implicit, "CHUNK", 100)
    torch.testing.assert_close(model.predict(images), logits, atol=1e-5, rtol=1e-5)
    assert max(asked) <= 100
    assert sum(asked) == 3 * 8**3


def test_labels_are_those_of_the_cells_that_points_lie_in() -> None:
    torch.manual_seed(0)
    occupancy = torch.rand(2, 4, 4, 4).round()
    cells = torch.cartesian_prod(*3 * [torch.arange(4)])
    inside = (cells + torch.rand(64, 3)) / 4 - 0.5
    assert torch.equal(occupied(occupancy, inside.expand(2, -1, -1)), occupancy.flatten(1))
    corners = torch.tensor([[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]]).expand(2, -1, -1)
    assert torch.equal(occupied(occupancy, corners), occupancy[:, [0, 3], [0, 3], [0, 3]])


def test_points_to_learn_from_are_uniform_or_near_the_surface() -> None:
    torch.manual_seed(0)
    model = Model(Config(**ENCODER, points=8000, surface_share=0.25, surface_noise=0.02))
    surface = torch.tensor([0.1, -0.2, 0.3]).expand(2, 3000, 3)
    points = model.sample(surface)
    assert points.shape == (2, 8000, 3)
    near, anywhere = points.split([2000, 6000], dim=1)
    torch.testing.assert_close(near.std(dim=1), torch.full((2, 3), 0.02), atol=1e-3, rtol=0)
    torch.testing.assert_close(near.mean(dim=1), surface[:, 0], atol=2e-3, rtol=0)
    torch.testing.assert_close(anywhere.std(dim=1), torch.full((2, 3), 12**-0.5), atol=0.01, rtol=0)
    torch.testing.assert_close(anywhere.mean(dim=1), torch.zeros(2, 3), atol=0.02, rtol=0)
    assert model.sample(torch.full((2, 3000, 3), 0.5)).abs().max() == 0.5


def test_the_loss_by_hand() -> None:
    model, batch = Model(Config(**ENCODER, points=40)), boxes(3)
    batch["occupancy"] = torch.zeros(3, 16, 16, 16)
    batch["occupancy"][0] = 1  # a third of the points, wherever they are
    model.field.forward = lambda features, points: torch.full((3, 40), 1.5)  # type: ignore[method-assign]
    probability = 1 / (1 + exp(-1.5))
    expected = -log(probability) / 3 - 2 / 3 * log(1 - probability)
    assert model.losses(batch, "reconstruction")["field"].item() == pytest.approx(expected, 1e-4)


@pytest.mark.long
def test_sixteen_samples_are_learnt_by_heart() -> None:
    torch.manual_seed(0)
    model, batch = Model(Config(**ENCODER, resolution=16, hidden=(128, 128, 64), points=400)), boxes(16)
    overfit(model, batch, steps=200, lr=1e-2)
    with torch.no_grad():
        logits = model.predict(batch["images"])
    assert iou(logits > 0, batch["occupancy"].bool()).mean() >= 0.9
    mesh = trimesh.Trimesh(*marching_cubes(logits[0].sigmoid().numpy()))
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(batch["occupancy"][0].mean().item(), rel=0.2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"surface_share": 1.5}, "surface_share: expected a share from 0 to 1, got 1.5"),
        ({"surface_noise": -0.1}, "surface_noise: expected 0 or more, got -0.1"),
        ({"hidden": ()}, r"hidden: expected one or more positive numbers, got \(\)"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Config(**changes)
