"""Points on the outer surface of a shape, which Chamfer distances are measured to."""

from __future__ import annotations

import numpy as np

from pipeline.geometry import meshes
from pipeline.geometry.meshes import Mesh

OVERSAMPLING = 4  # points drawn for each that is kept, as inner walls are left out


def outer_points(mesh: Mesh, grid: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Points (count, 3) on the part of the surface that is seen from outside, uniform by area.

    A CAD model's inner walls (seats in a car, a part's end inside another) are no part of its shape: a point counts
    where its cell or one of the six around it is free in the solid `grid` (R, R, R).
    """
    resolution = grid.shape[0]
    free = np.pad(~grid, 1, constant_values=True)
    near = free.copy()
    for axis in range(3):
        near |= np.roll(free, 1, axis) | np.roll(free, -1, axis)
    candidates = meshes.sample_surface(mesh.vertices, mesh.faces, count * OVERSAMPLING, rng)
    cells = np.clip(((candidates + 0.5) * resolution).astype(int), 0, resolution - 1) + 1
    outer = candidates[near[tuple(cells.T)]]
    if not len(outer):  # a body wholly inside thick surface cells, at a very low resolution
        outer = candidates
    return outer[rng.choice(len(outer), count, replace=len(outer) < count)]
