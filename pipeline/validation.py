"""How well a network in training does on a split: mean IoU, mean cross-entropy, and whether it has collapsed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from torch import Tensor, nn

from model.distances import iou

COLLAPSED = 0.1  # predictions that differ less than this share of how much the shapes differ


@torch.no_grad()
def validate(
    fabric: Fabric, network: nn.Module, batches: Iterable[dict[str, Any]], threshold: float, resolution: int
) -> dict[str, float]:
    """Scores over the batches of all processes together.

    Args:
        fabric: launched.
        network: a system, not wrapped; it is put into eval mode.
        batches: this process's share, on its device, with `images` and `occupancy`.
        threshold: probability above which a cell counts as full.
        resolution: R of the grids.

    Returns:
        `val_iou` and `val_bce` (mean over cells), means over samples; `variety`: how much the predictions differ among
        themselves, as a share of how much the shapes do.
    """
    network.eval()
    for buffer in network.buffers():  # running means: each process has seen its own share
        if buffer.is_floating_point():
            buffer.copy_(_reduced(fabric, buffer, "mean"))
    sums = torch.zeros(3, device=fabric.device)
    full, true = torch.zeros(2, *[resolution] * 3, device=fabric.device)
    for batch in batches:
        truth = batch["occupancy"]
        with fabric.autocast():
            images = fabric.strategy.precision.convert_input(batch["images"])
            logits = network.predict(images).float()  # type: ignore[operator]
        predicted = logits.sigmoid() > threshold
        bce = F.binary_cross_entropy_with_logits(logits, truth) * len(truth)
        sums += torch.stack([iou(predicted, truth.bool()).sum(), bce, bce.new_tensor(len(truth))])
        full, true = full + predicted.sum(0), true + truth.sum(0)
    total_iou, total_bce, count = _reduced(fabric, sums, "sum").tolist()
    differ, shapes_differ = (_spread(_reduced(fabric, grid, "sum") / count) for grid in (full, true))
    variety = differ / shapes_differ if shapes_differ else 1.0
    return {"val_iou": total_iou / count, "val_bce": total_bce / count, "variety": variety}


def _reduced(fabric: Fabric, values: Tensor, how: str) -> Tensor:
    return cast(Tensor, fabric.all_reduce(values, reduce_op=how))


def _spread(share: Tensor) -> float:
    """How much two grids drawn at random differ, 1 - E|A and B| / E|A or B|.

    Args:
        share: (R, R, R) share of the grids that fill each cell.
    """
    both, either = share.square().sum(), (2 * share - share.square()).sum()
    return 1 - (both / either).item() if either else 0.0
