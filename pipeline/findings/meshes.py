"""Meshes and point clouds, of any format that the project reads or writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.findings.finding import Check, Finding
from pipeline.geometry.finish import pieces, volume_shares
from pipeline.geometry.formats import HALF_TURN
from pipeline.geometry.meshes import EXTENT, FORMATS, MeshError, load, normalise
from pipeline.geometry.meshes import Mesh as Triangles
from pipeline.geometry.meshes import points as points_of
from pipeline.geometry.readers.accessors import ENDINGS
from pipeline.geometry.readers.points import EXTENSIONS
from pipeline.pages.pictures import Surface, both_sides, dots

CLOSE = 1e-3  # of the longest side: how far a shape may be from a frame that it is said to be in
DOTS = 3000  # points of a cloud in a picture
# Reasons of a MeshError; the others are faults of a mesh that was read.
UNREADABLE = ("unreadable", "truncated", "bad_count", "unsupported", "compression", "missing_file")
MAYBE_POINTS = ("no_faces", "unreadable")


def look(path: Path) -> Finding:
    """What a mesh or a point cloud is like; ValueError where the file can't be read."""
    extension = path.suffix[1:].lower()
    try:
        if extension in EXTENSIONS and (cloud := points_of(path)) is not None:
            return _cloud(cloud, extension)
        mesh = load(path)
    except MeshError as error:
        points = points_of(path) if error.reason in MAYBE_POINTS and extension in FORMATS else None
        if points is not None and len(points):
            return _cloud(points, extension)
        if error.reason in UNREADABLE:
            raise ValueError(f"{path}: {error}") from error
        return Finding("mesh", {}, [Check("it has faces with an area", f"{error.reason}: {error}")])
    return _mesh(mesh, extension)


def _cloud(points: np.ndarray, extension: str) -> Finding:
    finite = points[np.isfinite(points).all(axis=1)]
    lost = len(points) - len(finite)
    facts = {"points": f"{len(points):,}"} | (frame(finite, extension) if len(finite) else {})
    checks = [Check("all points are finite", f"{lost} of {len(points)} are not" if lost else "")]
    shown = dots(_shown(finite, extension)[:DOTS]) if len(finite) else None
    return Finding("point cloud", facts, checks, (lambda: both_sides(shown)) if shown else None)


def _mesh(mesh: Triangles, extension: str) -> Finding:
    corners, faces = welded(mesh)
    own = pieces(len(corners), faces)
    once, often, unlike, total = edges(faces)
    twice = len(faces) - len(np.unique(np.sort(faces, axis=1), axis=0))
    closed = not once and not often
    volume = float(volume_shares(corners, faces).sum())
    facts = {
        "triangles": f"{len(faces):,}, of {len(mesh.vertices):,} vertices at {len(corners):,} places",
        "pieces": f"{len(np.unique(own)):,}",
        "volume": f"{volume:.4g}" if closed and not unlike else "none is enclosed",
        **frame(mesh.vertices, extension),
    }
    open_edges = f"{once:,} of {total:,} edges have one face" if once else ""
    many = f"{often:,} of {total:,} edges have more than two" if often else ""
    inwards = volume < 0 if closed and not unlike else False
    checks = [
        Check("watertight, every edge between two faces", ", ".join(filter(None, (open_edges, many)))),
        Check("neighbours are wound alike", f"across {unlike:,} of {total:,} edges they are not" if unlike else ""),
        Check("faces are turned outwards", "they are turned inwards" if inwards else ""),
        Check("no face is there twice", f"{twice:,} of {len(faces):,} are" if twice else ""),
    ]
    surface = _shown(mesh.vertices, extension), mesh.faces
    return Finding("mesh", facts, checks, lambda: both_sides(normalised(surface)))


def welded(mesh: Triangles) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (N, 3), each place once, and the faces (M, 3) that still have three corners then."""
    corners, found = np.unique(mesh.vertices, axis=0, return_inverse=True)
    faces = found.reshape(-1)[mesh.faces]
    return corners, faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]


def edges(faces: np.ndarray) -> tuple[int, int, int, int]:
    """How many edges have one face, more than two, and two that are wound against each other; and the number of all."""
    ends = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2).astype(np.int64)
    sides, found, count = np.unique(np.sort(ends, axis=1), axis=0, return_inverse=True, return_counts=True)
    there = np.bincount(found.reshape(-1), ends[:, 0] < ends[:, 1], len(sides))
    unlike = (count == 2) & (there != 1)
    return int((count == 1).sum()), int((count > 2).sum()), int(unlike.sum()), len(sides)


def frame(vertices: np.ndarray, extension: str) -> dict[str, str]:
    """Where a shape lies and how large it is."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    longest, centre = (high - low).max(), (low + high) / 2
    centred = np.abs(centre).max() <= CLOSE * longest
    sizes = {EXTENT: "the normalised frame: centred, longest side 15/16", 1.0: "centred, longest side 1"}
    known = [words for size, words in sizes.items() if centred and abs(longest - size) <= CLOSE]
    where = ", ".join(f"{value:.4g}" for value in centre + 0.0)
    axes = "+Y up, front at +Z, as glTF has it" if extension in ENDINGS else "axes are not told by this format"
    return {
        "size": " x ".join(f"{side:.4g}" for side in high - low) + " (x, y, z)",
        "frame": f"{known[0] if known else f'its own: centre at ({where}), longest side {longest:.4g}'}; {axes}",
    }


def _shown(vertices: np.ndarray, extension: str) -> np.ndarray:
    """Vertices with the front at -Z, where the format says where the front is."""
    return vertices * HALF_TURN if extension in ENDINGS else vertices


def normalised(surface: Surface) -> Surface:
    """A surface in the normalised frame, whatever its size, to be drawn."""
    mesh, _ = normalise(Triangles(np.asarray(surface[0], np.float64), surface[1]))
    return mesh.vertices, mesh.faces
