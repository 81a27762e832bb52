from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
import trimesh

from pipeline.geometry import formats

WEDGE = trimesh.creation.box((1, 2, 3)).subdivide()
WEDGE.vertices[:, 0] += 0.25 * WEDGE.vertices[:, 2]  # no symmetry of a box is its
POINTS = np.random.default_rng(0).random((50, 3), np.float32)


def front(points: np.ndarray, suffix: str) -> np.ndarray:
    """Where points of the normalised frame are in a file: in glTF the front is at +Z."""
    return points * [-1, 1, -1] if suffix == ".glb" else points


@pytest.mark.parametrize("suffix", formats.MESHES)
def test_trimesh_reads_the_mesh(suffix: str) -> None:
    data = formats.MESHES[suffix](WEDGE.vertices, WEDGE.faces)
    read = trimesh.load_mesh(io.BytesIO(data), file_type=suffix[1:], process=False)
    assert np.allclose(read.triangles, front(WEDGE.triangles, suffix), atol=1e-6)
    merged = trimesh.load_mesh(io.BytesIO(data), file_type=suffix[1:])
    assert merged.is_watertight and merged.is_winding_consistent
    assert merged.volume == pytest.approx(WEDGE.volume, rel=1e-5)


@pytest.mark.parametrize("suffix", formats.CLOUDS)
def test_trimesh_reads_the_points(suffix: str) -> None:
    data = formats.CLOUDS[suffix](POINTS, None)
    (read,) = trimesh.load_scene(io.BytesIO(data), file_type=suffix[1:]).geometry.values()
    assert isinstance(read, trimesh.PointCloud)
    assert np.allclose(read.vertices, front(POINTS, suffix), atol=1e-6)


def parts(data: bytes) -> tuple[dict, bytes]:
    """The JSON of a GLB, and its binary part."""
    length = int.from_bytes(data[12:16], "little")
    return json.loads(data[20 : 20 + length]), data[28 + length :]


def test_a_glb_has_normals_and_a_matt_material() -> None:
    data = formats.glb(WEDGE.vertices, WEDGE.faces)
    told, buffer = parts(data)
    view = told["bufferViews"][told["meshes"][0]["primitives"][0]["attributes"]["NORMAL"]]
    normals = np.frombuffer(buffer, "<f4", view["byteLength"] // 4, view["byteOffset"]).reshape(-1, 3)
    mean = WEDGE.face_normals * WEDGE.area_faces[:, None]
    expected = np.zeros(WEDGE.vertices.shape)
    np.add.at(expected, WEDGE.faces.ravel(), mean.repeat(3, axis=0))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.allclose(normals, expected * [-1, 1, -1], atol=1e-5)
    read: Any = trimesh.load_mesh(io.BytesIO(data), file_type="glb", process=False)
    material = read.visual.material
    assert material.metallicFactor == 0 and material.roughnessFactor == 0.8
    assert np.allclose(material.baseColorFactor[:3], 255 * 0.7, atol=1)


def test_the_front_of_a_glb_is_at_positive_z() -> None:
    """What lies at -Z, the front of the normalised frame, and to the right of who stands there."""
    nose = np.array([[0, 0, -0.5], [0.1, 0, -0.4], [0, 0.1, -0.4]])
    found = trimesh.load_mesh(io.BytesIO(formats.glb(nose, np.array([[0, 1, 2]]))), file_type="glb", process=False)
    assert np.allclose(found.vertices, [[0, 0, 0.5], [-0.1, 0, 0.4], [0, 0.1, 0.4]])


def test_the_parts_of_a_glb_are_where_it_says() -> None:
    data = formats.glb(WEDGE.vertices, WEDGE.faces)
    told, buffer = parts(data)
    assert int.from_bytes(data[8:12], "little") == len(data) and len(data) % 4 == 0
    position = told["accessors"][0]
    points = np.frombuffer(buffer, "<f4", position["count"] * 3).reshape(-1, 3)
    assert np.allclose(points.min(axis=0), position["min"]) and np.allclose(points.max(axis=0), position["max"])
    assert sum(view["byteLength"] for view in told["bufferViews"]) == told["buffers"][0]["byteLength"] == len(buffer)


def test_an_stl_can_not_hold_points() -> None:
    with pytest.raises(ValueError, match="stl: expected a mesh, got points"):
        formats.stl(POINTS, None)
