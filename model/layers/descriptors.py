"""What a picture looks like to one that was never trained: a descriptor to look views up by.

Histograms of oriented gradients: Dalal and Triggs, Histograms of Oriented Gradients for Human Detection, CVPR 2005, as
they found them best: 9 unsigned orientations, cells of 8x8 pixels, each pixel shared linearly between the nearest cells
and orientations, overlapping blocks of 2x2 cells, normalised by L2-Hys. Without their Gaussian window over a block.

scikit-image's `hog` does not share pixels. Where that is left out here too, the two agree to 1e-7 on noise; but
rounding then decides into which of two bins an upright edge falls, whose gradients are at 0 or 180 degrees.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SIZE = (48, 64)  # a picture's (height, width) while it is described
ORIENTATIONS, CELL, BLOCK = 9, 8, 2
CLIP, EPSILON = 0.2, 1e-5  # of L2-Hys: normalise, clip, normalise


def descriptor(images: Tensor) -> Tensor:
    """Histograms of oriented gradients of pictures, the mean over the views of a sample.

    Args:
        images: (B, V, C, H, W) float in [0, 1] as `pipeline.views.prepare` gives them; the gray channel is described,
            or of red, green and blue their luma.

    Returns:
        (B, 1260) float32, from 36 values for each of 5x7 blocks: 4 cells of each of 9 orientations.

    Raises:
        ValueError: the images have other axes.
    """
    if images.ndim != 5:
        raise ValueError(f"images: expected (B, V, C, H, W), got {tuple(images.shape)}")
    gray = F.interpolate(luma(images.float()), SIZE, mode="bilinear", antialias=True)
    blocks = F.unfold(histograms(gray.flatten(0, 1)), BLOCK)
    blocks = _normalised(_normalised(blocks).clamp(max=CLIP))
    return blocks.flatten(1).unflatten(0, images.shape[:2]).mean(1)


def luma(images: Tensor) -> Tensor:
    """(B, V, H, W): the gray of images (B, V, C, H, W), by ITU-R 601 where they begin with red, green and blue."""
    if images.shape[2] < 3:
        return images[:, :, 0]
    return 0.299 * images[:, :, 0] + 0.587 * images[:, :, 1] + 0.114 * images[:, :, 2]


def histograms(gray: Tensor) -> Tensor:
    """Gradients by orientation: (B, H, W) float -> (B, 9, H / 8, W / 8), their weighted mean length around each cell.

    A gradient is (f(x + 1) - f(x - 1), f(y + 1) - f(y - 1)), x to the right and y down, 0 across the border. Its
    orientation is the angle from x to y, opposite directions together; the k-th of 9 is centred at 20 k + 10 degrees.
    """
    dx, dy = torch.zeros_like(gray), torch.zeros_like(gray)
    dx[:, :, 1:-1] = gray[:, :, 2:] - gray[:, :, :-2]
    dy[:, 1:-1] = gray[:, 2:] - gray[:, :-2]
    place = torch.atan2(dy, dx) / torch.pi * ORIENTATIONS
    centres = torch.arange(ORIENTATIONS, device=gray.device)[:, None, None] + 0.5
    half = ORIENTATIONS / 2
    apart = ((place[:, None] - centres + half) % ORIENTATIONS - half).abs()  # around the circle, in bins
    votes = (1 - apart).clamp(min=0) * torch.hypot(dx, dy)[:, None]
    # Shrinking with a triangular filter is what shares a pixel linearly between the nearest cells.
    return F.interpolate(votes, [side // CELL for side in gray.shape[1:]], mode="bilinear", antialias=True)


def _normalised(blocks: Tensor) -> Tensor:
    """(B, 36, blocks), each block by its Euclidean length; an empty one stays 0."""
    return blocks / (blocks.square().sum(1, keepdim=True) + EPSILON**2).sqrt()
