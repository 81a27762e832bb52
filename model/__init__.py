"""Systems: single-image 3D reconstruction networks, one file each, behind one contract.

A system is a module `model/<name>.py` with two classes:

`Config`
    Frozen dataclass; an entry of `systems:` in params.yaml fills it. It has `image_size: tuple[int, int]` (H, W) and
    `resolution: int` (R), the sizes of what the network takes and gives. Optional are `views: int` (V), the most views
    of a shape that it is trained on at a time, `color: bool`, whether it takes the views in colour, and `depth: bool`,
    whether it takes their depth maps as well.

`Model(config)`
    A torch module with

    `targets: tuple[str, ...]`
        What the losses compare with: `occupancy`, `points` or both; only these are read from the shards.
    `output: str`
        What `predict` gives: `occupancy`, `points` or `mesh`.
    `parts() -> dict[str, dict]`
        Name of a part -> AdamW parameter group: `params`, and whatever overrides the trainer's own `lr` or `betas`.
        Each part has an optimizer of its own; in every step the loop updates them in this order. Where the gradient of
        a part is zero throughout, it rests: weights and optimizer stay as they are.
    `losses(batch, part) -> dict[str, Tensor]`
        Weighted scalar losses of one part; their sum is minimised over that part's parameters. `batch` has `images`
        (B, V, C, H, W) float32 in [0, 1], C = 1, or 3 in colour, and one more with depth, last; of the targets
        `occupancy` (B, R, R, R) float32 in {0, 1} and `points` (B, P, 3) float32 in the unit cube; `model` (B,) int64,
        which of the split's models a sample shows; `origin` (B,) int64, the one of which that is a variant, itself
        where it is none; and `progress`, the share of the training done, in [0, 1]. It is one dict for all parts of a
        step: what a part leaves in it, later ones find. `train.precision` may have the images, and with them what
        layers give, in half or double precision; the targets are then in float32 or better, and so should losses be
        (`full` in `layers/blocks.py`).
    `accuracy: Tensor`, optional
        A buffer, () of a discriminator on the last batch. The trainer warns where it stays at 1.
    `phases: tuple[float, ...]`, optional
        Values of `progress` from which on the losses are other ones. A system that has it promises that nothing else
        of `losses` depends on `progress`, on draws of the CPU or on values that Python looks at, and a GPU then repeats
        the step without Python.
    `slow_in_bfloat16: bool`, optional
        Whether a GPU is slower in bfloat16 with it, so that `train.precision: auto` stays at float32 there.
    `predict(images)`
        For `images` as above, V from 1 up; deterministic. Occupancy logits (B, R, R, R); or points (B, P, 3); or
        closed meshes, a list of B pairs of vertices (N, 3) and faces (M, 3); all in the unit cube.
    `features(images) -> Tensor`
        (B, D) float32, the image encoder's view of the shape: what is alike in it is looked up as a baseline.

    and, if it answers with what it has seen, not with its weights alone,

    `remember(batches)`
        Takes in the training split, in batches as above of all its items in their order, with `images`, the targets,
        `model` and `origin`. The loop calls it before the first step and before every validation. What is kept lies in
        buffers, so that it travels with the weights.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what asks a system for its name or its maps alone need not wait for torch
    from torch import nn


def system(name: str) -> ModuleType:
    """The module of a system; ValueError where there is none of that name."""
    try:
        module = importlib.import_module(f"model.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"model.{name}":
            raise
        raise ValueError(f"systems: expected the name of a file in model/, got '{name}'") from error
    return module


def maps(config: Any) -> tuple[str, ...]:
    """What a network takes besides the grayscale views, or in their place, by its name in the shards."""
    return tuple(name for name in ("color", "depth") if getattr(config, name, False))


def channels(config: Any) -> int:
    """C of the images that a network takes."""
    return (3 if getattr(config, "color", False) else 1) + getattr(config, "depth", False)


def unseen(config: Any) -> tuple[str, ...]:
    """What of `maps` no photo shows."""
    return tuple(name for name in maps(config) if name != "color")


def create(name: str, config: Any) -> nn.Module:
    """A new network of the system `name`, its weights drawn from torch's generator."""
    return system(name).Model(config)
