"""Random solids as polygons, many of them with corners that turn inwards, and whether triangles are their surface."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

SEEDS = range(200)
GRID = 256  # coordinates are multiples of its inverse, exact in float32


@dataclass(frozen=True)
class Solid:
    """Vertices (N, 3) and flat polygons of them, which turn counter-clockwise seen from outside."""

    vertices: np.ndarray
    polygons: list[list[int]]


def solids() -> Iterator[tuple[int, np.random.Generator, Solid]]:
    """Of each seed one, with the random numbers that go on from there."""
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        yield seed, rng, solid(rng)


def solid(rng: np.random.Generator) -> Solid:
    """One to three slanted prisms on stars of five to nine corners, each face from any of its corners on."""
    vertices: list[np.ndarray] = []
    polygons: list[list[int]] = []
    for n in range(rng.integers(1, 4)):
        star = _star(rng)
        count = len(star)
        low, high = (np.concatenate([star, np.full((count, 1), z)], axis=1) for z in (0.0, 0.5))
        slant = np.eye(3)
        slant[2, :2] = rng.choice([-0.5, 0, 0.25, 0.5], 2)
        turn = np.roll(np.eye(3), rng.integers(3), axis=0)
        start = sum(map(len, vertices))
        polygons.append([start + i for i in reversed(range(count))])
        polygons.append([start + count + i for i in range(count)])
        sides = [(i, (i + 1) % count) for i in range(count)]
        polygons += [[start + a, start + b, start + count + b, start + count + a] for a, b in sides]
        vertices.append((np.concatenate([low, high]) @ slant.T @ turn.T) + [2.5 * n, 0, 0])
    turned = [list(np.roll(polygon, rng.integers(len(polygon)))) for polygon in polygons]
    return Solid(np.concatenate(vertices), [[int(i) for i in polygon] for polygon in turned])


def _star(rng: np.random.Generator) -> np.ndarray:
    """The corners (n, 2) of a polygon round the origin, none of which is straight."""
    while True:
        count = int(rng.integers(5, 10))
        angles = (np.arange(count) + rng.uniform(-0.3, 0.3, count)) * 2 * np.pi / count
        radii = rng.uniform(0.2, 1, count)
        star = np.round(np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None] * GRID) / GRID
        (a, b), (c, d) = (star - np.roll(star, 1, axis=0)).T, (np.roll(star, -1, axis=0) - star).T
        if (a * d != b * c).all():
            return star


def triangulated(shape: Solid) -> np.ndarray:
    """Its faces as triangles (M, 3): ears, found by trying all corners."""
    found = []
    for polygon in shape.polygons:
        normal = _vector_area(shape.vertices[polygon])
        axis = int(np.abs(normal).argmax())
        order = [(axis + 1) % 3, (axis + 2) % 3][:: 1 if normal[axis] > 0 else -1]
        flat = dict(zip(polygon, shape.vertices[polygon][:, order].tolist(), strict=True))
        left = list(polygon)
        while len(left) > 3:
            n = next(n for n in range(len(left)) if _is_ear(flat, left, n))
            found.append([left[n - 1], left[n], left[(n + 1) % len(left)]])
            del left[n]
        found.append(left)
    return np.array(found)


def _is_ear(flat: dict[int, list[float]], left: list[int], n: int) -> bool:
    """Whether a corner of a polygon that turns counter-clockwise may be cut off; `flat` has the corners' places."""
    corners = [left[n - 1], left[n], left[(n + 1) % len(left)]]
    a, b, c = (flat[corner] for corner in corners)

    def beside(p: list[float], q: list[float], r: list[float]) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    others = [flat[i] for i in left if i not in corners]
    inside = (min(beside(a, b, r), beside(b, c, r), beside(c, a, r)) >= 0 for r in others)
    return beside(a, b, c) > 1e-12 and not any(inside)


def _vector_area(corners: np.ndarray) -> np.ndarray:
    return np.cross(corners - corners[0], np.roll(corners, -1, axis=0) - corners[0]).sum(axis=0) / 2


def assert_same(vertices: np.ndarray, faces: np.ndarray, shape: Solid, seed: int, close: float = 1e-5) -> None:
    """That triangles tile the polygons of a solid, no more and no less.

    They have its corners and no others, as many triangles as its polygons have, each edge once in either direction, and
    the volume. The sum of the triangles' areas is that of the polygons, so none lies outside or turns the other way.
    """
    distances, which = cKDTree(shape.vertices).query(vertices[faces].reshape(-1, 3))
    assert distances.max() < close, seed
    assert set(which) == set(range(len(shape.vertices))), seed
    welded = which.reshape(-1, 3)
    welded = welded[(welded != np.roll(welded, 1, axis=1)).all(axis=1)]  # strips turn round in triangles without area
    assert len(welded) == sum(len(polygon) - 2 for polygon in shape.polygons), seed
    edges = Counter(zip(welded.ravel().tolist(), np.roll(welded, -1, axis=1).ravel().tolist(), strict=True))
    assert all(edges[b, a] == count for (a, b), count in edges.items()), seed
    corners = shape.vertices[welded]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = sum(np.linalg.norm(_vector_area(shape.vertices[polygon])) for polygon in shape.polygons)
    assert abs(np.linalg.norm(normals, axis=1).sum() / 2 - area) < 1e-9 * area, seed
    fans = [shape.vertices[[p[0], p[n], p[n + 1]]] for p in shape.polygons for n in range(1, len(p) - 1)]
    assert abs(np.linalg.det(corners).sum() - np.linalg.det(np.array(fans)).sum()) < 1e-9, seed
