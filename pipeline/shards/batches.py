"""From items of a ShardDataset to what the systems take, on the device where they take it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pipeline.shards.views import prepare


def make_batch(
    raw: dict[str, Tensor], image_size: tuple[int, int], resolution: int, cover: bool = False
) -> dict[str, Any]:
    """The batch of the contract in `model/__init__.py`, from a collated batch already on its device.

    Args:
        raw: `views` (B, V, H, W) uint8, `masks` (B, V, H, ceil(W/8)) uint8 packed, and where asked for `occupancy`
            (B, ceil(S^3/8)) uint8 packed and `points` (B, P, 3).
            Where `color` (B, V, H, W, 3) is given, it takes the place of the views; where `depth` (B, V, H, W) is, it
            becomes a channel more, the last. `model` and `origin` (B,) int64.
        image_size: (H', W') of the network's input.
        resolution: R of the network; the stored S must be a multiple, a cell is then full where any of its parts is.
        cover: whether to tell the object from its background.

    Returns:
        `images` (B, V, C, H', W') float32; `occupancy` (B, R, R, R) float32; `points`, `model` and `origin` as
        given. With `cover` as well `cover` (B, V, 1, H', W'), the share of each pixel that the object covers.
    """
    width = raw["views"].shape[-1]
    mask = unpack_bits(raw["masks"], width)
    channels = [raw.get("color", raw["views"])] + ([nearness(raw["depth"])] if "depth" in raw else [])
    batch: dict[str, Any] = {"images": torch.cat([prepare(channel, mask, image_size) for channel in channels], dim=2)}
    if cover:
        batch["cover"] = prepare(torch.full_like(raw["views"], 255), mask, image_size)
    if "occupancy" in raw:
        batch["occupancy"] = grids(raw["occupancy"], resolution).float()
    return batch | {name: raw[name] for name in ("points", "model", "origin") if name in raw}


def nearness(depth: Tensor) -> Tensor:
    """Depth maps (..., H, W), 0 the background, as pictures, uint8: 255 the nearest point, 0 a cube's diagonal behind.

    Relative to the nearest point, as what a network is shown is cropped, and tells no distance either.
    """
    depth = depth.float()
    shown = depth > 0
    nearest = torch.where(shown, depth, torch.inf).amin(dim=(-2, -1), keepdim=True)
    picture = 1 - (depth - nearest) / math.sqrt(3)
    return (torch.where(shown, picture, 0.0) * 255).round().clamp(0, 255).to(torch.uint8)


def unpack_bits(packed: Tensor, length: int) -> Tensor:
    """(..., ceil(length/8)) uint8, most significant bit first -> (..., length) bool; numpy.packbits undone."""
    shifts = torch.arange(7, -1, -1, device=packed.device, dtype=torch.uint8)
    bits = (packed[..., None] >> shifts) & 1
    return bits.flatten(-2)[..., :length].bool()


def grids(packed: Tensor, resolution: int) -> Tensor:
    """(B, ceil(S^3/8)) uint8 packed grids -> (B, R, R, R) bool, S a multiple of R; any full part fills a cell."""
    side = round((packed.shape[-1] * 8) ** (1 / 3))
    if resolution < 1 or side % resolution:
        raise ValueError(f"resolution: expected a divisor of the shards' {side}, got {resolution}")
    bits = unpack_bits(packed, side**3)
    factor = side // resolution
    return bits.reshape(-1, *[n for _ in range(3) for n in (resolution, factor)]).amax(dim=(2, 4, 6))
