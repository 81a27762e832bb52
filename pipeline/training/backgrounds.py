"""What objects stand before in training: pictures drawn from a seed, without a file.

Each is two colours, drawn at random, and a pattern that mixes them: a ramp, stripes, clouds, or another view of the
batch, magnified. It is put behind the object by how much of each pixel that covers, so that no dark part of it is taken
for a hole, and none of its edge is left black.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

COARSE, FINE = (3, 4), (9, 12)  # cells of the clouds
MOST = 6.0  # stripes along half a picture
ZOOM = (1.5, 3.0)  # of another view


def before(picture: Tensor, cover: Tensor, which: Tensor, rng: np.random.Generator) -> Tensor:
    """Pictures, some of them before a background of their own.

    Args:
        picture: (N, C, H, W) in [0, 1], C = 1 or 3, black where nothing is.
        cover: (N, 1, H, W), the share of each pixel that the object covers.
        which: (N,) bool, those that get one.
    """
    mixed = _patterns(picture, rng)
    kinds = torch.from_numpy(rng.integers(len(mixed), size=len(picture))).to(picture.device)
    pattern = mixed[kinds, torch.arange(len(picture), device=picture.device)]
    first, second = _drawn(rng, picture, 2, *picture.shape[:2], 1, 1)
    behind = first + (second - first) * pattern
    return picture + (1 - cover) * behind * which[:, None, None, None]


def _patterns(picture: Tensor, rng: np.random.Generator) -> Tensor:
    """(4, N, C, H, W) in [0, 1], one of each kind for each picture."""
    count, _, *size = picture.shape
    turn, frequency, phase, share, zoom = _drawn(rng, picture, 5, count, 1, 1, 1)
    ys, xs = (torch.linspace(-1, 1, length, device=picture.device) for length in size)
    along = xs * torch.cos(2 * torch.pi * turn) + ys[:, None] * torch.sin(2 * torch.pi * turn)
    ramp = (along / 2**0.5 + 1) / 2
    stripes = ((along * MOST * frequency + phase) % 1 < 0.5).float()
    coarse, fine = (
        F.interpolate(_drawn(rng, picture, count, 1, *cells), size=size, mode="bicubic") for cells in (COARSE, FINE)
    )
    clouds = torch.lerp(coarse, fine, share / 2).clamp(0, 1)
    window = torch.zeros(count, 2, 3, device=picture.device)
    window[:, 0, 0] = window[:, 1, 1] = 1 / (ZOOM[0] + (ZOOM[1] - ZOOM[0]) * zoom.flatten())
    window[:, :, 2] = (_drawn(rng, picture, count, 2) - 0.5) / 2
    others = picture.roll(int(rng.integers(count)), 0)
    grid = F.affine_grid(window, list(picture.shape), align_corners=False)
    other = F.grid_sample(others, grid, align_corners=False)
    return torch.stack([pattern.expand(picture.shape) for pattern in (ramp, stripes, clouds, other)])


def _drawn(rng: np.random.Generator, like: Tensor, *shape: int) -> Tensor:
    """Uniform from 0 to 1, on the device of `like`."""
    return torch.from_numpy(rng.random(shape, dtype=np.float32)).to(like.device)
