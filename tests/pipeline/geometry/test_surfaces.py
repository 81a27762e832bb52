from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.geometry import surfaces
from pipeline.geometry.isosurface import marching_cubes
from pipeline.geometry.surfaces import mesh_occupancy


def centres(resolution: int) -> np.ndarray:
    """(R, R, R, 3) of the cells."""
    axis = (np.arange(resolution) + 0.5) / resolution - 0.5
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)


def occupancy(mesh: trimesh.Trimesh, resolution: int) -> np.ndarray:
    return mesh_occupancy(np.asarray(mesh.vertices), np.asarray(mesh.faces), resolution)


def winding(mesh: trimesh.Trimesh, resolution: int) -> np.ndarray:
    """How often the mesh goes round each centre: the solid angles of its triangles (van Oosterom, Strackee 1983)."""
    points = centres(resolution).reshape(-1, 1, 3)
    a, b, c = (mesh.triangles[None, :, k] - points for k in range(3))
    la, lb, lc = (np.linalg.norm(x, axis=2) for x in (a, b, c))
    top = (a * np.cross(b, c)).sum(2)
    low = la * lb * lc + (a * b).sum(2) * lc + (a * c).sum(2) * lb + (b * c).sum(2) * la
    return (np.arctan2(top, low).sum(1) / (2 * np.pi)).round().astype(int).reshape((resolution,) * 3)


def turned(mesh: trimesh.Trimesh, seed: int) -> trimesh.Trimesh:
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return trimesh.Trimesh(mesh.vertices @ turn * 0.9 + 0.01, mesh.faces, process=False)


@given(st.lists(st.integers(0, 16), min_size=6, max_size=6), st.integers(0, 2**12 - 1))
def test_boxes_between_cells_are_exact(ends, flips):
    low, high = np.sort(np.reshape(ends, (2, 3)), axis=0)
    box = trimesh.creation.box(bounds=np.array([low, high + (low == high)]) / 16 - 0.5)
    faces = [face[::-1] if flips >> i & 1 else face for i, face in enumerate(box.faces)]  # in any winding
    expected = np.zeros((16, 16, 16), bool)
    expected[tuple(slice(a, b + (a == b)) for a, b in zip(low, high, strict=True))] = True
    np.testing.assert_array_equal(mesh_occupancy(box.vertices, np.array(faces), 16), expected)


def test_faces_on_centres_belong_to_one_side():
    # From centre 2 to centre 10, exactly: half-open, so that boxes that touch share no cell and leave none out.
    box = trimesh.creation.box(bounds=np.array([[2.5] * 3, [10.5] * 3]) / 16 - 0.5)
    expected = np.zeros((16, 16, 16), bool)
    expected[2:10, 2:10, 2:10] = True
    np.testing.assert_array_equal(occupancy(box, 16), expected)


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_convex_solids_agree_with_their_planes(seed):
    hull = trimesh.convex.convex_hull(np.random.default_rng(seed).uniform(-0.5, 0.5, (12, 3)))
    ahead = np.einsum("ijkc,fc->ijkf", centres(20), hull.face_normals)
    inside = (ahead < (hull.face_normals * hull.triangles[:, 0]).sum(1)).all(axis=-1)
    np.testing.assert_array_equal(occupancy(hull, 20), inside)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["torus", "capsule", "annulus"])
def test_closed_meshes_agree_with_winding_numbers(name, seed):
    shape = {
        "torus": trimesh.creation.torus(0.32, 0.13, 16, 12),
        "capsule": trimesh.creation.capsule(0.4, 0.2, count=[8, 8]),
        "annulus": trimesh.creation.annulus(0.15, 0.4, 0.6, sections=16),
    }[name]
    mesh = turned(shape, seed)
    assert mesh.is_watertight
    np.testing.assert_array_equal(occupancy(mesh, 14), winding(mesh, 14) != 0)


def test_a_sphere_in_a_sphere_is_a_hollow_one():
    outer, inner = (trimesh.creation.icosphere(3, radius) for radius in (0.45, 0.25))
    faces = np.concatenate([outer.faces, inner.faces + len(outer.vertices)])
    grid = mesh_occupancy(np.concatenate([outer.vertices, inner.vertices]), faces, 32)
    assert grid.mean() == pytest.approx(outer.volume - inner.volume, rel=0.02)
    assert not grid[16, 16, 16]


def test_marching_cubes_and_back():
    field = np.random.default_rng(0).random((12, 12, 12)).astype(np.float32)
    # Wild and with many edges exactly in the planes of the centres; the surface parts them all the same.
    np.testing.assert_array_equal(mesh_occupancy(*marching_cubes(field, 0.5), 12), field > 0.5)


def test_beyond_the_cube_nothing_is_lost():
    box = trimesh.creation.box(bounds=[[-0.25, -1e6, -0.7], [30, 2, 0.7]])
    expected = np.zeros((8, 8, 8), bool)
    expected[2:] = True
    np.testing.assert_array_equal(occupancy(box, 8), expected)


def test_an_empty_mesh_encloses_nothing():
    assert not mesh_occupancy(np.zeros((0, 3)), np.zeros((0, 3), int), 4).any()


def test_chunks_change_nothing(monkeypatch):
    sphere = trimesh.creation.icosphere(2, 0.4)
    expected = occupancy(sphere, 24)
    monkeypatch.setattr(surfaces, "CHUNK_PAIRS", 50)
    np.testing.assert_array_equal(occupancy(sphere, 24), expected)


def test_what_is_no_closed_mesh_is_refused():
    box = trimesh.creation.box(extents=[0.5, 0.5, 0.5])
    with pytest.raises(ValueError, match="expected a closed mesh, got .* lines that go into it and not out"):
        mesh_occupancy(box.vertices, np.asarray(box.faces)[1:], 32)
    with pytest.raises(ValueError, match="expected finite vertices"):
        mesh_occupancy(box.vertices * np.nan, box.faces, 8)
