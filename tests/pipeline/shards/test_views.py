from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.shards.views import MARGIN, prepare


def box(
    top: int, left: int, height: int, width: int, shape: tuple[int, int] = (96, 128)
) -> tuple[torch.Tensor, torch.Tensor]:
    gray = torch.full(shape, 17, dtype=torch.uint8)  # what lies outside of the mask must not be seen
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[top : top + height, left : left + width] = True
    gray[mask] = 204
    return gray[None], mask[None]


def test_object_is_centred_and_fills_the_picture_but_for_the_margin() -> None:
    image = prepare(*box(10, 70, 40, 20), (66, 88))[0, 0]
    assert image.shape == (66, 88)
    bright = image > 0.4
    rows, columns = torch.where(bright)
    # The box is taller than the picture's shape, so its height decides: 66 / 1.1 = 60 rows, half as many columns.
    assert int(bright.sum(0).max()) == round(66 / MARGIN) and int(bright.sum(1).max()) == 30
    assert rows.float().mean() == pytest.approx(32.5, abs=0.5)
    assert columns.float().mean() == pytest.approx(43.5, abs=0.5)
    assert image[33, 44] == pytest.approx(0.8, abs=1e-6)
    assert image[0, 0] == 0


def test_position_and_scale_of_the_object_do_not_matter() -> None:
    small = prepare(*box(3, 5, 30, 30), (48, 64))
    large = prepare(*box(35, 60, 60, 60), (48, 64))
    assert (small - large).abs().max() < 0.25 and (small - large).abs().mean() < 0.01


def test_a_view_does_not_depend_on_its_batch() -> None:
    near, far = box(0, 0, 96, 128), box(40, 60, 5, 5)
    together = prepare(torch.cat([near[0], far[0]]), torch.cat([near[1], far[1]]), (24, 32))
    assert torch.equal(together[1:], prepare(*far, (24, 32)))


def test_agrees_with_pillow_on_a_smooth_picture() -> None:
    ys, xs = np.mgrid[0:80, 0:100]
    gray = (128 + 60 * np.sin(ys / 11) * np.cos(xs / 13)).astype(np.uint8)
    image = prepare(torch.from_numpy(gray)[None], torch.zeros(1, 80, 100, dtype=torch.bool), (40, 50))[0, 0]
    # An empty mask takes the whole picture: Pillow's resize of it with the margin.
    edge = (MARGIN - 1) / 2
    frame = (-edge * 100, -edge * 80, 100 * (1 + edge), 80 * (1 + edge))
    expected = np.asarray(
        Image.fromarray(gray).transform((50, 40), Image.Transform.EXTENT, frame, Image.Resampling.BILINEAR)
    )
    inner = (slice(4, 36), slice(5, 45))
    assert np.abs(image.numpy()[inner] * 255 - expected[inner]).max() < 5


def test_each_channel_of_a_picture_in_colour_is_seen_as_if_it_were_gray() -> None:
    picture = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 4, 30, 50, 3), dtype=np.uint8))
    mask = torch.zeros(2, 4, 30, 50, dtype=torch.bool)
    mask[:, :, 5:20, 10:45] = True
    mask[1, 3] = False
    found = prepare(picture, mask, (12, 16))
    assert found.shape == (2, 4, 3, 12, 16)
    for channel in range(3):
        assert torch.equal(found[:, :, channel], prepare(picture[..., channel], mask, (12, 16))[:, :, 0])
    with pytest.raises(ValueError, match="views: expected uint8 pictures and masks of one shape"):
        prepare(picture[..., :2], mask, (12, 16))


def test_refuses_other_types() -> None:
    with pytest.raises(ValueError, match="views: expected uint8 pictures and masks of one shape"):
        prepare(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.bool), (4, 4))
