"""What a triangle mesh is scored by: points on its surface, and the cells inside of it."""

from __future__ import annotations

import numpy as np

CHUNK_PAIRS = 2**21  # of triangles and grid lines that may meet, in memory at a time


def normals(corners: np.ndarray) -> np.ndarray:
    """Of triangles (M, 3, 3): (M, 3), twice their area long, outwards where they are wound counter-clockwise."""
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def points_in(corners: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(M, 3) float32: a random point in each of the triangles (M, 3, 3), uniform by area."""
    sides = corners[:, 1:] - corners[:, :1]
    a, b = rng.random((2, len(corners), 1))
    a, b = np.where(a + b > 1, 1 - a, a), np.where(a + b > 1, 1 - b, b)
    return (corners[:, 0] + a * sides[:, 0] + b * sides[:, 1]).astype(np.float32)


def mesh_occupancy(vertices: np.ndarray, faces: np.ndarray, resolution: int) -> np.ndarray:
    """The cells whose centres are inside a closed mesh: an odd number of triangles lies below them along x.

    Every line of centres meets a triangle or misses it by the same rounding as its neighbours, so no line slips through
    an edge. A centre on the surface belongs to one of its two sides. What a mesh encloses twice is outside.

    Args:
        vertices: (N, 3) float, in the frame of the unit cube; they may lie outside of it, the grid ends at its faces.
        faces: (M, 3) int, in any winding; every edge belongs to an even number of them. M = 0 encloses nothing.
        resolution: R.

    Returns:
        (R, R, R) bool; cell (i, j, k) is centred at ((i, j, k) + 0.5) / R - 0.5.

    Raises:
        ValueError: the mesh is not finite, or a line goes into it and not out.
    """
    corners = (np.asarray(vertices, np.float64)[faces] + 0.5) * resolution - 0.5  # centres have whole numbers now
    if not np.isfinite(corners).all():
        raise ValueError("mesh_occupancy: expected finite vertices, got NaN or infinity")
    low = np.ceil(corners.min(1)[:, 1:]).clip(0, resolution).astype(np.int64)
    high = np.floor(corners.max(1)[:, 1:]).clip(-1, resolution - 1).astype(np.int64)
    size = (high - low + 1).clip(0)
    pairs = size.prod(1)
    changes = np.zeros(resolution**2 * (resolution + 1), np.int64)
    group = np.cumsum(pairs) // CHUNK_PAIRS
    for part in np.split(np.arange(len(faces)), np.flatnonzero(np.diff(group)) + 1):
        triangle = np.repeat(part, pairs[part])
        place = np.arange(len(triangle)) - np.repeat(np.cumsum(pairs[part]) - pairs[part], pairs[part])
        line = low[triangle] + np.stack([place // size[triangle, 1], place % size[triangle, 1]], axis=1)
        met = _meets(corners[triangle], line)
        first = _first_above(corners[triangle[met]], line[met], resolution)
        np.add.at(changes, (line[met] @ [resolution, 1]) * (resolution + 1) + first, 1)
    below = changes.reshape(resolution, resolution, resolution + 1).cumsum(2) % 2 > 0
    if (ends := below[..., -1].sum()) > 0:
        raise ValueError(f"mesh_occupancy: expected a closed mesh, got {ends} lines that go into it and not out")
    return np.ascontiguousarray(below[..., :-1].transpose(2, 0, 1))


def _meets(corners: np.ndarray, line: np.ndarray) -> np.ndarray:
    """(L,) bool: whether lines along x at whole (y, z) (L, 2) go through triangles (L, 3, 3)."""
    y, z = line.T
    odd = np.zeros(len(line), bool)
    for k in range(3):
        p, q = corners[:, k, 1:], corners[:, (k + 1) % 3, 1:]
        swap = (p[:, 0] > q[:, 0])[:, None]  # an edge looks the same from both of its triangles
        p, q = np.where(swap, q, p), np.where(swap, p, q)
        crosses = (p[:, 0] <= y) & (y < q[:, 0])
        rise = np.where(crosses, q[:, 0] - p[:, 0], 1.0)
        at = p[:, 1] + (y - p[:, 0]) / rise * (q[:, 1] - p[:, 1])
        odd ^= crosses & (z < at.clip(np.minimum(p[:, 1], q[:, 1]), np.maximum(p[:, 1], q[:, 1])))
    return odd


def _first_above(corners: np.ndarray, line: np.ndarray, resolution: int) -> np.ndarray:
    """(L,) int64 in 0..R: the first whole x not below where a line meets the plane of its triangle."""
    slope = normals(corners)
    steep = np.abs(slope[:, 0]) > 0
    fall = ((line - corners[:, 0, 1:]) * slope[:, 1:]).sum(1) / np.where(steep, slope[:, 0], 1.0)
    x = (corners[:, 0, 0] - np.where(steep, fall, 0.0)).clip(corners[..., 0].min(1), corners[..., 0].max(1))
    return np.ceil(x).clip(0, resolution).astype(np.int64)
