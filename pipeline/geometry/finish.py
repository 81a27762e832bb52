"""From a surface as marching cubes leave it to one that people keep: in one piece, smooth, of the size asked for."""

from __future__ import annotations

import numpy as np

ROUNDS = 20  # of smoothing: on a sphere of 64^3 cells, terraces of 45 degrees become bends of 6
SHRINK, SWELL = 0.5, -0.53  # Taubin's lambda and mu
Surface = tuple[np.ndarray, np.ndarray]  # vertices (N, 3) and faces (M, 3)


def largest_piece(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Of a closed surface the connected piece that encloses most, its faces turned outwards.

    Hollows inside of it are pieces too, which nobody sees, and are left out.

    Returns:
        Its vertices (N, 3) and faces (M, 3), and its share of what all pieces enclose, hollows not counted.
    """
    piece = pieces(len(vertices), faces)
    volumes = np.bincount(piece[faces[:, 0]], volume_shares(vertices, faces), len(vertices))
    largest = np.abs(volumes).argmax()
    faces = faces[piece[faces[:, 0]] == largest]
    used, faces = np.unique(faces, return_inverse=True)
    faces = faces.reshape(-1, 3)
    outer = np.abs(volumes[volumes * volumes[largest] > 0]).sum()
    share = float(abs(volumes[largest]) / outer) if outer else 1.0
    return vertices[used], faces if volumes[largest] >= 0 else faces[:, ::-1], share


def pieces(count: int, faces: np.ndarray) -> np.ndarray:
    """(count,) int64: of every vertex the first one that it is connected with."""
    first = np.arange(count)
    while len(faces):
        lowest = first[faces].min(axis=1, keepdims=True)
        if (first[faces] == lowest).all():
            break
        np.minimum.at(first, first[faces], np.broadcast_to(lowest, faces.shape))
        while ((further := first[first]) != first).any():
            first = further
    return first


def volume_shares(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(M,) what each face adds to the volume that a closed surface encloses, wound counter-clockwise from outside."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    return (a * np.cross(b, c)).sum(axis=1) / 6


def smoothed(vertices: np.ndarray, faces: np.ndarray, reach: float) -> np.ndarray:
    """Vertices (N, 3) float32 of a closed surface without the terraces of its grid; its faces stay as they are.

    Taubin, "A Signal Processing Approach to Fair Surface Design", SIGGRAPH 1995: every step towards the neighbours'
    mean is followed by one away from it, which gives the volume back.

    Args:
        reach: how far a vertex may be moved along each axis: half a cell, and nothing that the grid shows is lost.
    """
    start = vertices.astype(np.float64)
    ends, neighbours = faces.ravel(), np.roll(faces, -1, axis=1).ravel()  # both ways, as every edge has two faces
    count = np.bincount(ends, minlength=len(start)).clip(1)[:, None]
    moved = start.copy()
    for step in ROUNDS * (SHRINK, SWELL):
        sums = [np.bincount(ends, moved[neighbours, axis], len(start)) for axis in range(3)]
        moved += step * (np.stack(sums, axis=1) / count - moved)
        moved = start + (moved - start).clip(-reach, reach)
    return moved.astype(np.float32)


def simplified(vertices: np.ndarray, faces: np.ndarray, count: int) -> Surface:
    """At most `count` faces, or so many more as the surface needs to stay closed; edges of least error go first."""
    from fast_simplification import simplify

    target = count
    while target < len(faces):
        points, triangles = simplify(vertices.astype(np.float32), faces.astype(np.int32), target_count=target)
        if closed(found := triangles.astype(np.int64)):
            return points, found
        target = target * 5 // 4 + 1
    return vertices, faces


def closed(faces: np.ndarray) -> bool:
    """Whether every edge has two faces, which are wound alike."""
    if not len(faces):
        return False
    ends = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2)
    side = faces.max() + 1
    there, back = ends @ [side, 1], ends @ [1, side]
    return len(np.unique(there)) == len(there) and np.array_equal(np.sort(there), np.sort(back))


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(N, 3) float32 unit normals, means of the faces' by area; where there is no area around a vertex, +Y."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    of_faces, corners = np.cross(b - a, c - a), faces.T.ravel()
    sums = [np.bincount(corners, np.tile(of_faces[:, axis], 3), len(vertices)) for axis in range(3)]
    normals = np.stack(sums, axis=1)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 0, normals / np.where(length > 0, length, 1), [0.0, 1.0, 0.0]).astype(np.float32)


def fitting(points: np.ndarray, size: float) -> tuple[float, np.ndarray]:
    """Factor and shift (3,) that centre the bounding box of points at the origin and make its longest side `size`."""
    low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
    factor = size / ((high - low).max() or 1.0)
    return factor, -factor * (low + high) / 2
