"""What readers of scenes share: pieces moved and joined, strips, skins in the pose that a file gives them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.geometry.errors import MeshError

MOST = 100_000  # pieces of a file; what refers to itself in a roundabout way would have any number
FLAT = 1e-4  # by which the last row of an affine may be off
Piece = tuple[np.ndarray, np.ndarray]  # positions (N, 3) float64, triangles (M, 3) int64


def counted(so_far: int) -> int:
    """One more than so many pieces; MeshError past MOST."""
    if so_far >= MOST:
        raise MeshError("unreadable", f"expected at most {MOST:,} pieces, found more: do they name each other?")
    return so_far + 1


def joined(pieces: Sequence[Piece]) -> Piece:
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in pieces)])
    vertices = [np.zeros((0, 3)), *(vertices for vertices, _ in pieces)]
    faces = [faces + start for (_, faces), start in zip(pieces, starts[:-1], strict=True)]
    return np.concatenate(vertices), np.concatenate([np.zeros((0, 3), np.int64), *faces])


def moved(vertices: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Positions (N, 3) through an affine (4, 4) for column vectors."""
    return vertices @ matrix[:3, :3].T + matrix[:3, 3]


def refuse_projection(matrix: np.ndarray) -> None:
    """MeshError where a (4, 4) for column vectors is no affine, but for what rounding leaves."""
    if not np.abs(matrix[3] - [0, 0, 0, 1]).max() < FLAT:
        raise MeshError("unreadable", f"expected an affine matrix of a node, got a last row of {matrix[3].tolist()}")


def strip(indices: np.ndarray) -> np.ndarray:
    """Triangles of a strip: each three indices that follow one another, every second turned."""
    triangles = np.stack([indices[:-2], indices[1:-1], indices[2:]], axis=1) if len(indices) > 2 else indices[:0]
    triangles = triangles.reshape(-1, 3)
    triangles[1::2] = triangles[1::2, [1, 0, 2]]
    return triangles


def fan(indices: np.ndarray) -> np.ndarray:
    """Triangles of a fan round its first index."""
    second, third = indices[1:-1], indices[2:]
    return np.stack([np.repeat(indices[:1], len(third)), second[: len(third)], third], axis=1)


def skinned(vertices: np.ndarray, matrices: np.ndarray, joints: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Vertices as their joints carry them.

    Args:
        vertices: (N, 3).
        matrices: (J, 4, 4), where each joint takes what it carries wholly.
        joints, weights: (N, K) which of them carry a vertex, and how much; where all is 0, the first does.
    """
    total = weights.sum(axis=1, keepdims=True)
    first = np.eye(1, weights.shape[1])
    shares = np.where(total > 0, weights / np.where(total > 0, total, 1), first)
    blended = np.einsum("nk,nkij->nij", shares, matrices[joints])
    return np.einsum("nij,nj->ni", blended[:, :3, :3], vertices) + blended[:, :3, 3]
