"""Points on the surface of a shape: in which cells they lie, and those that Chamfer distances are measured to."""

from __future__ import annotations

import numpy as np

from pipeline.geometry import meshes
from pipeline.geometry.meshes import Mesh

OVERSAMPLING = 4  # points drawn for each that is kept, as inner walls are left out
# Shapes are drawn in by this: a face on a grid plane belongs to the inner cell, rounded or not.
INWARD = 1 - 1e-5
SNAP = 2.0**32  # parts of a cell that are told apart: a face that should lie on a plane through the origin does


def in_cells(points: np.ndarray, resolution: int) -> np.ndarray:
    """Points (..., 3) of the unit cube in cells, float64, 0 to below R: the whole part is the index of their cell.

    All that says which cell a part of a surface lies in asks here, so that grids, points and notes agree. Moved and
    scaled by whole numbers of 1 / SNAP, so that what is exact stays exact.
    """
    places = np.round((np.asarray(points, np.float64) * INWARD + 0.5) * (resolution * SNAP)) / SNAP
    return places.clip(0, resolution - 1 / SNAP)


def outer_points(mesh: Mesh, grid: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Points (count, 3) on the part of the surface that is seen from outside, uniform by area, and what has no cell.

    A CAD model's inner walls (seats in a car, a part's end inside another) are no part of its shape: a point counts
    where its cell or one of the six around it is free in the solid `grid` (R, R, R). What has no cell is the share of
    all surface, inner walls included, with no full cell in it or beside it, by faces, edges or corners.
    """
    candidates = meshes.sample_surface(mesh.vertices, mesh.faces, count * OVERSAMPLING, rng)
    cells = tuple(in_cells(candidates, len(grid)).astype(np.int64).T + 1)
    free, full = np.pad(~grid, 1, constant_values=True), np.pad(grid, 1)
    near = free.copy()
    for axis in range(3):
        near |= np.roll(free, 1, axis) | np.roll(free, -1, axis)
        full = full | np.roll(full, 1, axis) | np.roll(full, -1, axis)
    outer = candidates[near[cells]]
    if not len(outer):  # a body wholly inside thick surface cells, at a very low resolution
        outer = candidates
    return outer[rng.choice(len(outer), count, replace=len(outer) < count)], float(1 - full[cells].mean())
