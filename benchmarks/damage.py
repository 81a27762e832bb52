"""The damage suite: solids whose inside is known exactly, and meshes of them broken as those in data sets are.

A solid is a list of pieces. A closed piece knows which points it holds; a panel has no thickness and holds nothing.

    families       members of the embedded families: unions of convex parts, each an intersection of half-spaces
    watertight     meshes whose bodies are all closed; a body holds the points that it winds around, by libigl. Only
                   meshes on which Open3D's ray parity, another method altogether, says the same

`broken` damages the mesh in one way of `KINDS` or in all of them. Adding parts or panels changes the solid too; holes,
missing bottoms, doubled and flipped faces do not. The truth is the cells whose centre lies in a closed piece, and the
cells that any surface touches before faces are taken away: a panel is its surface cells. Where a solid shuts in air, as
a wardrobe does, it is a matter of taste whether that air belongs to it; such solids are left out, and parts or panels
that would make one are drawn again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import trimesh
from numpy.random import Generator
from scipy.ndimage import binary_fill_holes

from benchmarks.common import models
from pipeline import synthesize
from pipeline.families.registry import FAMILIES
from pipeline.families.solids import Part
from pipeline.geometry import meshes
from pipeline.geometry.meshes import EXTENT, Mesh
from pipeline.geometry.solid import surface
from pipeline.records.records import seeded
from pipeline.sources.layout import ModelRef
from pipeline.sources.registry import LAYOUTS

KINDS = ("none", "flipped", "doubled", "holes", "open bottoms", "overlapping parts", "panels", "all")
HOLES, HOLE_RADIUS = 3, 0.06  # in the normalised frame
FLIPPED = 0.4
FINE = 0.025  # longest edge of the faces that a hole is cut from
PANELS = 3
BODIES, FACES = 40, 30_000  # larger watertight meshes are left out: they would take most of the time
AGREEMENT = 0.999  # IoU of the two ways to tell the inside of a watertight mesh, at 64^3
AIR = 0.001  # most that a solid may shut in, as a share of its cells
DRAWS = 20  # of parts and panels


@dataclass(frozen=True)
class Piece:
    """vertices (N, 3) float64, faces (M, 3) int64 (outward where closed); contains: (P, 3) points -> (P,) bool."""

    vertices: np.ndarray
    faces: np.ndarray
    contains: Callable[[np.ndarray], np.ndarray] | None = None  # None: a panel

    def moved(self, scale: float, offset: np.ndarray) -> Piece:
        """The piece under x -> scale * x + offset."""
        contains = self.contains and (lambda points: self.contains((points - offset) / scale))  # type: ignore[misc]
        return Piece(scale * self.vertices + offset, self.faces, contains)

    @property
    def mesh(self) -> trimesh.Trimesh:
        return trimesh.Trimesh(self.vertices, self.faces, process=False)


Solid = list[Piece]


def families(count: int) -> Iterator[tuple[str, Solid]]:
    """`count` members of each embedded family, undamaged."""
    undamaged = synthesize.Params(1, count, doubled=0, flipped=0, opened=0)
    for synset, (name, _) in FAMILIES.items():
        for index in range(count):
            pieces = synthesize.build(synset, index, undamaged).shape.pieces
            solid = [Piece(p.vertices, p.faces, p.contains if isinstance(p, Part) else None) for p in pieces]
            yield f"{name.split(',')[0]} {index}", solid


def watertight(root: Path, count: int) -> Iterator[tuple[str, Solid]]:
    """Up to `count` watertight meshes below `root`, drawn evenly over the categories."""
    for ref in models(root, sys.maxsize):
        if count and (solid := closed(load(root, ref))):
            count -= 1
            yield f"{ref.synset}/{ref.model_id}", solid


def load(root: Path, ref: ModelRef) -> Mesh:
    """The normalised mesh of a model."""
    mesh = meshes.read(ref.read(root), ref.extension)
    return meshes.normalise(mesh, LAYOUTS[ref.layout].rotation)[0]


def closed(mesh: Mesh) -> Solid:
    """The bodies of a watertight mesh; empty if it is not watertight, too large, or its inside is disputed."""
    whole = trimesh.Trimesh(mesh.vertices, mesh.faces, process=True)
    if len(whole.faces) > FACES or not whole.is_watertight:
        return []
    bodies = whole.split(only_watertight=False)
    if len(bodies) > BODIES or not all(body.is_watertight for body in bodies):
        return []
    bare = [Piece(body.vertices, outward(body)) for body in bodies]
    winding, parity = ([replace(piece, contains=test(piece)) for piece in bare] for test in (by_winding, by_parity))
    agreed = iou(held(winding, centres(64)), held(parity, centres(64))) >= AGREEMENT
    return winding if agreed and shut_in(truth(winding, 64)) <= AIR else []


def outward(body: trimesh.Trimesh) -> np.ndarray:
    return np.array(body.faces if body.volume > 0 else body.faces[:, ::-1])


def by_winding(piece: Piece) -> Callable[[np.ndarray], np.ndarray]:
    """Points that a closed piece winds around, by libigl's fast winding number (Barill et al. 2018)."""
    import igl

    faces = np.ascontiguousarray(piece.faces)
    return lambda points: igl.fast_winding_number(piece.vertices, faces, points) > 0.5


def by_parity(piece: Piece) -> Callable[[np.ndarray], np.ndarray]:
    """Points from which most of three rays cross a closed piece an odd number of times, by Open3D."""
    from pipeline.geometry.open3d import o3d, scene

    solid = scene(piece.vertices, piece.faces)
    return lambda points: (
        solid.compute_occupancy(o3d.core.Tensor(points.astype(np.float32)), nthreads=1, nsamples=3).numpy() > 0
    )


def centres(resolution: int) -> np.ndarray:
    """Cell centres (R^3, 3) of the unit cube, in C order."""
    axis = (np.arange(resolution) + 0.5) / resolution - 0.5
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)


def held(solid: Solid, points: np.ndarray) -> np.ndarray:
    """Points (P, 3) that a closed piece holds, (P,) bool."""
    inside = np.zeros(len(points), bool)
    for piece in solid:
        if piece.contains:
            low, high = piece.vertices.min(axis=0), piece.vertices.max(axis=0)
            near = np.flatnonzero(((points >= low) & (points <= high)).all(axis=1) & ~inside)
            inside[near] = piece.contains(points[near]) if len(near) else False
    return inside


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.count_nonzero(a & b) / max(np.count_nonzero(a | b), 1))


def truth(solid: Solid, resolution: int) -> np.ndarray:
    """(R, R, R) bool: centre inside a closed piece, or touched by a surface."""
    grid = held(solid, centres(resolution)).reshape((resolution,) * 3)
    return grid | surface(*joined(solid), resolution)


def shut_in(grid: np.ndarray) -> float:
    """Cells that air from outside does not reach, as a share of those in the grid."""
    return float(np.count_nonzero(binary_fill_holes(grid)) / np.count_nonzero(grid) - 1)


def joined(pieces: Sequence[Piece]) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces of all pieces as one mesh."""
    starts = np.cumsum([0] + [len(piece.vertices) for piece in pieces])
    faces = [piece.faces + start for piece, start in zip(pieces, starts, strict=False)]
    return np.concatenate([piece.vertices for piece in pieces]), np.concatenate(faces)


def broken(solid: Solid, kind: str, name: str, resolution: int) -> tuple[Mesh, np.ndarray] | None:
    """The damaged mesh in the normalised frame and its true grid (R, R, R) bool.

    None where parts and panels shut in air wherever they are put, as a smaller copy of a lampshade within it does.
    """
    for draw in range(DRAWS):
        rng = seeded("damage", kind, name, draw)
        whole = added(solid, kind, rng)
        grid = truth(whole, resolution)
        if shut_in(grid) <= AIR:
            return bereft(whole, kind, rng), grid
    return None


def added(solid: Solid, kind: str, rng: Generator) -> Solid:
    """The solid with what the damage puts into it, normalised."""
    if kind in ("overlapping parts", "all"):
        solid = crowded(solid, rng)
    if kind in ("panels", "all"):
        solid = [*solid, *panels(solid, rng)]
    return normalised(solid)


def bereft(pieces: Solid, kind: str, rng: Generator) -> Mesh:
    """The mesh of the pieces after the damage that leaves the solid as it is."""
    if kind in ("open bottoms", "all"):
        pieces = [bottomless(piece) for piece in pieces]
    if kind in ("holes", "all"):
        pieces = pierced(pieces, rng)
    vertices, faces = joined(pieces)
    if kind in ("doubled", "all"):  # as exporters do that know no two-sided faces: a copy of its own, wound back
        vertices, faces = np.tile(vertices, (2, 1)), np.concatenate([faces, faces[:, ::-1] + len(vertices)])
    if kind in ("flipped", "all"):
        faces = np.where(rng.random((len(faces), 1)) < FLIPPED, faces[:, ::-1], faces)
    return Mesh(vertices, rng.permutation(faces))


def normalised(solid: Solid) -> Solid:
    corners = joined(solid)[0]
    low, high = corners.min(axis=0), corners.max(axis=0)
    scale = EXTENT / (high - low).max()
    return [piece.moved(scale, -scale * (low + high) / 2) for piece in solid]


def crowded(solid: Solid, rng: Generator) -> Solid:
    """With two smaller copies of its largest part, one nested in it and one sticking out of it."""
    largest = max((piece for piece in solid if piece.contains), key=lambda piece: piece.mesh.area)
    low, high = largest.vertices.min(axis=0), largest.vertices.max(axis=0)
    centre, reach = (low + high) / 2, (high - low) / 2
    shift = rng.uniform(0.3, 0.6, 3) * rng.choice([-1, 1], 3) * reach
    return [*solid, largest.moved(0.55, 0.45 * centre), largest.moved(0.7, 0.3 * centre + shift)]


def panels(solid: Solid, rng: Generator) -> list[Piece]:
    """Rectangles of random size within the bounding box, two in three along an axis."""
    corners = joined(solid)[0]
    low, high = corners.min(axis=0), corners.max(axis=0)
    made = []
    for _ in range(PANELS):
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0] if rng.random() < 1 / 3 else rng.permutation(np.eye(3))
        sides = rng.uniform(0.1, 0.4, (2, 1)) * (high - low).max() * turn[:2]
        middle = rng.uniform(low, high)
        square = middle + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) @ sides / 2
        made.append(Piece(np.clip(square, low, high), np.array([[0, 1, 2], [0, 2, 3]])))
    return made


def bottomless(piece: Piece) -> Piece:
    """Without the faces at its bottom that look down, if it is closed."""
    if not piece.contains:
        return piece
    mesh = piece.mesh
    low = mesh.triangles[:, :, 1].max(axis=1) < mesh.bounds[0, 1] + 0.03
    return replace(piece, faces=piece.faces[~((mesh.face_normals[:, 1] < -0.9) & low)])


def pierced(pieces: Solid, rng: Generator) -> Solid:
    """Without what lies within `HOLE_RADIUS` of three points on the surface of the closed pieces."""
    whole = [piece for piece in pieces if piece.contains]
    points = meshes.sample_surface(*joined(whole), HOLES, rng)
    return [_cut(piece, points) if piece.contains else piece for piece in pieces]


def _cut(piece: Piece, points: np.ndarray) -> Piece:
    triangles = piece.vertices[piece.faces]
    gap = np.maximum(triangles.min(axis=1)[:, None] - points, points - triangles.max(axis=1)[:, None]).max(axis=2)
    near = (gap < HOLE_RADIUS).any(axis=1)
    vertices, faces = trimesh.remesh.subdivide_to_size(piece.vertices, piece.faces[near], FINE, max_iter=20)
    away = np.linalg.norm(vertices[faces].mean(axis=1)[:, None] - points, axis=2).min(axis=1) > HOLE_RADIUS
    left = Piece(piece.vertices, piece.faces[~near]), Piece(vertices, faces[away])
    return Piece(*joined(left), piece.contains)
