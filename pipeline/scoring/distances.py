"""How far a reconstruction is from the truth; losses and metrics share these.

Names say it in full: what papers call "Chamfer distance" differs by squares and by factors of two.
"""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

CHUNK_PAIRS = 2**25  # distances in memory at a time, 128 MiB as float32
LEAST = 1e-7  # the least probability that `log_loss` gives to what is there


def _k_d_trees() -> Any:
    """The class of k-d trees of pykdtree, exact as SciPy's in half the time, or else of that, or else None."""
    for library in ("pykdtree.kdtree", "scipy.spatial"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(library).KDTree
    return None


K_D_TREE = _k_d_trees()  # before there are forks, as the threads of what they import themselves have no limit


def iou(prediction: Tensor, truth: Tensor) -> Tensor:
    """Intersection over union of solid grids, |X and Y| / |X or Y|.

    Args:
        prediction: (B, ...) bool, of any number of axes.
        truth: (B, ...) bool, of the same shape.

    Returns:
        (B,) float32 in [0, 1]; two empty grids are the same shape, 1.

    Raises:
        ValueError: the shapes differ or the grids are not bool.
    """
    if prediction.shape != truth.shape or prediction.dtype != torch.bool or truth.dtype != torch.bool:
        raise ValueError(
            f"iou: expected two bool grids of one shape, got {prediction.dtype} {tuple(prediction.shape)} "
            f"and {truth.dtype} {tuple(truth.shape)}"
        )
    both = (prediction & truth).flatten(1).sum(1)
    either = (prediction | truth).flatten(1).sum(1)
    return torch.where(either == 0, 1.0, both / either.clamp(min=1))


def iou_curve(probabilities: Tensor, truth: Tensor, thresholds: Tensor) -> Tensor:
    """`iou(probabilities > t, truth)` for every t of `thresholds`, in one pass over the cells.

    Args:
        probabilities: (B, ...) float.
        truth: (B, ...) bool, of the same shape.
        thresholds: (T,) float, ascending.

    Returns:
        (B, T) float32.
    """
    count, steps = len(truth), len(thresholds)
    passed = torch.bucketize(probabilities.flatten(1), thresholds)  # how many thresholds a cell is above
    row = 2 * torch.arange(count, device=truth.device)[:, None] + truth.flatten(1)
    cells = torch.bincount((row * (steps + 1) + passed).flatten(), minlength=2 * count * (steps + 1))
    outer, inner = cells.view(count, 2, steps + 1).flip(-1).cumsum(-1).flip(-1).unbind(1)
    either = outer[:, 1:] + inner[:, :1]
    return torch.where(either == 0, 1.0, inner[:, 1:] / either.clamp(min=1))


def log_loss(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy of a cell, the mean over the cells, in nats: -log p of a full cell, -log(1 - p) of a free one.

    Choy et al. 2016 (arXiv:1604.00449), as their code has it; their text has the sum over the cells. A cell costs at
    most -log(LEAST) = 16.1.

    Args:
        probabilities: (B, ...) float in [0, 1].
        truth: (B, ...) bool, of the same shape.

    Returns:
        (B,) float32.

    Raises:
        ValueError: the shapes differ or the truth is not bool.
    """
    if probabilities.shape != truth.shape or truth.dtype != torch.bool:
        raise ValueError(
            f"log_loss: expected probabilities and a bool grid of one shape, got {tuple(probabilities.shape)} "
            f"and {truth.dtype} {tuple(truth.shape)}"
        )
    probabilities = probabilities.float()
    likely = torch.where(truth, probabilities, 1 - probabilities)
    return -likely.clamp(min=LEAST).log().flatten(1).mean(1)


def chamfer_unsquared(a: Tensor, b: Tensor) -> Tensor:
    """Chamfer distance between two point sets: mean_a min_b |a - b| + mean_b min_a |b - a|.

    Euclidean distances as they are, not squared; the sum of both directions, not their mean. In the unit of
    the points. Not differentiable on the CPU.

    Args:
        a: (N, 3) float points, N >= 1.
        b: (M, 3) float points, M >= 1, in the same frame and on the same device.

    Returns:
        () float32.

    Raises:
        ValueError: a set is empty or not (N, 3).
    """
    return nearest_distances(a, b).mean() + nearest_distances(b, a).mean()


def nearest_distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance of every point of `a` to the nearest point of `b`: the first half of `nearest`."""
    return nearest(a, b)[0]


def nearest(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Of every point of `a` the nearest point of `b`.

    Args:
        a: (N, 3) float points.
        b: (M, 3) float points, M >= 1.

    Returns:
        Euclidean distances (N,) float32 and indices (N,) int64 into `b`, on the device of `a`. On the CPU from a k-d
        tree where a library has one, otherwise, and on CUDA, from all pairs in chunks of bounded memory.

    Raises:
        ValueError: a set is empty or not (N, 3), or on the CPU not finite.
    """
    for name, points in (("first", a), ("second", b)):
        if points.ndim != 2 or points.shape[1] != 3 or not len(points):
            raise ValueError(f"distances: expected points of shape (N, 3), N >= 1, got {tuple(points.shape)} as {name}")
    if a.is_cuda or K_D_TREE is None:
        return all_pairs_nearest(a, b)
    if not (a.isfinite().all() and b.isfinite().all()):
        raise ValueError("distances: expected finite points, got NaN or infinity")
    distances, indices = K_D_TREE(b.detach().double().numpy()).query(a.detach().double().numpy())
    return torch.from_numpy(distances).float(), torch.from_numpy(indices.astype(np.int64))


def all_pairs_nearest(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """`nearest` by brute force, at most CHUNK_PAIRS distances at a time, on any device."""
    rows = max(1, CHUNK_PAIRS // len(b))
    parts = [_distances(part, b.float()).min(1) for part in a.float().split(rows)]
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """(N, M) Euclidean distances of (N, D) and (M, D)."""
    if a.is_cuda and a.shape[1] == 3:  # for so few columns, CUDA's cdist keeps most of its threads waiting
        return point_distances(a, b)
    # The matrix-product form of cdist loses half the digits where points nearly coincide.
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def point_distances(a: Tensor, b: Tensor) -> Tensor:
    """(N, M) Euclidean distances of points (N, 3) and (M, 3), an axis at a time."""
    squares = a.new_zeros(len(a), len(b))
    for column, other in zip(a.T, b.T, strict=True):
        apart = column[:, None] - other
        squares.addcmul_(apart, apart)
    return squares.sqrt_()
