"""Batches of boxes and a training on one batch, for the systems that reconstruct from views."""

from __future__ import annotations

from math import cos, pi
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.samples import box_sample

IMAGE_SIZE = (48, 64)
ENCODER: dict[str, Any] = {"image_size": IMAGE_SIZE, "encoder_channels": (8, 16, 32), "encoder_blocks": 1}


def boxes(count: int, resolution: int = 16, views: int = 1) -> dict[str, Any]:
    """A batch of `count` boxes of different sizes, as the contract in `model/__init__.py` has it."""
    halves = np.random.default_rng(0).uniform(0.12, 0.45, (count, 3))
    samples = [box_sample(f"box{i:05}", half, resolution, views) for i, half in enumerate(halves)]
    images = np.stack([sample.masks * (sample.views / 255) for sample in samples])
    return {
        "images": torch.from_numpy(images[:, :, None]).float(),
        "occupancy": torch.from_numpy(np.stack([sample.occupancy for sample in samples])).float(),
        "points": torch.from_numpy(np.stack([sample.points for sample in samples])),
        "progress": 0.0,
    }


def overfit(model: nn.Module, batch: dict[str, Any], steps: int, lr: float) -> None:
    """Trains on the one batch, the learning rate falling to 0, and leaves the network in eval mode."""
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr)
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 + 0.5 * cos(pi * step / steps))
    for _ in range(steps):
        optimizer.zero_grad()
        total_loss(model, batch).backward()
        optimizer.step()
        falling.step()
    model.eval()


def total_loss(model: nn.Module, batch: dict[str, Any]) -> torch.Tensor:
    return torch.stack(list(model.losses(batch, "reconstruction").values())).sum()  # type: ignore[operator]


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def linear(before: int, after: int) -> int:
    """Parameters of a fully connected layer."""
    return before * after + after


def small_encoder() -> int:
    """Parameters of the encoder that ENCODER asks for: a stem, a block of 8, and two that halve the image."""
    stem = 49 * 8 + 2 * 8
    first = 2 * 9 * 8 * 8 + 4 * 8
    second = 9 * (8 * 16 + 16 * 16) + 8 * 16 + 6 * 16  # two convolutions, the shortcut's, three normalisations
    third = 9 * (16 * 32 + 32 * 32) + 16 * 32 + 6 * 32
    return stem + first + second + third


def slabs(count: int = 4, views: int = 1, progress: float = 1.0) -> dict:
    """Noise for pictures; shapes are slabs, the first one the thinnest."""
    torch.manual_seed(1)
    images, occupancy = torch.rand(count, views, 1, 16, 24), torch.zeros(count, 16, 16, 16)
    for i in range(count):
        occupancy[i, : 3 * (i + 1)] = 1
    return {"images": images, "occupancy": occupancy, "progress": progress}
