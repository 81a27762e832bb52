"""Losses of occupancy: cross-entropy, cells near the surface weighted, and a soft Dice beside it.

Cross-entropy counts cells, and most are free: a network can leave out a chair's legs for next to nothing. Dice looks at
the shape as a whole, as IoU does, by which systems are compared: Milletari, Navab, Ahmadi, "V-Net: Fully Convolutional
Neural Networks for Volumetric Medical Image Segmentation", 2016, arXiv:1606.04797, here with plain sums instead of
squares below, and 1 added on both sides, so that two empty grids are alike.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from model.layers.blocks import full


def occupancy_losses(
    logits: Tensor, truth: Tensor, dice_weight: float = 0.0, surface_weight: float = 0.0
) -> dict[str, Tensor]:
    """What a grid of logits costs.

    Args:
        logits: (B, R, R, R).
        truth: (B, R, R, R) float in {0, 1}.
        dice_weight: of Dice, beside a cross-entropy of weight 1.
        surface_weight: what a cell at the surface weighs more in the cross-entropy than others, which weigh 1.

    Returns:
        `voxels`, the cross-entropy, a weighted mean over the cells; and where it weighs anything `dice`, weighted.
    """
    logits, weight = full(logits), 1 + surface_weight * near_surface(truth) if surface_weight else None
    voxels = F.binary_cross_entropy_with_logits(logits, truth, weight)
    if weight is not None:
        voxels = voxels / weight.mean()
    return {"voxels": voxels} | ({"dice": dice_weight * dice(logits, truth)} if dice_weight else {})


def dice(logits: Tensor, truth: Tensor) -> Tensor:
    """() mean over the samples of 1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1), p the probabilities."""
    likely, true = full(logits).sigmoid().flatten(1), truth.flatten(1)
    both, either = (likely * true).sum(1), likely.sum(1) + true.sum(1)
    return (1 - (2 * both + 1) / (either + 1)).mean()


def near_surface(truth: Tensor) -> Tensor:
    """(B, R, R, R) float, 1 in the cells that have a cell of the other kind among their 26 neighbours, otherwise 0."""
    some_full, some_free = (F.max_pool3d(grid[:, None], 3, 1, 1)[:, 0] for grid in (truth, 1 - truth))
    return some_full * some_free
