"""Shapes made of sheets, whose right grids are known: what damaged solids (`damage.py`) do not have.

A sheet has no thickness. What it encloses is solid, but for what a mouth leads into: a flat free rim behind which inner
walls or another rim are seen. So the truth is a test of points that each kind states, and the cells that the sheets
touch. Everything is turned about +Y at random and normalised; `kind` and number make it, and nothing else.

    wavy rims            domes whose lower rim goes up and down, on the ground or on their side: solid
    blankets             cloths over a table, level on top, hanging down to an edge that goes up and down: solid
    double hoods         a tube within a tube, their rims in two planes, and no rings between them: solid between them
    hoods                tubes and cones of one sheet, open at both ends, on their side: nothing
    recesses             a box with an opening in front, and the walls of a niche behind it, not joined to it
    horns                a flaring tube of one sheet, closed at its thin end: nothing
    see-through shelves  four boards of one sheet as a frame, and boards in it: nothing
    leaves               small bent sheets of any outline: nothing
    plants               hundreds of them, over a solid pot
    on-plane             panels and a box with faces a hair (6e-18) beside a plane of cells
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from pipeline.geometry.meshes import EXTENT, Mesh
from pipeline.geometry.solid import surface
from pipeline.records.records import seeded

Test = Callable[[np.ndarray], np.ndarray]  # points (P, 3) -> (P,) bool


@dataclass(frozen=True)
class Sheets:
    """vertices (N, 3) float64, faces (M, 3) int64; holds: (P, 3) points -> (P,) bool, in the frame of the vertices."""

    vertices: np.ndarray
    faces: np.ndarray
    holds: Test = lambda points: np.zeros(len(points), bool)


def made(kind: str, number: int) -> Sheets:
    """One of a kind, in the normalised frame."""
    rng = seeded("sheets", kind, number)
    raw = KINDS[kind](rng)
    if kind == "on-plane":  # is where it is
        return raw
    turn = about(1, rng.uniform(0, 2 * np.pi))
    corners = raw.vertices @ turn.T
    low, high = corners.min(axis=0), corners.max(axis=0)
    scale, centre = EXTENT / (high - low).max(), (low + high) / 2
    return Sheets((corners - centre) * scale, raw.faces, lambda points: raw.holds((points / scale + centre) @ turn))


def case(kind: str, number: int, resolution: int) -> tuple[Mesh, np.ndarray]:
    """A mesh of a kind and its true grid (R, R, R) bool."""
    sheets = made(kind, number)
    axis = (np.arange(resolution) + 0.5) / resolution - 0.5
    centres = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = sheets.holds(centres).reshape((resolution,) * 3)
    aside = sheets.vertices + 1e-9 if kind == "on-plane" else sheets.vertices
    return Mesh(sheets.vertices, sheets.faces), inside | surface(aside, sheets.faces, resolution)


def about(axis: int, angle: float) -> np.ndarray:
    """Rotation (3, 3) about an axis."""
    turn = np.eye(3)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    turn[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
    return turn


def together(*parts: Sheets) -> Sheets:
    """All parts as one; it holds what any of them holds."""
    starts = np.cumsum([0] + [len(part.vertices) for part in parts])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=False)])
    return Sheets(
        np.concatenate([part.vertices for part in parts]),
        faces,
        lambda points: np.logical_or.reduce([part.holds(points) for part in parts]),
    )


def net(place: Callable[[np.ndarray, np.ndarray], np.ndarray], rows: int, columns: int, round_: bool) -> Sheets:
    """The sheet that `place` makes of u, v in 0..1 (each (N,)), to (N, 3); `round_`: v = 1 is v = 0."""
    v = np.linspace(0, 1, columns, endpoint=not round_)
    u, v = (part.ravel() for part in np.meshgrid(np.linspace(0, 1, rows), v, indexing="ij"))
    corner = np.arange(rows * columns).reshape(rows, columns)
    if round_:
        corner = np.concatenate([corner, corner[:, :1]], axis=1)
    a, b, c, d = corner[:-1, :-1].ravel(), corner[1:, :-1].ravel(), corner[1:, 1:].ravel(), corner[:-1, 1:].ravel()
    return Sheets(place(u, v), np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]))


def lathe(radius: Callable[[np.ndarray], np.ndarray], length: float, rows: int = 12) -> Sheets:
    """A sheet around the z axis, of `radius` at u = z / length in 0..1."""

    def place(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        angle = 2 * np.pi * v
        return np.stack([radius(u) * np.cos(angle), radius(u) * np.sin(angle), length * u], axis=1)

    return net(place, rows, 40, True)


def turned(sheets: Sheets, turn: np.ndarray) -> Sheets:
    return Sheets(sheets.vertices @ turn.T, sheets.faces, lambda points: sheets.holds(points @ turn))


def sheet_box(low: tuple[float, ...], high: tuple[float, ...], without: tuple[int, ...] = ()) -> Sheets:
    """A box of one sheet, which holds its inside; sides 0 to 5 are -x, +x, -y, +y, -z, +z."""
    corners = np.array([[(low, high)[i >> k & 1][k] for k in range(3)] for i in range(8)], float)
    quads = [(0, 4, 6, 2), (1, 3, 7, 5), (0, 1, 5, 4), (2, 6, 7, 3), (0, 2, 3, 1), (4, 5, 7, 6)]
    quads = [quad for side, quad in enumerate(quads) if side not in without]
    faces = np.array([triangle for a, b, c, d in quads for triangle in ((a, b, c), (a, c, d))])
    return Sheets(corners, faces, lambda points: np.asarray(((points > low) & (points < high)).all(axis=1)))


def hollow(sheets: Sheets) -> Sheets:
    return Sheets(sheets.vertices, sheets.faces)


def wavy(rng: Generator) -> Sheets:
    height, wave, waves = rng.uniform(0.6, 1.2), rng.uniform(0.02, 0.16), rng.integers(2, 6)

    def floor(angle: np.ndarray) -> np.ndarray:
        return wave * np.cos(waves * angle)

    def place(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        angle, up = 2 * np.pi * v, np.pi / 2 * u
        low = floor(angle) * (1 - u)
        return np.stack([np.cos(up) * np.cos(angle), height * np.sin(up) + low, np.cos(up) * np.sin(angle)], axis=1)

    def holds(points: np.ndarray) -> np.ndarray:
        x, y, z = points.T
        across, angle = np.hypot(x, z), np.arctan2(z, x)
        up = np.arccos(np.clip(across, 0, 1))
        roof = height * np.sin(up) + floor(angle) * (1 - 2 * up / np.pi)
        return (across < 1) & (y < roof) & (y > floor(angle) * across)

    dome = net(place, 14, 48, True)
    whole = Sheets(dome.vertices, dome.faces, holds)
    return whole if rng.random() < 0.5 else turned(whole, about(0, np.pi / 2))


def blanket(rng: Generator) -> Sheets:
    height, wave, waves, width = rng.uniform(0.2, 0.6), rng.uniform(0.05, 0.15), rng.integers(3, 8), rng.uniform(0.5, 1)

    def place(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        angle, out, down = 2 * np.pi * v, np.minimum(2 * u, 1), np.maximum(2 * u - 1, 0)
        low = height * (1 - down) + down * wave * np.cos(waves * angle)
        return np.stack([out * np.cos(angle), low, width * out * np.sin(angle)], axis=1)

    def holds(points: np.ndarray) -> np.ndarray:
        x, y, z = (points / [1, 1, width]).T
        out = np.hypot(x, z)
        return (out < 1) & (y < height) & (y > out * wave * np.cos(waves * np.arctan2(z, x)))

    cloth = net(place, 9, 64, True)
    return Sheets(cloth.vertices, cloth.faces, holds)


def double_hood(rng: Generator) -> Sheets:
    length, wall, flare = rng.uniform(0.8, 2.5), rng.uniform(0.1, 0.25), rng.uniform(-0.2, 0.3)
    outer = lathe(lambda u: 1 + flare * u, length)
    inner = lathe(lambda u: 1 - wall + flare * u, length)

    def holds(points: np.ndarray) -> np.ndarray:
        across, u = np.hypot(points[:, 0], points[:, 1]), points[:, 2] / length
        return (u > 0) & (u < 1) & (across < 1 + flare * u) & (across > 1 - wall + flare * u)

    both = together(outer, inner)
    return Sheets(both.vertices, both.faces, holds)


def hood(rng: Generator) -> Sheets:
    flare = rng.uniform(-0.3, 0.5)
    return lathe(lambda u: 1 + flare * u, rng.uniform(0.6, 2.5))


def recess(rng: Generator) -> Sheets:
    width, height, depth = rng.uniform(0.5, 1, 3)
    margin, deep = rng.uniform(0.08, 0.2) * min(width, height), rng.uniform(0.4, 0.85) * depth
    body = sheet_box((0, 0, 0), (width, height, depth), without=(5,))
    low, high = np.array([margin, margin]), np.array([width - margin, height - margin])
    frame = np.array([[0, 0], [width, 0], [width, height], [0, height]])
    hole = np.array([low, [high[0], low[1]], high, [low[0], high[1]]])
    front = np.concatenate([frame, hole])
    k = np.arange(4)
    ring = np.concatenate([np.stack([k, (k + 1) % 4, 4 + (k + 1) % 4], 1), np.stack([k, 4 + (k + 1) % 4, 4 + k], 1)])
    panel = Sheets(np.column_stack([front, np.full(8, depth)]), ring)
    gap = 0.01
    inside_low, inside_high = low - gap, high + gap
    niche = sheet_box((*inside_low, depth - deep), (*inside_high, depth), without=(5,))
    whole = together(body, panel, niche)

    def holds(points: np.ndarray) -> np.ndarray:
        return body.holds(points) & ~niche.holds(points)

    return Sheets(whole.vertices, whole.faces, holds)


def horn(rng: Generator) -> Sheets:
    thin, bell = rng.uniform(0.05, 0.12), rng.uniform(4, 7)
    tube = lathe(lambda u: thin + (1 - thin) * u**bell, rng.uniform(2.5, 4), 40)
    cap = np.stack([np.full(38, 0), np.arange(1, 39), np.arange(2, 40)], axis=1)
    return Sheets(tube.vertices, np.concatenate([tube.faces, cap]))


def shelf(rng: Generator) -> Sheets:
    width, height, depth = rng.uniform(0.6, 1), rng.uniform(0.8, 1.6), rng.uniform(0.25, 0.4)
    frame = hollow(sheet_box((0, 0, 0), (width, height, depth), without=(4, 5)))
    boards = []
    for y in height * (np.arange(1, rng.integers(3, 5)) + rng.uniform(-0.1, 0.1)) / 5:
        square = np.array([[0.01, y, 0.01], [width - 0.01, y, 0.01], [width - 0.01, y, depth], [0.01, y, depth]])
        boards.append(Sheets(square, np.array([[0, 1, 2], [0, 2, 3]])))
    return together(frame, *boards)


def leaf(rng: Generator, size: float) -> Sheets:
    bend, curl = rng.uniform(0.5, 1.5, 2) * rng.choice([-1, 1], 2)

    def place(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        x, y = 2 * u - 1, 0.8 * (v - 0.5) * (0.1 + np.sin(np.pi * u))
        return np.stack([x, 0.5 * bend * x**2 + curl * y**2, y], axis=1) * size

    flat = net(place, 9, 6, False)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return Sheets(flat.vertices @ turn.T, flat.faces)


def scattered(rng: Generator, count: int, size: float, reach: float) -> list[Sheets]:
    leaves = [leaf(rng, size * rng.uniform(0.6, 1)) for _ in range(count)]
    return [Sheets(each.vertices + rng.uniform(-reach, reach, 3), each.faces) for each in leaves]


def leaves(rng: Generator) -> Sheets:
    return together(*scattered(rng, 12, 0.11, 0.45))


def plant(rng: Generator) -> Sheets:
    low, high = (-0.2, -0.9, -0.2), (0.2, -0.45, 0.2)
    return together(sheet_box(low, high), *scattered(rng, int(rng.integers(150, 400)), rng.uniform(0.1, 0.2), 0.45))


def on_plane(rng: Generator) -> Sheets:
    hair = -6.2e-18
    parts = [sheet_box((hair, -0.4, hair), (rng.uniform(0.1, 0.4), hair, rng.uniform(0.1, 0.4)))]
    for axis in rng.permutation(3)[:2]:
        square = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * rng.uniform(0.2, 0.45) + [0, 0, hair]
        parts.append(Sheets(np.roll(square, int(axis), axis=1), np.array([[0, 1, 2], [0, 2, 3]])))
    return together(*parts)


KINDS: dict[str, Callable[[Generator], Sheets]] = {
    "wavy rims": wavy,
    "blankets": blanket,
    "double hoods": double_hood,
    "hoods": hood,
    "recesses": recess,
    "horns": horn,
    "see-through shelves": shelf,
    "leaves": leaves,
    "plants": plant,
    "on-plane": on_plane,
}
