"""Shapes small enough to travel in a page: simplified, quantised, deflated, in base64. `viewer.js` reads them.

Before deflation, of V vertices and M faces, all little-endian:

    header  4 x 4 bytes    V, M and T uint32, and the extent E float32
    corners 6 V bytes      steps from the vertex before, along x, y and z: a zigzag uint16 each (0, -1, 1, -2, ...),
                           first all the low bytes and then all the high ones; the sum q is the coordinate q / STEPS * E
    faces   6 M bytes      the same of three indices a face: the first as a step from the face before's, the others from
                           the first; M is 0 of a cloud of points
    far     V bytes        how far every vertex is from the other shape, in FAR / 255, at most FAR
    lost    T bytes        the same of the T vertices of the other shape, which is the true one; T is 0 of that itself
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass

import numpy as np

from pipeline.geometry.open3d import o3d, scene
from pipeline.pages.pictures import Surface

STEPS = 2047
FAR = 0.1  # of the unit cube's side


@dataclass(frozen=True)
class Shape:
    """Vertices (N, 3) and faces (M, 3), M 0 of a cloud of points, and both 0 of nothing."""

    vertices: np.ndarray
    faces: np.ndarray


def simplified(surface: Surface, faces: int) -> Shape:
    """A surface with about so many faces at most, without vertices that no face has."""
    import fast_simplification

    vertices, triangles = surface[0].astype(np.float32), surface[1].astype(np.int32)
    if len(triangles) > faces:
        vertices, triangles = fast_simplification.simplify(vertices, triangles, target_count=faces)
    used, found = np.unique(triangles, return_inverse=True)
    return Shape(vertices[used], found.reshape(-1, 3))


def cloud(points: np.ndarray) -> Shape:
    return Shape(points, np.zeros((0, 3), np.int32))


def packed(shape: Shape, other: Shape | None = None) -> str:
    """The shape as in the module's head; `other` is the true one, None where it is this."""
    extent = max(0.5, float(np.abs(shape.vertices).max(initial=0)))
    steps = np.round(shape.vertices / extent * STEPS).astype(np.int64)
    order = np.lexsort(steps.T)  # neighbours in the file are neighbours in space
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    faces = place[shape.faces].reshape(-1, 3)
    turns = (faces.argmin(1)[:, None] + np.arange(3)) % 3 if len(faces) else faces
    faces = np.take_along_axis(faces, turns, 1)  # the least index first, the winding as it was
    faces = faces[np.lexsort(faces.T[::-1])]
    ahead = np.concatenate([np.diff(faces[:, :1], axis=0, prepend=0), faces[:, 1:] - faces[:, :1]], axis=1)
    far, lost = (np.zeros(len(order), np.uint8), b"")
    if other is not None and len(shape.vertices) and len(other.vertices):
        far, lost = distances(shape.vertices[order], other), distances(_in_order(other), shape).tobytes()
    header = np.array([len(order), len(faces), len(lost)], "<u4").tobytes() + np.array([extent], "<f4").tobytes()
    body = header + _planes(np.diff(steps[order], axis=0, prepend=0)) + _planes(ahead) + far.tobytes() + lost
    return base64.b64encode(zlib.compress(body, 9)).decode()


def _in_order(shape: Shape) -> np.ndarray:
    """Its vertices as `packed` has them."""
    extent = max(0.5, float(np.abs(shape.vertices).max(initial=0)))
    return shape.vertices[np.lexsort(np.round(shape.vertices / extent * STEPS).astype(np.int64).T)]


def distances(points: np.ndarray, shape: Shape) -> np.ndarray:
    """(N,) uint8: how far points (N, 3) are from a shape, in FAR / 255."""
    if len(shape.faces):
        structure = scene(shape.vertices, shape.faces, threads=0)
        found = structure.compute_distance(o3d.core.Tensor(points.astype(np.float32))).numpy()
    else:
        from scipy.spatial import cKDTree

        found, _ = cKDTree(shape.vertices).query(points)
    return np.round(np.minimum(found / FAR, 1) * 255).astype(np.uint8)


def _planes(values: np.ndarray) -> bytes:
    zigzag = np.where(values < 0, -2 * values - 1, 2 * values).astype("<u2").ravel()
    return (zigzag & 255).astype(np.uint8).tobytes() + (zigzag >> 8).astype(np.uint8).tobytes()
