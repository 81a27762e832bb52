"""Meshes and point clouds -> the bytes of a file, so that nobody waits for a mesh library to write one.

Vertices are written in float32. All formats keep the axes that they are given, but for GLB: glTF 2.0 has +Y up and the
front at +Z, the normalised frame (`meshes.py`) the front at -Z, so that there everything is turned by half about Y.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

import numpy as np

from pipeline.geometry.finish import vertex_normals

HALF_TURN = np.array([-1, 1, -1], np.float32)  # about Y, and its own inverse
GRAY = [0.7, 0.7, 0.7, 1.0]
TRIANGLES, POINTS = 4, 0  # modes of glTF
FLOAT, UINT32 = 5126, 5125  # its component types
Faces = np.ndarray | None  # (M, 3), counter-clockwise seen from outside; of a point cloud None


def glb(vertices: np.ndarray, faces: Faces) -> bytes:
    """glTF 2.0 in one file: a mesh with normals and a matt gray material, or points."""
    points = np.ascontiguousarray(vertices * HALF_TURN, np.float32)
    bounds = {"min": points.min(axis=0).tolist(), "max": points.max(axis=0).tolist()}
    parts = [points.tobytes()]
    accessors = [{"componentType": FLOAT, "count": len(points), "type": "VEC3", **bounds}]
    attributes = {"POSITION": 0}
    primitive = {"attributes": attributes, "mode": POINTS if faces is None else TRIANGLES, "material": 0}
    if faces is not None:
        attributes["NORMAL"], primitive["indices"] = 1, 2
        accessors.append({"componentType": FLOAT, "count": len(points), "type": "VEC3"})
        accessors.append({"componentType": UINT32, "count": faces.size, "type": "SCALAR"})
        parts += [vertex_normals(points, faces).tobytes(), faces.astype("<u4").tobytes()]
    starts = np.cumsum([0, *map(len, parts)]).tolist()  # every part is a multiple of 4 bytes long
    pbr = {"baseColorFactor": GRAY, "metallicFactor": 0.0, "roughnessFactor": 0.8}
    told = {
        "asset": {"version": "2.0", "generator": "oneview"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "shape"}],
        "meshes": [{"primitives": [primitive]}],
        "materials": [{"name": "gray", "pbrMetallicRoughness": pbr}],
        "accessors": [{"bufferView": place, **accessor} for place, accessor in enumerate(accessors)],
        "bufferViews": [
            {"buffer": 0, "byteOffset": start, "byteLength": len(part)}
            for start, part in zip(starts[:-1], parts, strict=True)
        ],
        "buffers": [{"byteLength": starts[-1]}],
    }
    data = b"".join(parts)
    text = json.dumps(told, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = b"".join(struct.pack("<I4s", len(part), kind) + part for part, kind in ((text, b"JSON"), (data, b"BIN\0")))
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def obj(vertices: np.ndarray, faces: Faces) -> bytes:
    """Wavefront OBJ."""
    return _lines("v %.7g %.7g %.7g", vertices) + (b"" if faces is None else _lines("f %d %d %d", faces + 1))


def off(vertices: np.ndarray, faces: Faces) -> bytes:
    """Object File Format."""
    triangles = np.zeros((0, 3), int) if faces is None else faces
    head = f"OFF\n{len(vertices)} {len(triangles)} 0\n".encode()
    return head + _lines("%.7g %.7g %.7g", vertices) + _lines("3 %d %d %d", triangles)


def ply(vertices: np.ndarray, faces: Faces) -> bytes:
    """Stanford PLY, binary."""
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    head += [f"property float {axis}" for axis in "xyz"]
    body = vertices.astype("<f4").tobytes()
    if faces is not None:
        head += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
        rows = np.empty(len(faces), [("count", "u1"), ("corners", "<i4", 3)])
        rows["count"], rows["corners"] = 3, faces
        body += rows.tobytes()
    return "\n".join([*head, "end_header", ""]).encode() + body


def stl(vertices: np.ndarray, faces: Faces) -> bytes:
    """STL, binary; ValueError for a point cloud, which it can't hold."""
    if faces is None:
        raise ValueError("stl: expected a mesh, got points")
    corners = vertices[faces].astype("<f4")
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    rows = np.zeros(len(faces), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("rest", "<u2")])
    rows["normal"] = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    rows["corners"] = corners
    return b"oneview".ljust(80) + struct.pack("<I", len(faces)) + rows.tobytes()


def xyz(vertices: np.ndarray, faces: Faces) -> bytes:
    """Three numbers a line; faces are left out."""
    return _lines("%.7g %.7g %.7g", vertices)


def _lines(form: str, rows: np.ndarray) -> bytes:
    return ((form + "\n") * len(rows) % tuple(rows.ravel().tolist())).encode()


Encode = Callable[[np.ndarray, Faces], bytes]
MESHES: dict[str, Encode] = {".glb": glb, ".obj": obj, ".off": off, ".ply": ply, ".stl": stl}
CLOUDS: dict[str, Encode] = {".glb": glb, ".obj": obj, ".ply": ply, ".xyz": xyz}
