from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from pipeline.others.files import kind, read
from pipeline.sources import binvox

GRID = np.random.default_rng(0).random((4, 4, 4)) > 0.5


def written(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def archive(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def damaged() -> bytes:
    """An archive whose entry can't be unpacked."""
    file = io.BytesIO()
    np.savez_compressed(file, points=np.arange(300.0).reshape(-1, 3))
    data = file.getvalue()
    return data[:60] + bytes(byte ^ 90 for byte in data[60:160]) + data[160:]


def array(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


@pytest.mark.parametrize("ending", ["obj", "off", "ply", "stl", "glb"])
def test_meshes_of_all_formats(tmp_path, ending):
    box = trimesh.creation.box((0.2, 0.4, 0.6)).apply_translation((1, 2, 3))
    found = read(written(tmp_path, f"a.{ending.upper()}", box.export(file_type=ending)))
    assert kind(found) == "a mesh"
    assert found.mesh is not None
    vertices, faces = found.mesh
    np.testing.assert_allclose([vertices.min(0), vertices.max(0)], box.bounds, atol=1e-6)
    assert trimesh.Trimesh(vertices, faces).area == pytest.approx(box.area, rel=1e-5)


@pytest.mark.parametrize("ending", ["obj", "off", "ply", "glb", "xyz", "npy", "npz"])
def test_points_of_all_formats(tmp_path, ending):
    points = np.random.default_rng(1).random((50, 3))
    texts: dict[str, Any] = {
        "obj": "".join(f"v {x} {y} {z}\n" for x, y, z in points),
        "xyz": "".join(f"{x} {y} {z} 0 0 1\n" for x, y, z in points),
        "off": "OFF\n50 0 0\n" + "".join(f"{x} {y} {z}\n" for x, y, z in points),
        "npy": array(points[None]),
        "npz": archive(points=points, colours=points),
    }
    data = texts[ending] if ending in texts else trimesh.PointCloud(points).export(file_type=ending)
    found = read(written(tmp_path, f"a.{ending}", data))
    assert kind(found) == "points" and found.points is not None
    np.testing.assert_allclose(found.points, points, atol=1e-6)


@pytest.mark.parametrize("name", ["a.binvox", "a.npy", "a.npz", "b.npz"])
def test_grids_of_all_formats(tmp_path, name):
    data = {
        "a.binvox": binvox.write(GRID, np.array([3, 4, 5]), 7.0),
        "a.npy": array(GRID[None, None].astype(np.float64)),
        "a.npz": archive(prediction=GRID),
        "b.npz": archive(occupancy=~GRID, probability=GRID.astype(np.float32), scale=np.array(1.0)),
    }
    found = read(written(tmp_path, name, data[name]))
    assert kind(found) == "a grid of 4"
    np.testing.assert_array_equal(found.field, GRID)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.npy", array(np.zeros((4, 4, 5))), r"expected points \(P, 3\) or a grid .* got \(4, 4, 5\)"),
        ("a.npy", array(np.full((4, 4, 4), -2.0)), "from -2 to -2"),
        ("a.npy", array(np.full((9, 3), np.nan)), "expected finite numbers, got nan"),
        ("a.npy", array(np.full((9, 3), 1e300)), "expected finite numbers, got inf"),
        ("a.obj", "v 0 0 0\nv 1e300 0 0\nv 0 1e300 0\nf 1 2 3\n", "expected finite numbers, got inf"),
        ("a.npy", array(np.array(["a"])), "expected numbers, got <U1"),
        ("a.npy", b"", "expected arrays of NumPy"),
        ("a.npz", archive(a=GRID, b=GRID), "expected one array or probability, occupancy, points, got a, b"),
        ("a.npz", damaged(), "expected arrays of NumPy, got error: "),
        ("a.npy", array(GRID).replace(b"}", b"("), "expected arrays of NumPy, got "),
        ("a.obj", "", "expected"),
        ("a.ply", "ply\n", "expected"),
        ("a.xyz", "1 2\n", "column"),
    ],
)
def test_what_is_no_shape_is_refused(tmp_path, name, data, message):
    with pytest.raises(ValueError, match=message):
        read(written(tmp_path, name, data))
