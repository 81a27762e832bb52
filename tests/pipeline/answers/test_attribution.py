from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor, nn

from model import r3d
from pipeline.answers.attribution import (
    attention,
    attribute,
    numbers,
    occlusion,
    painted,
    saliency,
    spots,
    spread,
    weights,
    windows,
)
from tests.systems import CONFIGS, created

H, W = 12, 16


class Linear(nn.Module):
    """Points that are linear in the picture: the Jacobian is what it is given, (3 P, H W)."""

    output = "points"
    jacobian: Tensor

    def __init__(self, jacobian: Tensor):
        super().__init__()
        self.register_buffer("jacobian", jacobian)

    def predict(self, images: Tensor) -> Tensor:
        return (images[:, 0, 0].flatten(1) @ self.jacobian.T).unflatten(1, (-1, 3))


class Copy(nn.Module):
    """A grid of 4^3 whose lowest layer is full where the picture's quarters by 3x4 pixels are bright."""

    output = "occupancy"

    def predict(self, images: Tensor) -> Tensor:
        bright = F.avg_pool2d(images[:, 0], (H // 4, W // 4))[:, 0]
        free = torch.full_like(bright, -10)[:, None].expand(-1, 3, -1, -1)
        return torch.cat([20 * bright[:, None] - 10, free], dim=1)


def picture(seed: int = 0, size: tuple[int, int] = (H, W)) -> Tensor:
    """An object in the middle of a black picture."""
    image = torch.zeros(1, 1, 1, *size)
    top, left = size[0] // 6, size[1] // 6
    image[..., top:-top, left:-left] = torch.rand(
        (size[0] - 2 * top, size[1] - 2 * left), generator=torch.Generator().manual_seed(seed)
    ).clamp(min=0.1)
    return image


def test_saliency_is_the_length_of_the_jacobians_columns() -> None:
    single = torch.zeros(3, H * W)
    single[0] = torch.randn(H * W, generator=torch.Generator().manual_seed(0))
    found = saliency(Linear(single), picture())
    np.testing.assert_allclose(found.ravel(), single[0].abs(), rtol=1e-5)  # of one row any signs tell it
    many = torch.randn(300, H * W, generator=torch.Generator().manual_seed(1)) * torch.linspace(0, 1, H * W)
    found = saliency(Linear(many), picture(), draws=2000)
    np.testing.assert_allclose(found.ravel(), many.norm(dim=0), rtol=0.1)
    few = saliency(Linear(many), picture()).ravel()[1:] / many.norm(dim=0).numpy()[1:]
    assert few.mean() == pytest.approx(1, abs=0.1) and few.std() == pytest.approx(0.25, abs=0.1)


def test_an_answer_that_no_picture_changes_has_no_saliency() -> None:
    constant = Linear(torch.zeros(3, H * W))
    constant.predict = lambda images: torch.zeros(len(images), 5, 3)  # type: ignore[method-assign]
    assert not saliency(constant, picture()).any()


def test_occlusion_changes_what_the_window_covers() -> None:
    images = torch.ones(1, 1, 1, H, W)
    changes = occlusion(Copy(), images, [(0, 0, 2), (0, 0, 4), (3, 4, 8)])
    # Of 16 full cells of 3 x 4 pixels, a square of 2 darkens a third of one; of 4 all of one; of 8 two rows of two, and
    # two thirds of two more.
    np.testing.assert_allclose(changes, [0, 1 / 16, 6 / 16], atol=1e-6)


def test_points_move_by_the_part_of_the_picture_that_is_gone() -> None:
    jacobian = torch.zeros(6, H * W)
    jacobian[0, 0] = jacobian[4, 0] = 3.0  # the first pixel moves both points by 3, along x and along y
    images = torch.ones(1, 1, 1, H, W)
    np.testing.assert_allclose(occlusion(Linear(jacobian), images, [(0, 0, 1), (5, 5, 3)]), [3, 0])


def test_windows_cover_what_is_seen_and_nothing_else() -> None:
    seen = picture()[0, 0, 0].numpy()
    found = windows(seen, 6)
    covered = np.zeros((H, W), int)
    for top, left, side in found:
        assert side == 2 and (seen[top : top + side, left : left + side] > 0).any()
        covered[top : top + side, left : left + side] += 1
    assert (covered[seen > 0] > 0).all() and not covered[0, 0]
    assert len(windows(np.zeros((H, W), np.float32))) == 1
    both = spread((4, 4), [(0, 0, 2), (0, 1, 2)], np.array([1.0, 3.0]))
    np.testing.assert_array_equal(both[0], [1, 2, 3, 0])
    assert painted(torch.ones(1, 1, 1, 4, 4), (1, 2, 2)).sum() == 12


def test_spots_lie_on_the_object_and_far_apart() -> None:
    seen, pixels = np.zeros((10, 10)), np.zeros((10, 10))
    seen[2:8, 2:8], pixels[2, 2] = 1, 1
    assert [tuple(int(10 * share) for share in spot) for spot in spots(seen, pixels, 3)] == [(2, 2), (7, 7), (2, 7)]


@pytest.mark.parametrize("kind", ["full", "causal"])
def test_attention_is_what_pytorch_weighs_values_by(kind: str) -> None:
    """With the identity for values, scaled dot-product attention gives the weights themselves."""
    config = r3d.Config(attention=kind, heads=2, attention_dropout=0.0, dropout=0.0)
    layer = r3d.Attention(8, config).eval()
    x = torch.randn(1, 8, 3, 4, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        query, key, _ = layer.project(x.flatten(2).transpose(1, 2)).unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        values = torch.eye(12).expand(1, 2, 12, 12)
        expected = F.scaled_dot_product_attention(query, key, values, is_causal=kind == "causal")[0].mean(dim=0)
        for place in (0, 6, 11):
            spot = (place // 4 + 0.5) / 3, (place % 4 + 0.5) / 4
            torch.testing.assert_close(weights(layer, x, spot).flatten(), expected[place])


def test_only_attention_is_read() -> None:
    reads = attention(created("r3d").eval(), picture(size=(32, 32)), [(0.5, 0.5), (0.1, 0.9)])
    assert [[values.shape for values in maps] for maps in reads] == [[(8, 8), (8, 8)]]
    assert all(values.sum() == pytest.approx(1, abs=1e-5) for maps in reads for values in maps)
    assert attention(created("view2voxel").eval(), picture(size=(32, 32)), [(0.5, 0.5)]) == []


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_every_system_can_be_explained(name: str) -> None:
    network, images = created(name).eval(), picture(size=(32, 32))
    found = attribute(network, images, 0.3, finest=3)
    assert found.pixels.shape == found.parts.shape == (32, 32)
    assert np.isfinite(found.pixels).all() and (found.pixels > 0).any() and 0 <= found.change < np.inf
    again = attribute(network, images, 0.3, finest=3)
    np.testing.assert_array_equal(found.pixels, again.pixels)
    np.testing.assert_array_equal(found.parts, again.parts)


def drawn_anew(network: Any, seed: int) -> Any:
    """The same network with weights that nobody trained, as wide as these."""
    generator = torch.Generator().manual_seed(seed)
    for values in network.parameters():
        spread_of = values.std() if values.numel() > 1 else values.abs()
        values.data = values.mean() + spread_of * torch.randn(values.shape, generator=generator)
    return network


MAPS: dict[str, Callable[[Any, Tensor], np.ndarray]] = {
    "pixels": lambda network, images: saliency(network, images)[6:-6, 6:-6],  # on the object: background is unlike it
    "parts": lambda network, images: occlusion(
        network, images, windows(images[0, 0, 0].numpy(), 8), median(network, images)
    ),
    "attention": lambda network, images: np.stack(attention(network, images, [(0.3, 0.3), (0.7, 0.6)])[0]),
}


def median(network: Any, images: Tensor) -> float:
    """A threshold that half of the cells pass."""
    with torch.inference_mode():
        return float(numbers(network, images).median())


@pytest.mark.parametrize("name", sorted(MAPS))
def test_maps_tell_of_the_network_and_not_of_the_picture_alone(name: str) -> None:
    """Adebayo et al. 2018: a map that stays alike when weights are drawn anew explains nothing."""
    images = picture(size=(32, 32))
    own = MAPS[name](seeded(0), images).ravel()
    np.testing.assert_array_equal(own, MAPS[name](seeded(0), images).ravel())
    others = [MAPS[name](drawn_anew(seeded(0), seed).eval(), images).ravel() for seed in range(3)]
    alike = [abs(spearmanr(own, other).statistic) for other in others]
    assert np.mean(alike) < 0.7 and np.ptp(own) > 0, alike


def seeded(seed: int) -> Any:
    torch.manual_seed(seed)
    return created("r3d").eval()


def test_a_pixel_in_colour_counts_with_all_its_channels() -> None:
    """Of a network that sees three channels with weights of 2, 3 and 6 a pixel matters sqrt(4 + 9 + 36) = 7 times."""

    class Weighted(Linear):
        def predict(self, images: Tensor) -> Tensor:
            mixed = torch.einsum("bvchw,c->bvhw", images[:, :, :3], torch.tensor([2.0, 3, 6]))
            return super().predict(mixed[:, :, None])

    jacobian = torch.rand(3, H * W)
    image = picture()
    colours = torch.cat([image, image / 2, image, torch.rand_like(image)], dim=2)  # and depth, which is no colour
    found, plain = saliency(Weighted(jacobian), colours), saliency(Linear(jacobian), image)
    assert np.allclose(found, 7 * plain, rtol=1e-4)
    attributed = attribute(Weighted(jacobian), colours)
    assert np.allclose(attributed.seen, (0.299 + 0.587 / 2 + 0.114) * image[0, 0, 0].numpy(), atol=1e-6)
