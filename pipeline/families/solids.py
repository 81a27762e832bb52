"""Convex parts, panels and shapes: exact solids, and the blocks they are built from. +Y up, front towards -Z."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from numpy.random import Generator
from scipy.spatial import ConvexHull

Span = tuple[float, float]
Point = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Panel:
    """Flat convex polygon without thickness: vertices (N, 3) float64 in order, faces (N - 2, 3) int64."""

    vertices: np.ndarray
    faces: np.ndarray

    @staticmethod
    def polygon(points: Iterable[Sequence[float]]) -> Panel:
        vertices = np.array(list(points), dtype=np.float64)
        fan = np.arange(1, len(vertices) - 1)
        return Panel(vertices, np.stack([0 * fan, fan, fan + 1], axis=1))

    def mapped(self, matrix: np.ndarray, offset: np.ndarray) -> Panel:
        return Panel(self.vertices @ matrix.T + offset, self.faces)


@dataclass(frozen=True)
class Part:
    """Closed convex solid.

    vertices (N, 3) float64; faces (M, 3) int64, counter-clockwise seen from outside; planes (F, 4) float64,
    unit normals: x is inside where planes[:, :3] @ x + planes[:, 3] <= 0 for every row.
    """

    vertices: np.ndarray
    faces: np.ndarray
    planes: np.ndarray

    @staticmethod
    def hull(points: np.ndarray) -> Part:
        """Convex hull of points (N, 3), at least four of them not in one plane."""
        hull = ConvexHull(np.unique(np.round(points, 9), axis=0))
        corners = hull.points[hull.simplices]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        inward = np.einsum("ij,ij->i", normals, hull.equations[:, :3]) < 0
        simplices = np.where(inward[:, None], hull.simplices[:, ::-1], hull.simplices)
        faces = np.searchsorted(hull.vertices, simplices)
        return Part(hull.points[hull.vertices], faces, np.unique(hull.equations.round(12), axis=0))

    def mapped(self, matrix: np.ndarray, offset: np.ndarray) -> Part:
        """The part under x -> matrix @ x + offset, matrix (3, 3) invertible; faces stay outward."""
        normals = self.planes[:, :3] @ np.linalg.inv(matrix)
        planes = np.column_stack([normals, self.planes[:, 3] - normals @ offset])
        planes /= np.linalg.norm(normals, axis=1, keepdims=True)
        faces = self.faces if np.linalg.det(matrix) > 0 else self.faces[:, ::-1]
        return Part(self.vertices @ matrix.T + offset, faces, planes)

    def contains(self, points: np.ndarray) -> np.ndarray:
        """points (N, 3) -> bool (N,), true inside and on the surface."""
        near = np.ones(len(points), dtype=bool)
        bounds = zip(points.T, self.vertices.min(0), self.vertices.max(0), strict=True)
        for column, low, high in bounds:
            near &= (column >= low) & (column <= high)
        near[near] = np.all(points[near] @ self.planes[:, :3].T + self.planes[:, 3] <= 0, axis=1)
        return near


Piece = Part | Panel


@dataclass(frozen=True)
class Shape:
    """Union of closed convex parts, and panels that have a surface but no volume."""

    parts: tuple[Part, ...]
    panels: tuple[Panel, ...] = ()

    @staticmethod
    def of(pieces: Iterable[Piece]) -> Shape:
        pieces = list(pieces)
        return Shape(
            tuple(piece for piece in pieces if isinstance(piece, Part)),
            tuple(piece for piece in pieces if isinstance(piece, Panel)),
        )

    @property
    def pieces(self) -> tuple[Piece, ...]:
        return (*self.parts, *self.panels)

    def contains(self, points: np.ndarray) -> np.ndarray:
        """points (N, 3) in the shape's frame -> bool (N,): inside any part; panels hold nothing."""
        inside, points = np.zeros(len(points), dtype=bool), np.asfortranarray(points)
        for part in self.parts:
            inside |= part.contains(points)
        return inside

    def transformed(self, scale: float, offset: np.ndarray) -> Shape:
        """The shape under x -> scale * x + offset, scale > 0."""
        return Shape.of(piece.mapped(scale * np.eye(3), np.asarray(offset)) for piece in self.pieces)


# Building blocks: a span is an interval (low, high) along one axis.


def vector(x: float, y: float, z: float) -> np.ndarray:
    return np.array([x, y, z], dtype=np.float64)


def box(x: Span, y: Span, z: Span, bevel: float = 0.0) -> Part:
    """Box between three spans; edges and corners are cut off flat, `bevel` away from where they were."""
    low, high = np.transpose([x, y, z])
    bevel = min(bevel, 0.45 * (high - low).min())
    inset = bevel * (1 - np.eye(3))[:, None]
    corner = np.array(list(product((0.0, 1.0), repeat=3)))
    return Part.hull(((low + inset) + corner * (high - low - 2 * inset)).reshape(-1, 3))


def taper(y: Span, bottom: tuple[Span, Span], top: tuple[Span, Span]) -> Part:
    """Solid between a rectangle (x span, z span) at y[0] and another at y[1]."""
    levels = zip(y, (bottom, top), strict=True)
    return Part.hull(np.array([(a, h, b) for h, (x, z) in levels for a, b in product(x, z)]))


def ring(centre: Point, radii: Span, axis: int = 1, sides: int = 16, power: float = 2.0) -> np.ndarray:
    """Superellipse |u/a|^power + |v/b|^power = 1 across `axis` (0 x, 1 y, 2 z) as points (sides, 3)."""
    angle = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.sign(circle) * np.abs(circle) ** (2 / power) * np.asarray(radii)
    return np.insert(points, axis, 0.0, axis=1) + np.asarray(centre)


def chain(sections: Iterable[np.ndarray]) -> list[Piece]:
    """Hulls of neighbouring sections, each (N, 3)."""
    return [Part.hull(np.concatenate(pair)) for pair in pairwise(sections)]


def lathe(profile: Sequence[Span], sides: int = 16, power: float = 2.0) -> list[Piece]:
    """Solid of revolution about the vertical axis through (radius, height) points, bottom to top."""
    return chain(ring((0, y, 0), (r, r), 1, sides, power) for r, y in profile)


def post(foot: Point, head: Point, foot_radius: float, head_radius: float, sides: int = 10) -> Part:
    """Leg from foot to head with level ends; four sides make it square."""
    widen = np.sqrt(2) if sides == 4 else 1.0
    ends = [(foot, foot_radius * widen), (head, head_radius * widen)]
    return Part.hull(np.concatenate([ring(p, (r, r), 1, sides) for p, r in ends]))


def bar(start: Point, end: Point, radius: float, end_radius: float | None = None, sides: int = 8) -> Part:
    """Round bar between two points, its ends square to its axis."""
    a, b = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    along = (b - a) / np.linalg.norm(b - a)
    across = np.cross(along, np.eye(3)[np.argmin(np.abs(along))])
    across /= np.linalg.norm(across)
    angle = 2 * np.pi * (np.arange(sides)[:, None] + 0.5) / sides
    circle = np.cos(angle) * across + np.sin(angle) * np.cross(along, across)
    return Part.hull(np.concatenate([a + radius * circle, b + (end_radius or radius) * circle]))


def ellipsoid(centre: Point, radii: Point, sides: int = 12) -> Part:
    level = np.linspace(-0.5, 0.5, sides // 2 + 1)[1:-1] * np.pi
    rings = [ring((0, np.sin(a), 0), (np.cos(a), np.cos(a)), 1, sides) for a in level]
    points = np.concatenate([*rings, [(0, -1, 0), (0, 1, 0)]])
    return Part.hull(points * np.asarray(radii) + np.asarray(centre))


def mapped(pieces: Iterable[Piece], matrix: np.ndarray, offset: Point = (0.0, 0.0, 0.0)) -> list[Piece]:
    return [piece.mapped(matrix, np.asarray(offset)) for piece in pieces]


def mirrored(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces and their mirror images at x = 0."""
    return [*pieces, *mapped(pieces, np.diag([-1.0, 1, 1]))]


def either_hand(rng: Generator, pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces or, as often, their mirror images."""
    return mapped(pieces, np.diag([rng.choice([-1.0, 1.0]), 1, 1]))


def leaned(pieces: Iterable[Piece], y: float, slope: float) -> list[Piece]:
    """Sheared backwards (towards +Z) by `slope` above the height y."""
    return mapped(pieces, np.array([[1, 0, 0], [0, 1, 0], [0, slope, 1.0]]), (0, 0, -slope * y))


def around(pieces: Sequence[Piece], count: int) -> list[Piece]:
    """`count` copies about the vertical axis, the first turned half round."""
    copies: list[Piece] = []
    for angle in np.pi + 2 * np.pi * np.arange(count) / count:
        c, s = np.cos(angle), np.sin(angle)
        copies += mapped(pieces, np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]))
    return copies


def spaced(low: float, high: float, count: int) -> list[Span]:
    """`count` equal spans that fill [low, high]."""
    return list(pairwise(np.linspace(low, high, count + 1).tolist()))


def pick(rng: Generator, **weights: float) -> str:
    """One of the names, drawn by weight."""
    total = sum(weights.values())
    return str(rng.choice(list(weights), p=[weight / total for weight in weights.values()]))
