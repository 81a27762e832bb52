"""How well a network in training does on a split, by what it predicts, and whether it has collapsed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from pipeline.scoring.clouds import BOUNDS
from pipeline.scoring.distances import chamfer_unsquared, iou
from pipeline.scoring.predictions import Prediction, predict
from pipeline.training.together import added

COLLAPSED = 0.1  # predictions that differ less than this share of how much the shapes differ
POINTS = 2500  # true ones, and on a predicted mesh, for a quick distance
COARSE = 16  # side of the grid in which clouds are compared for their variety
SCORES = {"occupancy": ("val_iou", "val_bce"), "points": ("val_chamfer",), "mesh": ("val_chamfer", "val_iou")}


def better(output: str, scores: dict[str, float], than: dict[str, Any]) -> bool:
    """Whether weights with these scores are preferred: by the IoU of occupancy, by the Chamfer distance of the rest."""
    name = SCORES[output][0]
    return scores[name] > than[name] if name == "val_iou" else scores[name] < than[name]


@torch.no_grad()
def validate(
    fabric: Fabric, network: nn.Module, batches: Iterable[dict[str, Any]], threshold: float, resolution: int
) -> dict[str, float]:
    """Scores over the batches of all processes together.

    Args:
        fabric: launched.
        network: a system, not wrapped; it is put into eval mode.
        batches: this process's share, on its device, with `images`, `occupancy` (B, R, R, R), and unless it is
            occupancy that the network gives, `points`.
        threshold: probability above which a cell counts as full.
        resolution: R.

    Returns:
        Means over samples. Of occupancy `val_iou` and `val_bce` (mean over cells); of points `val_chamfer`, unsquared,
        against every n-th true point, at most POINTS; of meshes the same, of POINTS on them, and `val_iou` of what they
        enclose. And `variety`: how much the predictions differ among themselves, as a share of how much the shapes do.
    """
    network.eval()
    output: Any = network.output
    names, side = SCORES[output], resolution if output == "occupancy" else COARSE
    sums = torch.zeros(len(names) + 1, device=fabric.device)  # and how many samples
    full, true = torch.zeros(2, *[side] * 3, device=fabric.device)
    for batch in batches:
        images = fabric.strategy.precision.convert_input(batch["images"])
        score = _of_grids if output == "occupancy" else _of_clouds
        scores, predicted, shapes = score(fabric, network, images, batch, threshold)
        sums += torch.tensor([*(scores[name] for name in names), len(images)], device=fabric.device)
        full, true = full + predicted, true + shapes
    *totals, count = added(sums).tolist()
    differ, shapes_differ = (_spread(added(grid) / count) for grid in (full, true))
    variety = differ / shapes_differ if shapes_differ else 1.0
    return {name: total / count for name, total in zip(names, totals, strict=True)} | {"variety": variety}


def _of_grids(
    fabric: Fabric, network: Any, images: Tensor, batch: dict[str, Any], threshold: float
) -> tuple[dict[str, float], Tensor, Tensor]:
    """Sums of the scores over a batch, and of the predicted and the true grids (R, R, R)."""
    with fabric.autocast():
        logits = network.predict(images)
    logits, truth = logits.float(), batch["occupancy"]
    predicted = logits.sigmoid() > threshold
    bce = F.binary_cross_entropy_with_logits(logits, truth) * len(truth)
    return {"val_iou": iou(predicted, truth.bool()).sum().item(), "val_bce": bce.item()}, predicted.sum(0), truth.sum(0)


def _of_clouds(
    fabric: Fabric, network: Any, images: Tensor, batch: dict[str, Any], threshold: float
) -> tuple[dict[str, float], Tensor, Tensor]:
    """The same of points or meshes; the grids are of the cells of a coarse one that have points in them."""
    device = batch["points"].device
    scores, grids = {"val_chamfer": 0.0, "val_iou": 0.0}, torch.zeros(2, *[COARSE] * 3, device=device)
    with fabric.autocast():
        found = predict(network, images)
    for prediction, truth, grid in zip(found, batch["points"], batch["occupancy"], strict=True):
        points, _ = prediction.cloud(POINTS, threshold, np.random.default_rng(0), device)
        some = truth[:: -(-len(truth) // POINTS)]
        worst = BOUNDS["chamfer_unsquared"][1]
        scores["val_chamfer"] += chamfer_unsquared(points, some).item() if len(points) else worst
        scores["val_iou"] += _overlap(prediction, grid)
        grids += torch.stack([_cells(points), _cells(some)])
    return scores, grids[0], grids[1]


def _overlap(prediction: Prediction, truth: Tensor) -> float:
    solid = prediction.occupancy(len(truth))
    return 0.0 if solid is None else iou(torch.from_numpy(solid > 0)[None], truth.bool().cpu()[None]).item()


def _cells(points: Tensor) -> Tensor:
    """(N, 3) points of the unit cube -> (COARSE, COARSE, COARSE) float32, 1 in the cells that have one."""
    grid = torch.zeros(COARSE**3, device=points.device)
    x, y, z = ((points + 0.5) * COARSE).long().clamp(0, COARSE - 1).unbind(1)
    grid[(x * COARSE + y) * COARSE + z] = 1
    return grid.view(*[COARSE] * 3)


def _spread(share: Tensor) -> float:
    """How much two grids drawn at random differ, 1 - E|A and B| / E|A or B|.

    Args:
        share: (R, R, R) share of the grids that fill each cell.
    """
    both, either = share.square().sum(), (2 * share - share.square()).sum()
    return 1 - (both / either).item() if either else 0.0
