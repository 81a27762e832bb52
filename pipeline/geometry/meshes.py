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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.geometry import bundles
from pipeline.geometry.errors import MeshError as MeshError
from pipeline.geometry.readers import accessors, collada, gltf, obj, off, ply, stl, threemf, xaml
from pipeline.geometry.readers import points as text_points
from pipeline.geometry.zips import proved

EXTENT = 15 / 16  # longest side of the bounding box in the normalised frame


@dataclass(frozen=True)
class Mesh:
    """Triangles: vertices (N, 3) float64, faces (M, 3) int64 indices into them."""

    vertices: np.ndarray
    faces: np.ndarray


def _by_trimesh(extension: str, check: Callable[[bytes], object]) -> Callable[[bytes], tuple[np.ndarray, np.ndarray]]:
    def read(data: bytes) -> tuple[np.ndarray, np.ndarray]:
        import trimesh

        check(data)
        mesh = trimesh.load_mesh(io.BytesIO(data), file_type=extension, process=False)
        return np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64).reshape(-1, 3)

    return read


# By the names' ends: bytes -> positions (N, 3) and triangles (M, 3), not checked.
FORMATS: dict[str, Callable[[bytes], tuple[np.ndarray, np.ndarray]]] = {
    "3dxml": _by_trimesh("3dxml", proved),
    "3mf": threemf.read,
    "dae": collada.read,
    "glb": gltf.read,
    "gltf": gltf.read,
    "obj": obj.read,
    "off": off.read,
    "ply": ply.read,
    "stl": stl.read,
    "stl_ascii": stl.read,
    "xaml": _by_trimesh("xaml", xaml.refuse_moves),
    "zae": collada.read_zipped,
}


def read(data: bytes, extension: str) -> Mesh:
    """A usable mesh from the bytes of a file: polygons made triangles, unused vertices and zero-area faces gone.

    Args:
        data: the file's content.
        extension: its format, one of FORMATS, or that of a bundle of parts.

    Raises:
        MeshError: `unreadable` (not of this format), `truncated`, `bad_count` (more is there than announced),
            `unsupported` (the shape is told in a way that is not read here; the message names it), `compression` (that
            can't be undone here), `missing_file` (another that it consists of), `no_faces`, `bad_index` (faces refer to
            vertices that are not there), `not_finite`, `no_area` (all faces degenerate).
    """
    if extension == bundles.EXTENSION:
        return _joined(bundles.opened(data))
    if extension not in FORMATS:
        raise MeshError("unsupported", f"expected one of {', '.join(FORMATS)}, got '{extension}'")
    try:
        vertices, faces = FORMATS[extension](data)
    except (MeshError, MemoryError):
        raise
    except Exception as error:  # of structures that a format does not allow, whatever comes of looking into them
        raise MeshError("unreadable", f"expected {extension}, got {type(error).__name__}: {error}") from error
    if not len(faces):
        raise MeshError("no_faces", f"expected faces, found none among {len(vertices)} vertices")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise MeshError(
            "bad_index",
            f"expected vertex indices in 0..{len(vertices) - 1}, got {faces.min()}..{faces.max()}",
        )
    vertices, faces = _used(vertices, faces)
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
    return Mesh(*_used(vertices, faces))


def load(path: Path) -> Mesh:
    """As `read`, of a file on disk, of glTF with what lies beside it; OSError where one can't be read."""
    return read(_whole(path), path.suffix[1:].lower())


def points(path: Path) -> np.ndarray | None:
    """Positions (P, 3) float64 in a file on disk that has no faces; None where there are none that can be read.

    Raises:
        MeshError: as `readers/points.py`, of text.
    """
    import trimesh

    if path.suffix[1:].lower() in text_points.EXTENSIONS:
        return text_points.read(path.read_bytes())
    try:
        if (extension := path.suffix[1:].lower()) in ("obj", "off", "ply"):
            return FORMATS[extension](_whole(path))[0]
        data = io.BytesIO(_whole(path))
        parts = trimesh.load_scene(data, file_type=extension, process=False).dump()
    except MemoryError:
        raise
    except Exception:  # trimesh's readers raise whatever their parsers raise
        return None
    found = [np.asarray(part.vertices, np.float64) for part in parts if isinstance(part, trimesh.PointCloud)]
    return np.concatenate(found) if found else None


def _whole(path: Path) -> bytes:
    """A file on disk, of glTF with what lies beside it in it."""
    data = path.read_bytes()
    if path.suffix[1:].lower() not in accessors.ENDINGS:
        return data
    files = {name: path.parent / name for name in accessors.files(data)}
    if lost := [name for name, file in files.items() if not file.is_file()]:  # a device has no end
        raise MeshError("missing_file", f"expected a file {lost[0]!r} beside the mesh, found none")
    return accessors.bundled(data, {name: file.read_bytes() for name, file in files.items()})


def _used(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The vertices that faces have, in their order, and the faces as indices of those."""
    used = np.zeros(len(vertices), bool)
    used[faces] = True
    return vertices[used], (np.cumsum(used) - 1)[faces]


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
