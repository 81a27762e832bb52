from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from model.layers.descriptors import descriptor, histograms


def pictures(count: int, height: int = 48, width: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, height, width, generator=torch.Generator().manual_seed(seed))


def ramp(degrees: float, height: int = 48, width: int = 48) -> torch.Tensor:
    """(1, H, W) rising by 0.01 a pixel in one direction, from x (right) to y (down)."""
    ys, xs = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    angle = math.radians(degrees)
    return 0.01 * (xs * math.cos(angle) + ys * math.sin(angle))[None]


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [
        (90, {4: 1.0}),  # a centre: 20 x 4 + 10
        (10, {0: 1.0}),
        (190, {0: 1.0}),  # the opposite direction
        (0, {0: 0.5, 8: 0.5}),  # half-way between the last and the first
        (35, {1: 0.75, 2: 0.25}),
    ],
)
def test_a_slope_votes_for_the_nearest_orientations(degrees: float, expected: dict[int, float]) -> None:
    cells = histograms(ramp(degrees))[0, :, 2:4, 2:4]  # away from the border
    length = 0.02  # f(x + 1) - f(x - 1)
    wanted = torch.zeros(9)
    for orientation, share in expected.items():
        wanted[orientation] = share * length
    assert torch.allclose(cells, wanted[:, None, None].expand_as(cells), atol=1e-6)


def test_an_edge_between_black_and_white_is_of_one_orientation() -> None:
    picture = torch.zeros(1, 48, 64)
    picture[:, 20:] = 1  # gradients downwards in rows 19 and 20, where a cell's centre lies between them
    cells = histograms(picture)[0]
    assert cells[:4].abs().max() < 1e-6 and cells[5:].abs().max() < 1e-6
    # A pixel half a row off weighs 1 - 0.5 / 8, and 0.5 / 8 in a cell beyond; a cell's weights sum to 8.
    assert cells[4, :, 3].tolist() == pytest.approx([0, 0.5 / 64, 2 * 7.5 / 64, 0.5 / 64, 0, 0], abs=1e-6)


def test_every_pixel_gives_its_whole_length() -> None:
    picture = torch.zeros(1, 48, 64)
    picture[:, 14:34, 14:50] = pictures(1, 20, 36)  # away from the border
    rows, columns = np.gradient(picture[0].numpy())
    total = 2 * np.hypot(rows, columns).sum()
    assert histograms(picture).sum().item() * 64 == pytest.approx(total, rel=1e-5)


def test_turned_and_mirrored_pictures_turn_and_mirror_the_cells() -> None:
    picture = pictures(3)
    mirrored = histograms(picture.flip(2))  # an angle a becomes 180 - a, orientation k becomes 8 - k
    assert torch.allclose(mirrored, histograms(picture).flip(3).flip(1), atol=1e-6)
    half_turn = histograms(picture.rot90(2, (1, 2)))  # opposite directions are one orientation
    assert torch.allclose(half_turn, histograms(picture).rot90(2, (2, 3)), atol=1e-6)
    # Nine orientations do not fit a quarter turn; centres end up half-way between two.
    turned = histograms(ramp(30).rot90(1, (1, 2)))[0, :, 2:4, 2:4]  # counter-clockwise on the screen: 30 - 90 + 180
    shares = torch.tensor([0, 0, 0, 0, 0, 0.5, 0.5, 0, 0])  # centred at 110 and 130 degrees
    assert torch.allclose(turned, (0.02 * shares)[:, None, None].expand_as(turned), atol=1e-6)


def test_moving_by_a_cell_moves_the_cells() -> None:
    picture = torch.zeros(1, 48, 64)
    picture[:, 14:26, 14:34] = pictures(1, 12, 20)
    moved = histograms(picture.roll((8, 16), (1, 2)))
    assert torch.allclose(moved[..., 1:, 2:], histograms(picture)[..., :-1, :-2], atol=1e-6)


def test_contrast_and_brightness_do_not_matter() -> None:
    picture = pictures(4)[:, None, None]
    assert torch.allclose(descriptor(0.3 * picture + 0.5), descriptor(picture), atol=1e-4)


def test_blocks_are_of_unit_length_and_no_value_stands_out() -> None:
    blocks = descriptor(pictures(4)[:, None, None]).unflatten(1, (36, 35))
    assert torch.allclose(blocks.square().sum(1), torch.ones(4, 35), atol=1e-4)
    # One orientation: four equal values, clipped to 0.2 each and brought back to unit length.
    edge = descriptor(ramp(90, 48, 64)[:, None, None]).unflatten(1, (36, 35))[0, :, 17]
    assert sorted(edge.tolist())[-4:] == pytest.approx([0.5] * 4, abs=1e-3) and edge.sum() == pytest.approx(2, abs=1e-2)


def test_a_blank_picture_is_nothing() -> None:
    assert descriptor(torch.full((1, 1, 1, 48, 64), 0.7)).abs().max() == 0


def test_views_are_averaged_and_the_size_and_further_channels_do_not_matter() -> None:
    picture = pictures(6)
    one_a_sample = descriptor(picture[:, None, None])
    assert one_a_sample.shape == (6, 1260) and one_a_sample.dtype == torch.float32
    two = descriptor(picture.view(3, 2, 1, 48, 64))
    assert torch.allclose(two, one_a_sample.view(3, 2, -1).mean(1), atol=1e-6)
    with_depth = torch.stack([picture, pictures(6, seed=1)], 1)[:, None]
    assert torch.equal(descriptor(with_depth), one_a_sample)
    smooth = torch.nn.functional.interpolate(pictures(1, 6, 8)[None], (48, 64), mode="bicubic")
    double = torch.nn.functional.interpolate(smooth, (96, 128), mode="bilinear")
    close = (descriptor(double[None]) - descriptor(smooth[None])).norm()
    assert close < 0.1 * descriptor(smooth[None]).norm()


def test_refuses_pictures_without_views() -> None:
    with pytest.raises(ValueError, match=r"images: expected \(B, V, C, H, W\), got \(2, 1, 48, 64\)"):
        descriptor(torch.zeros(2, 1, 48, 64))


def test_of_a_picture_in_colour_its_luma_is_described() -> None:
    """As Pillow makes a picture gray, to its rounding; depth behind the colours is left out."""
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    gray = torch.from_numpy(np.array(Image.fromarray(rgb).convert("L"))) / 255
    images = torch.from_numpy(rgb).movedim(-1, 0)[None, None] / 255
    found = descriptor(images)
    assert torch.allclose(found, descriptor(gray[None, None, None]), atol=0.02)
    assert torch.equal(found, descriptor(torch.cat([images, torch.rand(1, 1, 1, 48, 64)], dim=2)))
    assert torch.allclose(descriptor(gray.expand(1, 1, 3, 48, 64)), descriptor(gray[None, None, None]), atol=1e-5)
