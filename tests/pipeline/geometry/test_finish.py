from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import trimesh

from pipeline.geometry import finish
from pipeline.geometry.isosurface import marching_cubes

Distance = Callable[[np.ndarray], np.ndarray]
R = 64
CELL = 1 / R
CENTRES = np.stack(np.meshgrid(*3 * [(np.arange(R) + 0.5) / R - 0.5], indexing="ij"), axis=-1)
HALF = np.array([20, 13, 8]) * CELL


def to_ball(points: np.ndarray) -> np.ndarray:
    """Signed distance to a ball of radius 0.4."""
    return np.linalg.norm(points, axis=-1) - 0.4


def to_box(points: np.ndarray) -> np.ndarray:
    """Signed distance to a box whose faces lie between cells."""
    beyond = np.abs(points) - HALF
    return np.linalg.norm(beyond.clip(0), axis=-1) + beyond.max(axis=-1).clip(max=0)


@pytest.mark.parametrize(("distance", "volume"), [(to_ball, 4 / 3 * np.pi * 0.4**3), (to_box, 8 * HALF.prod())])
def test_smoothing_stays_within_half_a_cell_and_keeps_the_volume(distance: Distance, volume: float) -> None:
    vertices, faces = marching_cubes(distance(CENTRES) < 0)
    mesh = trimesh.Trimesh(smooth := finish.smoothed(vertices, faces, CELL / 2), faces, process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.body_count == 1
    assert mesh.volume == pytest.approx(volume, rel=0.03)
    assert np.abs(smooth - vertices).max() <= CELL / 2 + 1e-6
    off = np.abs(distance(trimesh.sample.sample_surface(mesh, 5000, seed=0)[0]))
    assert off.mean() < 0.15 * CELL and np.quantile(off, 0.99) < CELL / 2


def test_terraces_are_gone() -> None:
    vertices, faces = marching_cubes(to_ball(CENTRES) < 0)
    before, after = (
        np.degrees(np.quantile(trimesh.Trimesh(points, faces, process=False).face_adjacency_angles, 0.9))
        for points in (vertices, finish.smoothed(vertices, faces, CELL / 2))
    )
    assert before > 30 and after < 8


def test_the_largest_piece_is_that_which_encloses_most() -> None:
    solid = np.zeros((32, 32, 32), bool)
    solid[2:14, 2:14, 2:14] = True
    solid[6:9, 6:9, 6:9] = False  # a hollow, a surface of its own
    solid[20:30, 20:30, 20] = True  # a sheet, with as much surface as a body
    solid[20, 2, 2] = True
    vertices, faces = marching_cubes(solid)
    assert trimesh.Trimesh(vertices, faces, process=False).body_count == 4
    for turned in (faces, faces[:, ::-1]):
        points, triangles, share = finish.largest_piece(vertices, turned)
        mesh = trimesh.Trimesh(points, triangles, process=False)
        assert mesh.is_watertight and mesh.is_winding_consistent and mesh.body_count == 1
        assert np.allclose(mesh.bounds * 32 + 16, [[2, 2, 2], [14, 14, 14]], atol=0.01)
        assert mesh.volume * 32**3 == pytest.approx(12**3, rel=0.1)
        assert share == pytest.approx(12**3 / (12**3 + 10 * 10 + 1), abs=0.02)


def test_pieces_are_those_of_trimesh() -> None:
    vertices, faces = marching_cubes(np.random.default_rng(0).random((16, 16, 16)) < 0.1)
    labels = finish.pieces(len(vertices), faces)
    expected = trimesh.graph.connected_component_labels(faces[:, [0, 1, 1, 2]].reshape(-1, 2), len(vertices))
    assert len({*zip(labels.tolist(), expected.tolist(), strict=True)}) == len(np.unique(labels))
    assert len(np.unique(labels)) == len(np.unique(expected)) > 50


@pytest.mark.parametrize("distance", [to_ball, to_box])
@pytest.mark.parametrize("count", [200, 2000])
def test_simplified_is_still_closed_and_as_large(distance: Distance, count: int) -> None:
    vertices, faces = marching_cubes(distance(CENTRES) < 0)
    smooth = finish.smoothed(vertices, faces, CELL / 2)
    mesh = trimesh.Trimesh(*finish.simplified(smooth, faces, count), process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.body_count == 1
    assert len(mesh.faces) <= count
    assert mesh.volume == pytest.approx(trimesh.Trimesh(smooth, faces, process=False).volume, rel=0.03)
    assert finish.simplified(smooth, faces, len(faces))[1] is faces


def test_closed_as_trimesh_has_it() -> None:
    box = trimesh.creation.box()
    assert finish.closed(box.faces)
    assert not finish.closed(box.faces[1:]) and not finish.closed(box.faces[:0])
    assert not finish.closed(np.concatenate([box.faces[:1, ::-1], box.faces[1:]]))


def test_normals_are_those_of_a_ball() -> None:
    ball = trimesh.creation.icosphere(3)
    assert np.allclose(finish.vertex_normals(ball.vertices, ball.faces), ball.vertices, atol=0.02)
    alone = finish.vertex_normals(np.zeros((3, 3)), np.array([[0, 1, 2]]))
    assert np.array_equal(alone, [[0, 1, 0]] * 3)


def test_fitting_centres_and_scales() -> None:
    factor, shift = finish.fitting(np.array([[1, 2, 3], [3, 3, 3.5]], np.float32), 4)
    assert factor == 2 and shift.tolist() == [-4, -5, -6.5]
    assert finish.fitting(np.ones((1, 3)), 1)[0] == 1
