r"""Meshes: bytes -> triangles -> the normalised frame that views, grids and points share.

        +Y up
         |   .-' -Z front
  .------|------.        The unit cube [-0.5, 0.5]^3. A mesh is moved and scaled, not turned (unless its
 /|      |.-'  /|        source has other axes): its bounding box is centred at the origin and the box's
.-------------. |        longest side is 15/16. So there is a free margin of 1/32 all round, which is one
| |     o-----|-|-- +X   cell at R = 32 and two at R = 64.
| '-----------|-'
|/            |/         Cell (i, j, k) of a grid of R^3 has its centre at ((i, j, k) + 0.5) / R - 0.5;
'-------------'          i runs along +X, j along +Y, k along +Z.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.geometry import bundles

BLOCK = 1 << 23  # bytes of an OBJ file that are split into lines at a time
EXTENT = 15 / 16  # longest side of the bounding box in the normalised frame


class MeshError(ValueError):
    """A mesh that can't be used; `reason` is a short code for tables, the message says what was found."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[MeshError], tuple[str, str]]:  # crosses process borders
        return MeshError, (self.reason, str(self))


@dataclass(frozen=True)
class Mesh:
    """Triangles: vertices (N, 3) float64, faces (M, 3) int64 indices into them."""

    vertices: np.ndarray
    faces: np.ndarray


def read(data: bytes, extension: str) -> Mesh:
    """A usable mesh from the bytes of a file: polygons made triangles, unused vertices and zero-area faces gone.

    Args:
        data: the file's content.
        extension: its format, `obj` or another that trimesh reads, or that of a bundle of parts.

    Raises:
        MeshError: `unreadable` (not of this format), `truncated`, `no_faces`, `bad_index` (faces refer to vertices that
            are not there), `not_finite`, `no_area` (all faces degenerate).
    """
    if extension == bundles.EXTENSION:
        return _joined(bundles.opened(data))
    vertices, faces = read_obj(data) if extension == "obj" else _read_other(data, extension)
    if not len(faces):
        raise MeshError("no_faces", f"expected faces, found none among {len(vertices)} vertices")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise MeshError(
            "bad_index",
            f"expected vertex indices in 0..{len(vertices) - 1}, got {faces.min()}..{faces.max()}",
        )
    used, faces = np.unique(faces, return_inverse=True)
    vertices, faces = vertices[used], faces.reshape(-1, 3)
    if not np.isfinite(vertices).all():
        count = int((~np.isfinite(vertices)).any(axis=1).sum())
        raise MeshError("not_finite", f"expected finite vertices, got {count} with NaN or infinity")
    extent = np.ptp(vertices, axis=0).max()
    # Relative to the size, so that a mesh in any unit is judged alike.
    corners = vertices[faces] / (extent or 1.0)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    faces = faces[np.abs(normals).max(axis=1) > 1e-12]
    if not len(faces):
        raise MeshError("no_area", f"expected a face with an area, got {len(normals)} degenerate ones")
    used, faces = np.unique(faces, return_inverse=True)
    return Mesh(vertices[used], faces.reshape(-1, 3))


def _joined(parts: Iterable[tuple[str, bytes]]) -> Mesh:
    """One mesh of several files, by name and content; those without a face that has an area are passed over."""
    found, empty = [], MeshError("no_faces", "expected parts of a mesh, found none")
    for name, data in parts:
        try:
            found.append(read(data, name.rpartition(".")[2].lower()))
        except MeshError as error:
            empty = MeshError(error.reason, f"{name}: {error}")
            if error.reason not in ("no_faces", "no_area"):
                raise empty from error
    if not found:
        raise empty
    starts = np.cumsum([0, *(len(part.vertices) for part in found[:-1])])
    faces = [part.faces + start for part, start in zip(found, starts, strict=True)]
    return Mesh(np.concatenate([part.vertices for part in found]), np.concatenate(faces))


def normalise(mesh: Mesh, rotation: np.ndarray | None = None) -> tuple[Mesh, np.ndarray]:
    """Brings a mesh into the frame drawn above.

    Args:
        rotation: (3, 3) from the source's axes to +Y up, -Z front; the identity where they agree.

    Returns:
        The mesh, and the (4, 4) float64 affine from the normalised frame back to the source's.
    """
    rotation = np.eye(3) if rotation is None else rotation
    turned = mesh.vertices @ rotation.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    centre, scale = (low + high) / 2, EXTENT / (high - low).max()
    affine = np.eye(4)
    affine[:3, :3] = rotation.T / scale
    affine[:3, 3] = rotation.T @ centre
    return Mesh((turned - centre) * scale, mesh.faces), affine


def stretched(mesh: Mesh, affine: np.ndarray, factors: Sequence[float]) -> tuple[Mesh, np.ndarray]:
    """A normalised mesh stretched along its axes and normalised again.

    Args:
        affine: from its normalised frame to the source's.
        factors: of x, y and z, none of them 0; where the product is negative, it is mirrored, with its faces turned.

    Returns:
        The mesh, and the affine (4, 4) from its normalised frame to the source's, where it lies on the mesh as found.
    """
    scales = np.asarray(factors, np.float64)
    faces = mesh.faces if scales.prod() > 0 else mesh.faces[:, ::-1]
    moved, back = normalise(Mesh(mesh.vertices * scales, faces))
    return moved, affine @ np.diag([*1 / scales, 1]) @ back


def sample_surface(vertices: np.ndarray, faces: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Independent random points on triangles, uniform by area.

    Args:
        vertices: (N, 3) float.
        faces: (M, 3) int, M >= 1.
        count: number of points.

    Returns:
        (count, 3) float32, in the frame of the vertices.

    Raises:
        ValueError: there is no area to sample from.
    """
    corners = vertices.astype(np.float64)[faces]
    sides = corners[:, 1:] - corners[:, :1]
    area = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1)
    if not area.sum() > 0:
        raise ValueError(f"sample_surface: expected triangles with an area, got {len(faces)} without")
    chosen = rng.choice(len(faces), count, p=area / area.sum())
    a, b = rng.random((2, count, 1))
    a, b = np.where(a + b > 1, 1 - a, a), np.where(a + b > 1, 1 - b, b)
    return (corners[chosen, 0] + a * sides[chosen, 0] + b * sides[chosen, 1]).astype(np.float32)


_CONTINUED = re.compile(rb"\\\r?\n")
_ATTRIBUTES = re.compile(rb"/[^\s]*")  # texture and normal indices of a face's corner


def read_obj(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N, 3) float64 and triangles (M, 3) int64, 0-based and not checked, of a Wavefront OBJ file.

    Only `v` and `f` are read. Polygons become fans; indices may be negative (relative to the vertices so far). Unlike
    trimesh's reader it tells a file cut in the middle of a statement (a cut that leaves a whole statement can't be
    told), mixed `v` and `v//vn` corners, and index 0 (returned as -1, so that the range check finds it). Faces of fewer
    than three corners inside the file are dropped, as other readers do.

    Raises:
        MeshError: `unreadable` for malformed numbers, `truncated` where the last statement stops half-way and no line
            end follows.
    """
    if b"\\" in data:
        data = _CONTINUED.sub(b" ", data)
    last = data[max(data.rfind(b"\n"), data.rfind(b"\r")) + 1 :]
    if last[:1] in (b"f", b"v") and len(last.split()) < (4 if last[1:2].isspace() else 3):
        raise MeshError("truncated", f"expected a whole last line, got '{last.decode('ascii', 'replace')}'")
    vertices, indices, counts = [np.zeros((0, 3))], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    known = 0
    for block in _blocks(data):
        lines = block.splitlines()
        positions = _positions([line[1:] for line in lines if line[:2] in (b"v ", b"v\t")])
        corners, sizes = _corners([line[1:] for line in lines if line[:2] in (b"f ", b"f\t")])
        if corners.size and corners.min() < 0:
            corners = _absolute(lines, corners, sizes, known)
        known += len(positions)
        for whole, part in ((vertices, positions), (indices, corners), (counts, sizes)):
            whole.append(part)
    return np.concatenate(vertices), _fans(np.concatenate(indices) - 1, np.concatenate(counts))


def _blocks(data: bytes) -> Iterator[bytes]:
    """The lines of a file, some megabytes at a time: as Python's objects they take twenty times the room."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start + BLOCK) + 1 or len(data)
        yield data[start:end]
        start = end


def _positions(lines: list[bytes]) -> np.ndarray:
    """The first three numbers of each line; a line may carry a weight or a colour as well."""
    columns = len(lines[0].split()) if lines else 3
    try:
        numbers = np.array(b" ".join(lines).split(), dtype=np.float64)
        if columns >= 3 and numbers.size == columns * len(lines):
            return numbers.reshape(-1, columns)[:, :3]
        return np.array([line.split()[:3] for line in lines], dtype=np.float64).reshape(-1, 3)
    except ValueError as error:
        raise MeshError("unreadable", f"expected three numbers a vertex, got {error}") from error


def _corners(lines: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Vertex indices of all faces, flat, and the number of corners of each face; faces of under three left out."""
    text = b"\n".join(lines)
    if b"/" in text:
        text = _ATTRIBUTES.sub(b"", text)
    corners = [line.split() for line in text.split(b"\n")] if lines else []
    counts = np.array([len(corner) for corner in corners], dtype=np.int64)
    try:
        indices = np.array([index for corner in corners for index in corner], dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise MeshError("unreadable", f"expected integer vertex indices, got {error}") from error
    whole = counts >= 3
    return indices[np.repeat(whole, counts)], counts[whole]


def _absolute(lines: list[bytes], indices: np.ndarray, counts: np.ndarray, known: int) -> np.ndarray:
    """Resolves negative indices, which count back from the last vertex before the face; `known` precede the lines."""
    is_vertex = np.array([line[:2] in (b"v ", b"v\t") for line in lines])
    is_face = np.array([line[:2] in (b"f ", b"f\t") and len(line.split()) > 3 for line in lines])
    before = known + np.repeat(np.cumsum(is_vertex)[is_face], counts)
    return np.where(indices < 0, before + 1 + indices, indices)


def _fans(indices: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Triangles of polygons given flat, `counts` corners each."""
    starts = np.cumsum(counts) - counts
    triangles = []
    for count in np.unique(counts):
        polygons = indices[starts[counts == count][:, None] + np.arange(count)]
        first = np.repeat(polygons[:, :1], count - 2, axis=1)
        triangles.append(np.stack([first, polygons[:, 1:-1], polygons[:, 2:]], axis=-1).reshape(-1, 3))
    return np.concatenate(triangles) if triangles else np.zeros((0, 3), np.int64)


def _read_other(data: bytes, extension: str) -> tuple[np.ndarray, np.ndarray]:
    import trimesh

    try:
        mesh = trimesh.load_mesh(io.BytesIO(data), file_type=extension, process=False)
        return np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64).reshape(-1, 3)
    except Exception as error:  # trimesh's readers raise whatever their parsers raise
        raise MeshError("unreadable", f"expected {extension}, got {type(error).__name__}: {error}") from error
