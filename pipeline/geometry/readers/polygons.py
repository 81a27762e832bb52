"""Polygons -> triangles, also of those that have a corner that turns inwards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FLAT = 1e-9  # share of a polygon's area by which a triangle of its fan may turn back and still be flat
CLOSE = 1e-6  # share of the area by which triangles may miss it
SURE = 1000  # corners up to which a polygon that crosses itself costs ear clipping no more than a tenth of a second


def triangulated(vertices: np.ndarray, indices: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Triangles (M, 3) of polygons, turning as these do.

    A polygon becomes a fan from its first corner where that covers it and nothing else, as it does wherever the polygon
    is convex; others are cut by ears in the plane on which they lie best. One that crosses itself or has no area has no
    right answer, and becomes a fan as well.

    Args:
        vertices: (N, 3) float64.
        indices: of all corners, polygon after polygon; those that are not there are passed on.
        counts: (P,) corners of each polygon; those of less than three are left out.
    """
    starts = np.cumsum(counts) - counts
    triangles = [np.zeros((0, 3), np.int64)]
    for count in np.unique(counts[counts >= 3]):
        polygons = indices[starts[counts == count][:, None] + np.arange(count)]
        if count > 3:
            folded = _folded(vertices, polygons)
            triangles += [polygon[cut(vertices[polygon], [count])] for polygon in polygons[folded]]
            polygons = polygons[~folded]
        triangles.append(polygons[:, _fan(count)].reshape(-1, 3))
    return np.concatenate(triangles)


def cut(corners: np.ndarray, ends: Sequence[int]) -> np.ndarray:
    """Triangles (M, 3), indices into corners, of a polygon that may have holes.

    Args:
        corners: (n, 3) of the outline, and then of each hole.
        ends: where the outline ends, and each hole.
    """
    from mapbox_earcut import triangulate_float64

    corners = corners - corners[0]
    corners = corners / (np.abs(corners).max() or 1.0)
    normal = np.cross(corners[: ends[0] - 1], corners[1 : ends[0]]).sum(axis=0)
    axis = int(np.abs(normal).argmax())  # the polygon is seen along it
    flat = np.ascontiguousarray(np.delete(corners, axis, axis=1))
    outline, *holes = (np.abs(_area(ring)) for ring in np.split(flat, ends[:-1]))
    if outline > 0 and (len(flat) < SURE or _simple(flat[: ends[0]])):
        ears = triangulate_float64(flat, np.asarray(ends, np.uint32)).reshape(-1, 3).astype(np.int64)
        areas = _area(flat[ears])
        if abs(np.abs(areas).sum() - (outline - sum(holes))) < CLOSE * outline:
            turned = areas * _area(flat[: ends[0]]) < 0
            ears[turned] = ears[turned, ::-1]
            return ears
    return _fan(ends[0])


def _fan(count: int) -> np.ndarray:
    second = np.arange(1, count - 1)
    return np.stack([np.zeros_like(second), second, second + 1], axis=1)


def _folded(vertices: np.ndarray, polygons: np.ndarray) -> np.ndarray:
    """Which of polygons (P, n) have a fan from their first corner that turns back somewhere."""
    folded = np.zeros(len(polygons), bool)
    known = (polygons.min(axis=1, initial=0) >= 0) & (polygons.max(axis=1, initial=0) < len(vertices))
    with np.errstate(all="ignore"):
        corners = vertices[polygons[known]] / np.abs(vertices).max(initial=0, where=np.isfinite(vertices))
        sides = corners[:, 1:] - corners[:, :1]
        parts = np.cross(sides[:, :-1], sides[:, 1:])
        normals = parts.sum(axis=1)
        shares = np.einsum("pnc,pc->pn", parts, normals)
        folded[known] = shares.min(axis=1, initial=0) < -FLAT * (normals**2).sum(axis=1)
    return folded


def _area(flat: np.ndarray) -> np.ndarray:
    """Twice the area of polygons (..., n, 2), below 0 for those that turn clockwise."""
    following = np.roll(flat, -1, axis=-2)
    return (flat[..., 0] * following[..., 1] - flat[..., 1] * following[..., 0]).sum(axis=-1)


def _simple(flat: np.ndarray) -> bool:
    """Whether a polygon (n, 2) turns round once, as all do that do not cross themselves."""
    sides = np.roll(flat, -1, axis=0) - flat
    angles = np.arctan2(*sides[np.abs(sides).sum(axis=1) > 0].T[::-1])
    turns = (np.roll(angles, -1) - angles + np.pi) % (2 * np.pi) - np.pi
    return bool(round(abs(turns.sum()) / (2 * np.pi)) == 1)
