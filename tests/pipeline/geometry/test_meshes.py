from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh

from pipeline.geometry import meshes
from pipeline.geometry.meshes import EXTENT, Mesh, MeshError

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"


def obj(text: str) -> Mesh:
    return meshes.read(text.encode(), "obj")


def area(mesh: Mesh) -> float:
    return float(trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).area)


@pytest.mark.parametrize(
    "text",
    [
        TRIANGLE + "f 1 2 3\n",
        TRIANGLE + "f 1 2 3",
        TRIANGLE + "f -3 -2 -1\nv 5 5 5\n",
        TRIANGLE + "f 1/1/1 2//4 3/2\r\n",
        TRIANGLE + "vt 0 0\nvn 0 0 1\no a\ng b c\ns off\nusemtl d\nl 1 2\nf 1 2 \\\n3\nf 1 2\n",
        "v 0 0 0 1 0 0\nv 1 0 0\nv 0 1 0 0.5\nf 1 2 3\nf 1 1 2\n",
        "# comment\n#\tv 9 9 9\n \tv\t0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
    ],
)
def test_one_triangle_however_it_is_written(text: str) -> None:
    mesh = obj(text)
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert mesh.faces.tolist() == [[0, 1, 2]]


def test_negative_indices_count_from_the_face() -> None:
    mesh = obj(TRIANGLE + "f -3 -2 -1\nv 0 0 1\nv 1 0 1\nv 0 1 1\nf -3 -2 -1\n")
    assert mesh.vertices[mesh.faces][:, :, 2].tolist() == [[0, 0, 0], [1, 1, 1]]


def test_polygons_become_triangles_of_the_same_area() -> None:
    square_and_pentagon = (
        "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1 2 3 4\n" + "v 0 0 2\nv 2 0 2\nv 3 1 2\nv 1 2 2\nv 0 1 2\nf 5 6 7 8 9\n"
    )
    # The pentagon by the shoelace formula: (0*0-2*0 + 2*1-3*0 + 3*2-1*1 + 1*1-0*2 + 0*0-0*1) / 2 = 4.
    mesh = obj(square_and_pentagon)
    assert len(mesh.faces) == 2 + 3 and area(mesh) == pytest.approx(1 + 4)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no_faces"),
        ("v 0 0 0\n", "no_faces"),
        ("\x00\x01\x7f" * 50, "unreadable"),
        (TRIANGLE + "f 1 2 4\n", "bad_index"),
        (TRIANGLE + "f 0 1 2\n", "bad_index"),
        (TRIANGLE + "f -4 1 2\n", "bad_index"),
        (TRIANGLE + "f 1 2", "truncated"),
        (TRIANGLE + "f 1 2 3\nv 0 1", "truncated"),
        (TRIANGLE + "f 1 2 x\n", "unreadable"),
        (TRIANGLE + "f 1 2 99999999999999999999\n", "unreadable"),
        ("v 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "unreadable"),
        ("v 0 0 a\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "unreadable"),
        ("v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "not_finite"),
        ("v 0 inf 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "not_finite"),
        (TRIANGLE + "f 1 1 2\n", "no_area"),
        ("v 0 0 0\nv 1 1 1\nv 2 2 2\nf 1 2 3\n", "no_area"),
    ],
)
def test_each_defect_has_its_reason(text: str, reason: str) -> None:
    with pytest.raises(MeshError, match="expected") as caught:
        obj(text)
    assert caught.value.reason == reason


def test_unused_broken_vertices_do_no_harm() -> None:
    assert len(obj("v nan nan nan\n" + TRIANGLE + "f 2 3 4\n").vertices) == 3


def test_other_formats() -> None:
    box = trimesh.creation.box((1, 2, 3))
    mesh = meshes.read(box.export(file_type="ply"), "ply")
    assert area(mesh) == pytest.approx(22)
    with pytest.raises(MeshError) as caught:
        meshes.read(b"not a ply", "ply")
    assert caught.value.reason == "unreadable"


def test_normalised_box_and_the_way_back() -> None:
    mesh = Mesh(np.array([[1.0, 2, 3], [5, 2, 3], [1, 10, 3], [1, 2, 4]]), np.array([[0, 1, 2], [0, 1, 3]]))
    normalised, affine = meshes.normalise(mesh)
    low, high = normalised.vertices.min(axis=0), normalised.vertices.max(axis=0)
    assert np.allclose(low, -high) and np.allclose(high - low, EXTENT * np.array([0.5, 1, 0.125]))
    assert np.allclose(normalised.vertices @ affine[:3, :3].T + affine[:3, 3], mesh.vertices)


def test_rotation_is_part_of_the_way_back() -> None:
    quarter_turn = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    mesh = Mesh(np.array([[2.0, 0, 0], [0, 0, 1], [0, 1, 0]]), np.array([[0, 1, 2]]))
    normalised, affine = meshes.normalise(mesh, quarter_turn)
    assert normalised.vertices[0, 2] == normalised.vertices[:, 2].min()  # +X went to -Z
    assert np.allclose(normalised.vertices @ affine[:3, :3].T + affine[:3, 3], mesh.vertices)


def test_points_lie_on_the_surface_uniformly_by_area() -> None:
    # Two triangles of areas 0.5 and 2: a fifth of the points on the first; its mean is its centroid.
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 5], [2, 0, 5], [0, 2, 5]], np.float32)
    points = meshes.sample_surface(vertices, np.array([[0, 1, 2], [3, 4, 5]]), 20_000, np.random.default_rng(0))
    first = points[points[:, 2] == 0]
    assert points.shape == (20_000, 3)
    assert len(first) / 20_000 == pytest.approx(0.2, abs=0.01)
    assert set(np.unique(points[:, 2])) == {0.0, 5.0}
    np.testing.assert_allclose(first.mean(0), [1 / 3, 1 / 3, 0], atol=0.02)
    assert (first >= 0).all()
    assert (first[:, 0] + first[:, 1] <= 1 + 1e-6).all()


def test_no_area_no_points() -> None:
    with pytest.raises(ValueError, match="expected triangles with an area, got 0"):
        meshes.sample_surface(np.zeros((0, 3)), np.zeros((0, 3), int), 5, np.random.default_rng(0))


@pytest.mark.skipif("ONEVIEW_REAL_ROOT" not in os.environ, reason="ONEVIEW_REAL_ROOT names no folder of real meshes")
def test_real_meshes_read_as_trimesh_reads_them() -> None:
    for path in sorted(Path(os.environ["ONEVIEW_REAL_ROOT"]).glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            for name in [name for name in archive.namelist() if name.endswith(".obj")][:3]:
                data = archive.read(name)
                expected = trimesh.load_mesh(io.BytesIO(data), file_type="obj", process=False, skip_materials=True)
                assert area(meshes.read(data, "obj")) == pytest.approx(expected.area, rel=1e-6), name


@pytest.mark.parametrize("factors", [(2, 1, 0.5), (-2, 1, 0.5), (-1, -1, 1)])
def test_stretched_box_and_the_way_back(factors: tuple[float, float, float]) -> None:
    made = trimesh.creation.box((1, 2, 4))
    turn = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # so that 4, 2, 1 are its sides along x, y, z
    source = Mesh(np.add(made.vertices, [3, 0, 0]), np.asarray(made.faces))
    mesh, affine = meshes.stretched(*meshes.normalise(source, turn), factors)
    sides = np.abs(np.multiply(factors, [4, 2, 1]))
    assert np.allclose(np.ptp(mesh.vertices, axis=0), sides / sides.max() * EXTENT)
    assert np.allclose(mesh.vertices @ affine[:3, :3].T + affine[:3, 3], source.vertices)
    assert np.sign(np.linalg.det(affine)) == np.sign(np.prod(factors))
    whole = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert whole.is_volume and whole.volume == pytest.approx(sides.prod() * (EXTENT / sides.max()) ** 3)
