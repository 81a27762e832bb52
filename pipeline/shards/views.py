"""The one preprocessing between a picture and a network, for shards and for users' photos alike.

A view is a picture, in gray or in colour, with a mask of the object. The network sees the object cropped to its mask,
with a margin, centred, letterboxed to the network's image size on black: neither the distance of the camera nor the
shape of the photo matters, and a photo goes through the very steps that the training views went through. Black, because
a background of zeros adds nothing to a convolution's sums, and networks learn faster from it. What was trained with
`train.augment.background` may be shown the surroundings as well, in the same frame.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MARGIN = 1.1  # the crop is this much larger than the object's bounding box
SUPERSAMPLE = 3  # samples per output pixel and axis, so that shrinking a view does not alias


def prepare(picture: Tensor, mask: Tensor, size: tuple[int, int], keep: bool = False) -> Tensor:
    """Network input from pictures and masks, batched, on whatever device they are.

    Args:
        picture: (..., H, W) uint8 grayscale pictures, or (..., H, W, 3) in colour.
        mask: (..., H, W) bool, True on the object. Where it is empty the whole picture is taken.
        size: (height, width) of the network's input.
        keep: whether what is around the object is left there, beyond the picture as at its border, and not made black.

    Returns:
        (..., C, height, width) float32 in [0, 1], C = 1 or 3.
    """
    channels = picture.shape[mask.ndim :]
    if picture.shape[: mask.ndim] != mask.shape or channels not in ((), (3,)) or picture.dtype != torch.uint8:
        raise ValueError(
            f"views: expected uint8 pictures and masks of one shape, got {picture.dtype} {tuple(picture.shape)} "
            f"and {tuple(mask.shape)}"
        )
    batch, (height, width) = mask.shape[:-2], mask.shape[-2:]
    picture, mask = picture.reshape(-1, height, width, *channels), mask.reshape(-1, height, width).bool()
    picture = picture.movedim(-1, 1) if channels else picture[:, None]
    mask = mask | ~mask.any(dim=(1, 2), keepdim=True)
    picture = picture.float() / 255
    if not keep:
        picture = picture * mask[:, None]
    top, bottom = _extent(mask.any(dim=2))
    left, right = _extent(mask.any(dim=1))
    # Source pixels between two output pixels: the crop has the output's shape and holds the whole box.
    scale = torch.maximum((bottom - top) / size[0], (right - left) / size[1]) * MARGIN
    ys = _samples((top + bottom) / 2, scale, size[0]) / height * 2 - 1
    xs = _samples((left + right) / 2, scale, size[1]) / width * 2 - 1
    grid = torch.stack(torch.broadcast_tensors(xs[:, None, :], ys[:, :, None]), dim=-1)
    beyond = "border" if keep else "zeros"
    fine = F.grid_sample(picture, grid, mode="bilinear", padding_mode=beyond, align_corners=False)
    return F.avg_pool2d(fine, SUPERSAMPLE).clamp(0, 1).reshape(*batch, -1, *size)


def _extent(hit: Tensor) -> tuple[Tensor, Tensor]:
    """First and one past the last True of each row of (N, L), as float (N,)."""
    length = hit.shape[1]
    first = hit.float().argmax(dim=1)
    last = length - hit.flip(1).float().argmax(dim=1)
    return first.float(), last.float()


def _samples(centre: Tensor, scale: Tensor, count: int) -> Tensor:
    """(N, count * SUPERSAMPLE) source coordinates of the samples that make up the output pixels."""
    steps = (torch.arange(count * SUPERSAMPLE, device=centre.device) + 0.5) / SUPERSAMPLE - count / 2
    return centre[:, None] + scale[:, None] * steps[None]
