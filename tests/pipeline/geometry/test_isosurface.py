from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from pytorch3d.ops.marching_cubes import marching_cubes as reference_marching_cubes
from scipy.spatial import cKDTree

from pipeline.geometry.isosurface import case_table, marching_cubes


def centres(resolution: int) -> np.ndarray:
    """(R, R, R, 3) of the cells."""
    axis = (np.arange(resolution) + 0.5) / resolution - 0.5
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)


def ball(resolution: int, radius: float) -> np.ndarray:
    """0.5 at the radius, linear in the distance from the centre."""
    return np.clip(0.5 + (radius - np.linalg.norm(centres(resolution), axis=-1)), 0, 1)


def mesh(field: np.ndarray, level: float = 0.5) -> trimesh.Trimesh:
    return trimesh.Trimesh(*marching_cubes(field, level))  # vertices at one place are merged


def test_a_ball_has_the_volume_and_area_of_a_sphere():
    surface = mesh(ball(64, 0.35))
    assert surface.is_watertight
    assert surface.is_winding_consistent
    assert surface.euler_number == 2
    assert surface.volume == pytest.approx(4 / 3 * math.pi * 0.35**3, rel=2e-3)
    assert surface.area == pytest.approx(4 * math.pi * 0.35**2, rel=2e-3)
    np.testing.assert_allclose(np.linalg.norm(surface.vertices, axis=1), 0.35, atol=1e-3)


@pytest.mark.parametrize("level", [0.3, 0.45, 0.6, 0.7])
def test_levels_shift_the_surface_linearly(level):
    vertices, _ = marching_cubes(ball(48, 0.2), level)
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), 0.2 + 0.5 - level, atol=2e-3)


def test_one_cell_is_an_octahedron_around_its_centre():
    field = np.zeros((2, 2, 2), bool)
    field[1, 0, 1] = True
    surface = mesh(field)
    # Six vertices half a cell from the centre (0.25, -0.25, 0.25): volume 4/3 r^3 with r = 0.25.
    assert len(surface.vertices) == 6
    assert len(surface.faces) == 8
    np.testing.assert_allclose(surface.center_mass, [0.25, -0.25, 0.25], atol=1e-6)
    assert surface.volume == pytest.approx(4 / 3 * 0.25**3)


def test_a_full_grid_is_the_unit_cube_with_its_edges_cut_off():
    surface = mesh(np.ones((4, 4, 4), bool))
    np.testing.assert_allclose(surface.bounds, [[-0.5] * 3, [0.5] * 3], atol=1e-6)
    assert surface.is_watertight
    # In cells: each of 12 edges, 3 long, loses 1/8 of its section; of each corner, 1/8 cell, 1/48 is left.
    assert surface.volume == pytest.approx((64 - 12 * 3 / 8 - 8 * (1 / 8 - 1 / 48)) / 64)


def test_a_ring_has_a_hole():
    field = np.ones((6, 6, 6), bool)
    field[2:4, 2:4] = False
    assert mesh(field).euler_number == 0


def test_a_cavity_is_a_surface_of_its_own():
    field = np.ones((5, 5, 5), bool)
    field[2, 2, 2] = False
    surface = mesh(field)
    assert surface.euler_number == 4
    assert surface.volume == pytest.approx(mesh(np.ones((5, 5, 5), bool)).volume - 4 / 3 * 0.1**3, rel=1e-5)


@pytest.mark.parametrize("other", [(1, 1, 0), (1, 1, 1)])
def test_diagonal_neighbours_stay_apart(other):
    field = np.zeros((2, 2, 2), bool)
    field[0, 0, 0] = field[other] = True
    surface = mesh(field)
    assert surface.is_watertight
    assert surface.body_count == 2


def test_every_case_alone_is_closed():
    for case in range(1, 256):
        surface = mesh(np.array([case >> corner & 1 for corner in range(8)], bool).reshape(2, 2, 2))
        assert surface.is_watertight, case
        assert surface.is_winding_consistent, case
        assert surface.volume > 0, case


def test_opposite_cases_cross_the_same_edges():
    triangles, counts = case_table()
    for case in range(256):
        edges = [set(triangles[c, : counts[c]].ravel().tolist()) for c in (case, 255 - case)]
        assert edges[0] == edges[1]


@given(st.integers(1, 9), st.integers(0, 10**6), st.booleans())
def test_noise_is_closed_with_consistent_winding(resolution, seed, binary):
    rng = np.random.default_rng(seed)
    field: np.ndarray = rng.random((resolution,) * 3).astype(np.float32)
    field = field > rng.random() if binary else field.round(1)  # many values at the very level
    surface = mesh(field)
    if not (field > 0.5).any():
        assert surface.is_empty
        return
    assert surface.is_watertight
    assert surface.is_winding_consistent
    assert surface.volume > 0


def test_vertices_agree_with_pytorch3d():
    rng = np.random.default_rng(0)
    field = ball(24, 0.3) + 0.02 * rng.random((24, 24, 24))
    field[[0, -1]] = field[:, [0, -1]] = field[:, :, [0, -1]] = 0
    # PyTorch3D's volume is (z, y, x), its vertices in steps of a cell from the first centre.
    vertices, faces = reference_marching_cubes(
        torch.from_numpy(field.transpose(2, 1, 0)).float()[None].contiguous(), 0.5, return_local_coords=False
    )
    reference = trimesh.Trimesh((vertices[0].numpy() + 0.5) / 24 - 0.5, faces[0].numpy())
    surface = mesh(field)
    for a, b in ((surface, reference), (reference, surface)):
        assert cKDTree(a.vertices).query(b.vertices)[0].max() < 1e-4
    assert surface.area == pytest.approx(reference.area, rel=2e-3)  # quadrilaterals may be cut the other way
    assert surface.volume == pytest.approx(abs(reference.volume), rel=2e-3)


def test_nothing_above_the_level_is_an_empty_mesh():
    vertices, faces = marching_cubes(np.full((4, 4, 4), 0.4), 0.5)
    assert vertices.shape == faces.shape == (0, 3)


@pytest.mark.parametrize(
    ("field", "arguments", "message"),
    [
        (np.zeros((2, 3, 2)), {}, r"shape \(R, R, R\), got \(2, 3, 2\)"),
        (np.full((2, 2, 2), np.nan), {}, "finite values"),
        (np.zeros((2, 2, 2)), {"level": -1.0}, "a level above 0, the value around the grid, got -1.0"),
    ],
)
def test_marching_cubes_refuses(field, arguments, message):
    with pytest.raises(ValueError, match=f"marching_cubes: expected .*{message}"):
        marching_cubes(field, **arguments)
