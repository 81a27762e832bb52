"""Training samples made different every time they are seen, on the device where they are.

All is drawn from the seed and the step alone, so that a resumed training sees what an undisturbed one would. A change
of strength 0 is off. None touches the shape but `mirror`: a view mirrored left to right is a view of the shape mirrored
in x, from the other side (azimuth -a instead of a) and in light that comes over the other shoulder.

Erased patches: Zhong, Zheng, Kang, Li, Yang, "Random Erasing Data Augmentation", AAAI 2020, arXiv:1708.04896, here of
the background's value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.training.backgrounds import before


@dataclass(frozen=True)
class Augment:
    """Section `train.augment`: how strongly.

    Attributes:
        mirror: share of the samples whose views and shape are mirrored.
        scale: the object becomes up to so much larger or smaller, as 0.1 for factors from 0.9 to 1.1.
        shift: it moves by up to this share of the picture, along each axis.
        brightness: gray values, and those of colours alike, are multiplied by a factor, up to so much from 1.
        contrast: and raised to a power of exp(u), u up to so far from 0.
        noise: largest standard deviation of Gaussian noise on the object.
        background: share of the samples whose objects stand before something, see `backgrounds.py`.
        erase: share of the pictures in which a patch, of 2 to 20 % of the picture, is painted black.
    """

    mirror: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0
    background: float = 0.0
    erase: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 1 or (name in ("scale", "brightness") and value == 1):
                raise ValueError(f"{name}: expected a share from 0 to 1, got {value}")


def augmented(batch: dict[str, Any], how: Augment, *seed: int) -> dict[str, Any]:
    """A batch as the contract in `model/__init__.py` has it, changed.

    Args:
        batch: `images` (B, V, C, H, W), first the picture, gray or red, green and blue, 0 its background; and any of
            `occupancy` (B, R, R, R) and `points` (B, P, 3). For backgrounds also `cover` (B, V, 1, H, W), the share of
            each pixel that the object covers, which is taken out.
        seed: of what is drawn, as the training's and the step's.
    """
    if how == Augment():
        return batch
    rng, images, given = np.random.default_rng(seed), batch["images"], dict(batch)
    picture = 3 if images.shape[2] >= 3 else 1
    if how.background:  # the last channel, to be mirrored and moved alike
        given["images"] = torch.cat([images, given.pop("cover")], dim=2)
    flipped = torch.from_numpy(rng.random(len(images)) < how.mirror).to(images.device)
    changed = mirrored(given, flipped) if how.mirror else given
    views = _moved(changed["images"].flatten(0, 1), how, rng)
    shown = _shaded(views[:, :picture], how, rng)
    if how.background:
        which = torch.from_numpy(rng.random(len(images)) < how.background).to(images.device)
        shown = before(shown, views[:, -1:], which.repeat_interleave(images.shape[1]), rng)
    views = torch.cat([shown, views[:, picture : images.shape[2]]], dim=1)
    return changed | {"images": _erased(views, how, rng).unflatten(0, images.shape[:2])}


def mirrored(batch: dict[str, Any], which: Tensor) -> dict[str, Any]:
    """The batch, its samples `which` (B,) bool mirrored: their pictures left to right, their shapes in x."""
    found = dict(batch)
    for name, axis in (("images", -1), ("occupancy", 1)):
        if name in batch:
            values = batch[name]
            found[name] = torch.where(which.view(-1, *[1] * (values.ndim - 1)), values.flip(axis), values)
    if "points" in batch:
        sign = torch.ones(len(which), 1, 3, device=which.device)
        sign[which, :, 0] = -1
        found["points"] = batch["points"] * sign
    return found


def _moved(views: Tensor, how: Augment, rng: np.random.Generator) -> Tensor:
    """(N, C, H, W), scaled and shifted; what comes in from outside is background."""
    if not how.scale and not how.shift:
        return views
    turn = np.zeros((len(views), 2, 3), np.float32)
    turn[:, 0, 0] = turn[:, 1, 1] = 1 / rng.uniform(1 - how.scale, 1 + how.scale, len(views))
    turn[:, :, 2] = 2 * rng.uniform(-how.shift, how.shift, (len(views), 2))
    grid = F.affine_grid(torch.from_numpy(turn).to(views.device), list(views.shape), align_corners=False)
    return F.grid_sample(views, grid, mode="bilinear", align_corners=False)


def _shaded(picture: Tensor, how: Augment, rng: np.random.Generator) -> Tensor:
    """(N, 1 or 3, H, W), brighter or darker, and with noise; the background stays 0."""
    least, most = (1 - how.brightness, -how.contrast, 0), (1 + how.brightness, how.contrast, how.noise)
    drawn = torch.from_numpy(rng.uniform(least, most, (len(picture), 3))).to(picture.device, picture.dtype)
    factor, power, deviation = drawn.T[..., None, None, None]
    seed = int(rng.integers(2**31))
    shaded = factor * picture ** power.exp()
    if how.noise:
        generator = torch.Generator(picture.device).manual_seed(seed)
        shown = (picture > 0).any(dim=1, keepdim=True)
        shaded = shaded + deviation * shown * torch.randn(picture.shape, generator=generator, device=picture.device)
    return shaded.clamp(0, 1)


def _erased(views: Tensor, how: Augment, rng: np.random.Generator) -> Tensor:
    """(N, C, H, W), some with a black patch, in all channels."""
    if not how.erase:
        return views
    count, (height, width) = len(views), views.shape[-2:]
    area, ratio = rng.uniform(0.02, 0.2, count), np.exp(rng.uniform(-1.2, 1.2, count))  # from 0.3 to 3.3
    half = np.stack([np.sqrt(area * ratio), np.sqrt(area / ratio)]) / 2 * (rng.random(count) < how.erase)
    centre = rng.random((2, count))
    inside = []
    for size, middle, extent in zip((height, width), centre, half, strict=True):
        places = (np.arange(size) + 0.5) / size
        inside.append(torch.from_numpy(np.abs(places - middle[:, None]) < extent[:, None]).to(views.device))
    return views * ~(inside[0][:, None, :, None] & inside[1][:, None, None, :])
