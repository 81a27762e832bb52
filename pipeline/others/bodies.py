"""What a mesh of others fills: where it is closed the cells whose centres it encloses, as of a system's own mesh.

A mesh that is not closed encloses nothing that is certain: its cells are found as those of the data set's own meshes,
those that a triangle touches and all that they enclose by a vote of nine directions (`geometry/solid.py`). That can be
asked for of closed ones as well.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.scoring.predictions import Prediction

WIDEST = 5  # unit cubes, side by side, that a mesh may reach into where its cells are voted on


def filled(prediction: Prediction, resolution: int, solid: bool = False) -> Prediction:
    """A prediction with cells (R, R, R) where it is a mesh that is not closed, or any and `solid` is asked for.

    Raises:
        ValueError: such a mesh reaches out of WIDEST unit cubes.
    """
    if prediction.mesh is None or not len(prediction.mesh[1]) or not (solid or not closed(*prediction.mesh)):
        return prediction
    return replace(prediction, cells=solid_cells(*prediction.mesh, resolution))


def closed(vertices: np.ndarray, faces: np.ndarray) -> bool:
    """Whether every edge belongs to an even number of faces; vertices in one place are one."""
    _, same = np.unique(vertices, axis=0, return_inverse=True)
    corners = same.reshape(-1)[faces]
    corners = corners[(corners != np.roll(corners, 1, axis=1)).all(axis=1)]  # what has collapsed has no edges
    edges = np.sort(np.stack([corners, np.roll(corners, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1)
    return bool((np.unique(edges, axis=0, return_counts=True)[1] % 2 == 0).all())


def solid_cells(vertices: np.ndarray, faces: np.ndarray, resolution: int) -> np.ndarray:
    """The solid grid (R, R, R) bool of the unit cube, of a mesh that may reach out of it."""
    from pipeline.geometry.solid import solid

    reach = 2 * np.abs(vertices[faces]).max()
    cubes = 1 if reach <= 1 else int(2 * np.ceil((reach - 1) / 2) + 1)  # odd, so that cells stay in place
    if cubes > WIDEST:
        raise ValueError(f"expected a shape in the unit cube, got one {reach:.3g} wide; --align longest_side, say")
    grid, _ = solid(vertices / cubes, faces, cubes * resolution)
    inner = slice((cubes - 1) // 2 * resolution, (cubes + 1) // 2 * resolution)
    return grid[inner, inner, inner]
