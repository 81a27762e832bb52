from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.training.backgrounds import before


def ball(count: int, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of a disc that is black in its middle, and how much of each pixel it covers, half of some."""
    ys, xs = torch.meshgrid(torch.arange(24) - 11.5, torch.arange(32) - 15.5, indexing="ij")
    radius = (xs**2 + ys**2).sqrt()
    cover = ((8.5 - radius) / 2).clamp(0, 1)[None, None]
    gray = torch.where(radius < 3, 0.0, 0.8)
    return (gray * cover).expand(count, channels, -1, -1).clone(), cover.expand(count, -1, -1, -1).clone()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_black_part_of_an_object_is_no_hole(channels: int) -> None:
    picture, cover = ball(64, channels)
    which = torch.arange(64) % 2 == 0
    found = before(picture, cover, which, np.random.default_rng(0))
    assert torch.equal(found[~which], picture[~which])
    whole = (cover == 1).expand_as(picture)
    assert torch.equal(found[whole], picture[whole]) and not found[..., 12, 16].any()
    assert found.min() >= 0 and found.max() <= 1
    outside = found[which][:, :, (cover[0, 0] == 0)]
    assert (outside.amax(dim=2) > 0).all()
    # Half covered, half background: what is behind is divided by the cover that is left.
    half = (cover > 0.3) & (cover < 0.7)
    behind = ((found - picture) / (1 - cover))[half.expand_as(found) & which.view(-1, 1, 1, 1)]
    assert behind.min() >= -1e-6 and behind.max() <= 1 + 1e-6
    gray = (found[which] - found[which].mean(dim=1, keepdim=True)).abs().max()
    assert (gray > 0.2) == (channels == 3)  # colours differ


def test_backgrounds_differ_from_one_another_and_are_a_function_of_the_seed() -> None:
    picture, cover = ball(40, 1)
    every = torch.ones(40, dtype=torch.bool)
    first, again, other = (before(picture, cover, every, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    corners = first[:, 0, ::23, ::31].flatten(1)
    distances = torch.cdist(corners, corners) + torch.eye(40)
    assert distances.min() > 1e-4
    # Of patterns, stripes alone have but two values; about a quarter of the pictures.
    values = torch.tensor([len(np.unique(np.round(part[cover[0, 0] == 0], 4))) for part in first[:, 0].numpy()])
    assert 3 <= (values <= 2).sum() <= 18
