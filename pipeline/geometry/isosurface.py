"""Marching cubes in NumPy, for machines that have no mesh library.

Lorensen and Cline, "Marching Cubes", SIGGRAPH 1987. Their table leaves holes between some neighbouring cubes;
here the 256 cases follow from the topology of the cube, so that every surface is closed:

       2-------6      Corner 4x + 2y + z. On each of the six faces a line of surface cuts off every run of
      /|      /|      inside corners, so inside corners that are only diagonal neighbours stay apart. That
     3-------7 |  y   depends on the four corners of the face alone: the cubes on either side of it draw the
     | 0-----|-4  |   same lines. In a cube the lines join into loops, and the loops are filled with triangles
     |/      |/   +-x none of whose inner edges lies in a face.
     1-------5   z
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

# Vertices keep this share of an edge from its ends, so that those of different edges never coincide.
CLEARANCE = 1e-3


def marching_cubes(field: np.ndarray, level: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """The closed surface where a field over the cells of the unit cube crosses a level.

    Args:
        field: (R, R, R) real, values at the cell centres ((i, j, k) + 0.5) / R - 0.5; probabilities, or bool.
        level: what is above it is inside.

    Returns:
        vertices: (N, 3) float32 in the frame of the unit cube, linearly interpolated between two centres;
            where the object touches the border, up to half a cell outside of the cube.
        faces: (M, 3) int64, counter-clockwise seen from outside; every edge belongs to two of them. Nothing
            above the level gives no vertices and no faces.

    Raises:
        ValueError: the field is no cube or not finite, or the level is not above 0, the value around the grid.
    """
    if field.ndim != 3 or len(set(field.shape)) != 1:
        raise ValueError(f"marching_cubes: expected a field of shape (R, R, R), got {field.shape}")
    if not level > 0:
        raise ValueError(f"marching_cubes: expected a level above 0, the value around the grid, got {level}")
    values = np.pad(np.asarray(field, np.float32), 1, constant_values=0)
    if not np.isfinite(values).all():
        raise ValueError("marching_cubes: expected finite values, got NaN or infinity")
    edges = _surface_edges(values > np.float32(level))
    crossed = np.zeros(3 * values.size, np.int64)
    crossed[edges] = 1
    used = np.flatnonzero(crossed)
    crossed[used] = np.arange(len(used))
    return _vertices(values, used, level), crossed[edges]


def _surface_edges(inside: np.ndarray) -> np.ndarray:
    """(M, 3) corners of the triangles as edges of the grid, 3 * index of the lower cell + axis."""
    side = inside.shape[0]
    cases: np.ndarray = inside.astype(np.uint8)
    cases = cases[:, :, :-1] | cases[:, :, 1:] << 1
    cases = cases[:, :-1] | cases[:, 1:] << 2
    cases = cases[:-1] | cases[1:] << 4
    x, y, z = np.nonzero((cases != 0) & (cases != 255))
    table, counts = case_table()
    case = cases[x, y, z]
    triangles = table[case][np.arange(table.shape[1]) < counts[case, None]]
    corner, axis = np.divmod(np.arange(24), 3)
    offset = 3 * ((corner >> 2) * side * side + (corner >> 1 & 1) * side + (corner & 1)) + axis
    return np.repeat(3 * ((x * side + y) * side + z), counts[case])[:, None] + offset[triangles]


def _vertices(values: np.ndarray, edges: np.ndarray, level: float) -> np.ndarray:
    """(N, 3) where the padded field crosses the level on edges of the grid, in the frame of the unit cube."""
    side = values.shape[0]
    lower, axis = np.divmod(edges, 3)
    below = values.ravel()[lower]
    above = values.ravel()[lower + np.array([side * side, side, 1])[axis]]
    share = np.clip((np.float32(level) - below) / (above - below), CLEARANCE, 1 - CLEARANCE)
    position = np.stack(np.unravel_index(lower, values.shape), axis=1).astype(np.float64)
    position[np.arange(len(edges)), axis] += share
    return ((position - 0.5) / (side - 2) - 0.5).astype(np.float32)


@lru_cache(maxsize=1)
def case_table() -> tuple[np.ndarray, np.ndarray]:
    """Triangles of the 256 cases: case = sum of 2^corner over the inside corners.

    Returns:
        triangles: (256, T, 3) int64 edges of the cube, 3 * lower corner + axis; unused rows are 0.
        counts: (256,) int64 rows in use.
    """
    cases = [[t for loop in _loops(case) for t in _fill(loop)[1]] for case in range(256)]
    counts = np.array([len(case) for case in cases])
    triangles = np.zeros((256, counts.max(), 3), np.int64)
    for case, found in enumerate(cases):
        triangles[case, : len(found)] = np.reshape(found, (-1, 3))
    return triangles, counts


def _loops(case: int) -> list[list[int]]:
    """The closed lines of surface on the cube's faces, as the edges that they cross, in outward winding."""
    following: dict[int, int] = {}
    for cycle in _faces():
        crossings = [
            (i, 3 * (a & b) + {4: 0, 2: 1, 1: 2}[a ^ b])
            for i, (a, b) in enumerate(zip(cycle, cycle[1:] + cycle[:1], strict=True))
            if (case >> a ^ case >> b) & 1
        ]
        for n, (i, edge) in enumerate(crossings):
            if not case >> cycle[i] & 1:  # the walk comes in here and leaves at its next crossing
                following[edge] = crossings[(n + 1) % len(crossings)][1]
    loops = []
    while following:
        loop = [min(following)]
        while (edge := following.pop(loop[-1])) != loop[0]:
            loop.append(edge)
        loops.append(loop)
    return loops


def _faces() -> list[list[int]]:
    """The corners of the six faces, counter-clockwise seen from outside."""
    faces = []
    for axis in range(3):
        a, u, v = (4 >> (axis + k) % 3 for k in range(3))
        faces += [[0, v, u + v, u], [a, a + u, a + u + v, a + v]]
    return faces


def _fill(loop: list[int]) -> tuple[int, list[tuple[int, int, int]]]:
    """The triangles that fill a loop with the fewest inner edges on faces of the cube, and that number."""
    if len(loop) < 3:
        return 0, []
    choices = []
    for k in range(1, len(loop) - 1):
        first, second = _fill(loop[: k + 1]), _fill(loop[k:])
        cost = first[0] + second[0]
        cost += k > 1 and _share_face(loop[0], loop[k])
        cost += k < len(loop) - 2 and _share_face(loop[k], loop[-1])
        choices.append((cost, [*first[1], (loop[0], loop[k], loop[-1]), *second[1]]))
    return min(choices, key=lambda choice: choice[0])


def _share_face(a: int, b: int) -> bool:
    (corner_a, axis_a), (corner_b, axis_b) = divmod(a, 3), divmod(b, 3)
    return any(k not in (axis_a, axis_b) and not (corner_a ^ corner_b) & 4 >> k for k in range(3))
