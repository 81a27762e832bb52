"""Three evaluation protocols of the field, exactly, so that a figure can be put beside a published one.

Each takes a prediction and the truth as grids of one frame, and gives its scores by name. Points, where they are
needed, come from the grids. A prediction with a value that is not finite counts as a grid of zeros.

`pix3d`  Sun et al. 2018 (arXiv:1804.04610), by the script they evaluate with (xingyuansun/pix3d, `eval/eval.py`).
    IoU      Of both grids: where the side is over 100, the maximum of every 4^3 cells; cropped to the bounding box of
             the cells >= 0.1; the cube over the longest extent of the box, from outermost centre to outermost centre,
             sampled trilinearly at 32^3 evenly spaced points, 0 outside of the box. Then |P and T| / |P or T| of the
             points > t in both, for each t of 0.01, 0.02 ... 0.49; 0 where neither has any. The t with the highest
             mean over the whole set counts for all samples (`pix3d_set`).
    points   Marching cubes of either grid at 0.1, open where the object touches the border; 1024 points: as many on
             each triangle as its area times a density, rounded down, but one at least; the density (5e-7 over the
             area of a side of the grid) doubles until there are 1024, of which a random 1024 stay. Centred on their
             bounding box, its longest side scaled to 1. No surface: 1024 points at the origin.
    CD       mean_p min_t |p - t| + mean_t min_p |t - p|, not squared.
    EMD      mean |p - partner of p| under an auction's matching (`matching.py`: tolerances 1e-4, 1e-2 and 1 for
             40 bids a point each).
    Where this differs: marching cubes are `geometry/isosurface.py`, whose triangulation of ambiguous cells is not
    scikit-image's; the script's auction loses second-best prices between its threads and stops at 120 bids a point,
    matched or not; where the box is one cell thick but not one cell, nothing is left of it here, and an error is there.

`r2n2`   Choy et al. 2016 (arXiv:1604.00449), which the study of its eight configurations follows.
    Both grids at 32^3; a finer one is reduced by the maximum of its parts. IoU of the cells with a probability > 0.4,
    and the voxel-wise cross-entropy, the mean over the cells, in nats (log p at least log 1e-7).

`r3d`    "3D Shape Reconstruction from a Single Image", K. Mishra, section E: means over 30 test images.
    Equations 1 and 2 are of the same X and Y, so both are of sets of cells: X those with a probability > 0.5 on the
    system's own grid (64^3 there), Y the true ones. IoU = |X and Y| / |X or Y|; CD = mean_x min_y |x - y| + mean_y
    min_x |y - x| of the cells' centres in the unit cube, not squared. Both empty: 1 and 0; one empty: 0 and 2 sqrt(3).
    The report names neither threshold, scale nor its images; `r3d_images` takes 30 that anyone finds again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from pipeline.geometry.isosurface import CLEARANCE, marching_cubes
from pipeline.geometry.surfaces import normals, points_in
from pipeline.scoring.clouds import BOUNDS
from pipeline.scoring.distances import chamfer_unsquared, iou, log_loss
from pipeline.scoring.matching import emd_auction

PIX3D_LEVEL, PIX3D_SIDE, PIX3D_POINTS = 0.1, 32, 1024
PIX3D_THRESHOLDS = np.arange(0.01, 0.5, 0.01)
R2N2_THRESHOLD, R2N2_SIDE = 0.4, 32
R3D_THRESHOLD, R3D_IMAGES = 0.5, 30


def pix3d(prediction: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """The scores of one sample.

    Args:
        prediction: (R, R, R) probabilities; or points (P, 3), of which a random 1024 are taken, without an IoU.
        truth: (S, S, S) bool or probabilities.
        rng: draws the points.

    Returns:
        `iou_curve`, (49,) float64 over PIX3D_THRESHOLDS; `chamfer_unsquared` and `emd`.

    Raises:
        ValueError: the prediction is neither of these, or the truth no finite grid.
    """
    scores: dict[str, Any] = {}
    true = _truth(truth)
    if prediction.ndim == 2:
        points = _taken(prediction, rng)
    else:
        predicted = _predicted(prediction)
        p, t = (pix3d_grid(field) > PIX3D_THRESHOLDS[:, None, None, None] for field in (predicted, true))
        scores["iou_curve"] = (p & t).sum((1, 2, 3)) / (p | t).sum((1, 2, 3)).clip(1)
        points = pix3d_points(predicted, rng)
    true_points = pix3d_points(true, rng)
    scores["chamfer_unsquared"] = chamfer_unsquared(torch.from_numpy(points), torch.from_numpy(true_points)).item()
    return scores | {"emd": emd_auction(points, true_points)}


def pix3d_set(samples: Sequence[dict[str, Any]]) -> dict[str, float]:
    """`iou` at the threshold that is best for the whole set, `iou_threshold`, and the means of what else there is."""
    scores = {name: float(np.mean([s[name] for s in samples])) for name in ("chamfer_unsquared", "emd")}
    if "iou_curve" not in samples[0]:
        return scores
    curve = np.mean([s["iou_curve"] for s in samples], axis=0)
    best = int(curve.argmax())
    return {"iou": float(curve[best]), "iou_threshold": round(float(PIX3D_THRESHOLDS[best]), 2)} | scores


def pix3d_grid(field: np.ndarray) -> np.ndarray:
    """(R, R, R) -> (32, 32, 32) float64, cropped and resampled as the protocol says."""
    from scipy.ndimage import map_coordinates

    if len(field) > 100:
        field = _blocks(field, 4)
    full = np.argwhere(field >= PIX3D_LEVEL)
    if not len(full):
        return np.zeros((PIX3D_SIDE,) * 3)
    low, extent = full.min(0), np.ptp(full, axis=0)
    box = field[tuple(slice(a, a + n + 1) for a, n in zip(low, extent, strict=True))]
    span = extent.max() / 2
    axes = [np.linspace(n / 2 - span, n / 2 + span, PIX3D_SIDE) for n in extent]
    return map_coordinates(box.astype(np.float64), np.meshgrid(*axes, indexing="ij"), order=1, cval=0.0)


def pix3d_points(field: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(1024, 3) float32 on the surface of a field (R, R, R), as the protocol says."""
    vertices, faces = marching_cubes(field, PIX3D_LEVEL)
    border = 0.5 - (0.5 - CLEARANCE / 2) / len(field)  # beyond the outermost centres is what closes the surface
    faces = faces[(np.abs(vertices) < border).all(1)[faces].all(1)]
    if not len(faces):
        return np.zeros((PIX3D_POINTS, 3), np.float32)
    corners = vertices.astype(np.float64)[faces]
    area = np.linalg.norm(normals(corners), axis=1) / 2
    density, counts = 5e-7, np.ones(len(faces), np.int64)
    while counts.sum() < PIX3D_POINTS:
        density *= 2
        counts = (area * density).astype(np.int64).clip(1)
    return _taken(points_in(np.repeat(corners, counts, axis=0), rng), rng)


def _taken(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random 1024 of points (P, 3), repeated where there are fewer, their box at the origin with longest side 1."""
    if points.shape[1] != 3:
        raise ValueError(f"pix3d: expected points of shape (P, 3), got {points.shape}")
    if not len(points) or not np.isfinite(points).all():
        return np.zeros((PIX3D_POINTS, 3), np.float32)
    points = points[rng.choice(len(points), PIX3D_POINTS, replace=len(points) < PIX3D_POINTS)]
    low, high = points.min(0), points.max(0)
    return ((points - (low + high) / 2) / ((high - low).max() or 1)).astype(np.float32)


def r2n2(prediction: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """`iou` and `log_loss` of one sample; both means over samples.

    Args:
        prediction: (R, R, R) probabilities, R a multiple of 32.
        truth: (S, S, S) bool, S a multiple of 32.

    Raises:
        ValueError: the grids are not of these shapes.
    """
    coarse = reduced("r2n2", R2N2_SIDE, prediction, truth)
    predicted, true = (torch.from_numpy(field)[None] for field in coarse)
    return {
        "iou": iou(predicted > R2N2_THRESHOLD, true > 0.5).item(),
        "log_loss": log_loss(predicted, true > 0.5).item(),
    }


def r3d(prediction: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """`iou` and `chamfer_unsquared_of_cells` of one sample.

    Args:
        prediction: (R, R, R) probabilities.
        truth: (R, R, R) bool.

    Raises:
        ValueError: the grids are not of one such shape.
    """
    from scipy.ndimage import distance_transform_edt

    x, y = _predicted(prediction) > R3D_THRESHOLD, _truth(truth) > 0.5
    overlap = iou(torch.from_numpy(x)[None], torch.from_numpy(y)[None]).item()
    if not x.any() or not y.any():
        best, worst = BOUNDS["chamfer_unsquared"]
        return {"iou": overlap, "chamfer_unsquared_of_cells": worst if x.any() or y.any() else best}
    both = np.argwhere(x | y)  # what is nearest lies in their common box
    box = tuple(slice(low, high + 1) for low, high in zip(both.min(0), both.max(0), strict=True))
    cells = x[box], y[box]
    ways = [distance_transform_edt(~other)[some].mean() / len(x) for some, other in (cells, cells[::-1])]
    return {"iou": overlap, "chamfer_unsquared_of_cells": float(sum(ways))}


def r3d_images(keys: Iterable[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    """30 views (synset, model id, view) of a test split, all where there are fewer.

    Those whose `synset/model_id/view` has the smallest SHA-256, in its order.
    """
    return sorted(keys, key=lambda key: hashlib.sha256("/".join(map(str, key)).encode()).digest())[:R3D_IMAGES]


def _predicted(field: np.ndarray) -> np.ndarray:
    """A grid as float32, all zeros where a value is not finite."""
    if field.ndim != 3 or len(set(field.shape)) != 1 or not field.size:
        raise ValueError(f"protocols: expected a grid of shape (R, R, R), got {field.shape}")
    values = field.astype(np.float32)
    return values if np.isfinite(values).all() else np.zeros_like(values)


def _truth(field: np.ndarray) -> np.ndarray:
    if not np.isfinite(field).all():
        raise ValueError("protocols: expected a finite truth, got NaN or infinity")
    return _predicted(field)


def reduced(name: str, side: int, prediction: np.ndarray, truth: np.ndarray) -> list[np.ndarray]:
    """A prediction and a truth as grids (side, side, side) float32, by the maximum of what falls into a cell.

    Raises:
        ValueError: a grid is no cube, or its side no multiple; `name` is the protocol that asks.
    """
    found = []
    for field in (_predicted(prediction), _truth(truth)):
        if len(field) % side:
            raise ValueError(f"{name}: expected a grid whose side is a multiple of {side}, got {len(field)}")
        found.append(_blocks(field, len(field) // side))
    return found


def _blocks(field: np.ndarray, factor: int) -> np.ndarray:
    """Maxima of factor^3 cells; what is left over at the upper ends is left out."""
    side = len(field) // factor
    for axis in range(3):  # a pass each: together they would read the cells in short runs
        parts = [field.take(range(part, side * factor, factor), axis) for part in range(factor)]
        field = np.maximum.reduce(parts)
    return field
