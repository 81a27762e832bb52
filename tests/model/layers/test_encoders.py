from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from model import create, view2implicit, view2mesh, view2points, view2voxel
from model.layers.encoders import EncoderConfig, EncoderModel, ResidualBlock, perceptron, residual_encoder
from tests.model.boxes import ENCODER, boxes, linear, parameters, small_encoder, total_loss

SMALL: dict[ModuleType, dict[str, Any]] = {
    view2voxel: {"resolution": 16, "decoder_channels": (16, 8)},
    view2points: {"resolution": 16, "hidden": (24, 32), "points": 50},
    view2mesh: {"resolution": 16, "hidden": (24, 32), "level": 1, "points": 50},
    view2implicit: {"resolution": 16, "hidden": (24, 16), "points": 50},
}
systems = pytest.mark.parametrize("system", SMALL, ids=lambda system: system.__name__)


def small(system: ModuleType) -> EncoderModel:
    torch.manual_seed(0)
    return create(system.__name__.removeprefix("model."), system.Config(**ENCODER, **SMALL[system]))  # type: ignore


def predicted(model: EncoderModel, images: Tensor) -> Tensor:
    """Logits, points or the meshes' vertices, (B, ...)."""
    with torch.no_grad():
        found = model.predict(images)  # type: ignore[operator]
    return torch.stack([vertices for vertices, _ in found]) if isinstance(found, list) else found


def test_the_default_encoder_is_the_18_layer_network_without_its_classifier() -> None:
    def block(before: int, after: int) -> int:
        shortcut = before * after + 2 * after if before != after else 0
        return 9 * before * after + 2 * after + 9 * after * after + 2 * after + shortcut

    with torch.device("meta"):
        encoder = residual_encoder(EncoderConfig().encoder_channels, EncoderConfig().encoder_blocks)
        features = encoder(torch.empty(2, 1, 192, 256))
    stages = sum(block(before, after) + block(after, after) for before, after in [(64, 64), (64, 128), (128, 256)])
    assert parameters(encoder) == 49 * 64 + 2 * 64 + stages + block(256, 512) + block(512, 512)
    # The paper's network has 11,689,512 parameters: 1,000 classes, and two more channels of colour come in.
    assert parameters(encoder) == 11_689_512 - linear(512, 1000) - 2 * 49 * 64
    assert features.shape == (2, 512)


def test_a_smaller_encoder_has_the_parameters_counted_by_hand() -> None:
    assert parameters(residual_encoder(ENCODER["encoder_channels"], 1)) == small_encoder()


def test_a_block_adds_to_what_comes_in() -> None:
    block, x = ResidualBlock(4, 4, 1).eval(), torch.randn(2, 4, 5, 6)
    nn.init.zeros_(block.residual[-1].weight)  # type: ignore[arg-type]
    assert torch.equal(block(x), x.relu())
    assert ResidualBlock(4, 6, 2)(x).shape == (2, 6, 3, 3)


def test_a_perceptron_keeps_the_size_of_what_passes_through() -> None:
    torch.manual_seed(0)
    hidden = perceptron(256, 512, 512, 512, 3)[:-1](torch.randn(200, 256))
    assert hidden.square().mean().sqrt().item() == pytest.approx(1, abs=0.1)


@systems
def test_a_gradient_reaches_every_parameter(system: ModuleType) -> None:
    model = small(system)
    assert model.parts().keys() == {"reconstruction"}
    total_loss(model, boxes(4)).backward()
    found = model.parts()["reconstruction"]["params"]
    assert len(found) == len(list(model.parameters()))
    for parameter in found:
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


@systems
def test_predictions_are_deterministic_and_differ_by_object(system: ModuleType) -> None:
    model, images = small(system).eval(), boxes(3)["images"]
    prediction = predicted(model, images)
    assert torch.equal(prediction, predicted(model, images))
    assert not torch.allclose(prediction[0], prediction[1])


@systems
def test_views_are_fused_whatever_their_order(system: ModuleType) -> None:
    model, images = small(system).eval(), boxes(2, views=3)["images"]
    assert model.features(images).shape == (2, 32)
    apart = torch.stack([model.features(images[:, view : view + 1]) for view in range(3)])
    torch.testing.assert_close(model.features(images), apart.mean(0))
    torch.testing.assert_close(predicted(model, images), predicted(model, images.flip(1)), atol=1e-5, rtol=1e-5)


@systems
def test_losses_repeat_themselves_with_the_seed(system: ModuleType) -> None:
    model, batch, found = small(system), boxes(3), []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        found.append(total_loss(model, batch).item())
    assert found[0] == found[1]
    assert (found[1] == found[2]) == (system is view2voxel)  # it draws nothing


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"image_size": (31, 64)},
            r"image_size: expected 32 or more a side, 4 halved by the later stages, got \(31, 64\)",
        ),
        ({"resolution": 0}, "resolution: expected a positive number, got 0"),
        ({"views": 0}, "views: expected a positive number, got 0"),
        ({"encoder_channels": ()}, r"encoder_channels: expected one or more positive numbers, got \(\)"),
        ({"encoder_blocks": -1}, "encoder_blocks: expected a positive number, got -1"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        EncoderConfig(**changes)
