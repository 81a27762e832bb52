"""Every system in model/, small, and a batch for it."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import model
from model import r2n2, r3d, recall, vaegan3d, view2implicit, view2mesh, view2points, view2voxel

VIEW: dict[str, Any] = {"image_size": (32, 32), "resolution": 16, "encoder_channels": (8, 16), "encoder_blocks": 1}
CONFIGS: dict[str, Any] = {
    "r2n2": r2n2.Config(
        image_size=(32, 32),
        resolution=16,
        views=2,
        encoder_channels=(8, 16),
        features=32,
        hidden=8,
        decoder_channels=(16, 8),
    ),
    "r3d": r3d.Config(
        image_size=(32, 32),
        resolution=16,
        encoder_channels=(8, 16),
        encoder_pools=(4, 2),
        dropout=0.0,
        attention_dropout=0.0,
        hidden=(32,),
        latent=16,
        generator_channels=(16, 8),
        discriminator_channels=(4, 8),
        adversarial_warmup=0.0,
        discriminator_gate=1.0,
    ),
    "recall": recall.Config(**VIEW, keys="gradients", side=16, grid_channels=(16, 8), refine_channels=8, key_width=8),
    "vaegan3d": vaegan3d.Config(
        image_size=(32, 32),
        resolution=16,
        encoder_channels=(8, 16),
        encoder_kernels=(5, 3),
        encoder_strides=(2, 2),
        latent=16,
        channels=(16, 8),
        discriminator_gate=1.0,
    ),
    "view2implicit": view2implicit.Config(**VIEW, hidden=(32, 16), points=64),
    "view2mesh": view2mesh.Config(**VIEW, hidden=(32,), level=1, points=64),
    "view2points": view2points.Config(**VIEW, hidden=(32,), points=32),
    "view2voxel": view2voxel.Config(**VIEW, decoder_channels=(16, 8)),
}
assert set(CONFIGS) == {name for _, name, room in pkgutil.iter_modules(model.__path__) if not room}


def batch(config: Any, size: int, seed: int = 0) -> dict[str, Any]:
    """Random pictures, grids and points, late in the training."""
    rng = np.random.default_rng(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.from_numpy(rng.random((size, *shape), np.float32))

    images = drawn(getattr(config, "views", 1), model.channels(config), *config.image_size)
    occupancy = (drawn(*3 * [config.resolution]) < 0.2).float()
    known = {"model": torch.arange(size), "origin": torch.arange(size), "progress": 0.9}
    return {"images": images, "occupancy": occupancy, "points": drawn(100, 3) - 0.5} | known


def created(name: str) -> nn.Module:
    """A new network of the system, which has seen a training split if it wants to."""
    network = model.create(name, CONFIGS[name])
    if remember := getattr(network, "remember", None):
        remember([batch(CONFIGS[name], 8)])
    return network


def quiet(put: Callable[[Any, str, Any], None]) -> None:
    """Makes the networks' draws the same for every sample, whatever the batch; `put` is setattr or monkeypatch's."""

    def ramp(*shape: Any, **options: Any) -> Tensor:
        size = shape[0] if isinstance(shape[0], tuple) else shape
        return torch.linspace(0, 1, size[-1], **options).expand(size)

    def first(weights: Tensor, count: int, replacement: bool) -> Tensor:
        return (torch.arange(count) % weights.shape[1]).expand(len(weights), count)

    put(torch, "rand", ramp)
    put(torch, "randn_like", torch.zeros_like)
    put(torch, "randint", lambda low, high, size: torch.full(size, high - 1))
    put(torch, "randperm", torch.arange)
    put(torch, "multinomial", first)


def without_batch_norm(network: nn.Module) -> nn.Module:
    """The same network without what looks at a batch as a whole."""
    for name, layer in network.named_children():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d):
            setattr(network, name, nn.Identity())
        without_batch_norm(layer)
    return network
