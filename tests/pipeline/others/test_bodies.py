from __future__ import annotations

import numpy as np
import pytest
import trimesh

from pipeline.others.bodies import closed, filled, solid_cells
from pipeline.scoring.predictions import Prediction


def mesh(shape: trimesh.Trimesh) -> tuple[np.ndarray, np.ndarray]:
    return shape.vertices.astype(np.float32), np.asarray(shape.faces)


def open_box(*size: float) -> tuple[np.ndarray, np.ndarray]:
    """A box without its bottom."""
    vertices, faces = mesh(trimesh.creation.box(size))
    return vertices, faces[~(vertices[faces][:, :, 1] < 0).all(1)]


def test_closed_is_what_every_edge_says():
    ball = trimesh.creation.icosphere(1)
    assert closed(*mesh(ball)) and not closed(*open_box(1, 1, 1))
    apart = np.arange(3 * len(ball.faces)).reshape(-1, 3)  # as in STL, every triangle has corners of its own
    assert closed(ball.vertices[ball.faces].reshape(-1, 3), apart)
    vertices, faces = mesh(ball)
    assert closed(vertices, np.concatenate([faces, [[0, 0, 1]]]))  # a face that is an edge is none


def test_a_closed_mesh_is_as_it_was():
    box = Prediction(mesh=mesh(trimesh.creation.box((0.5, 0.5, 0.5))))
    assert filled(box, 16) is box
    points = Prediction(points=mesh(trimesh.creation.icosphere(1))[0])
    assert filled(points, 16, solid=True) is points


@pytest.mark.long
def test_an_open_mesh_fills_what_the_data_sets_meshes_would():
    found = filled(Prediction(mesh=open_box(0.5, 0.5, 0.5)), 16)
    expected = np.zeros((16, 16, 16), bool)
    expected[4:12, 4:12, 4:12] = True
    np.testing.assert_array_equal(found.cells, expected)
    np.testing.assert_array_equal(found.occupancy(16), expected)
    asked = filled(Prediction(mesh=mesh(trimesh.creation.box((0.3, 0.5, 0.5)))), 16, solid=True)
    assert asked.cells is not None and asked.cells.sum() == 6 * 8 * 8  # 0.3 is 4.8 cells, and touches 6


def test_a_mesh_may_reach_out_of_the_cube():
    grid = solid_cells(*open_box(1.5, 0.5, 0.5), 8)
    expected = np.zeros((8, 8, 8), bool)
    expected[:, 2:6, 2:6] = True
    np.testing.assert_array_equal(grid, expected)
    with pytest.raises(ValueError, match="expected a shape in the unit cube, got one 20 wide; --align longest_side"):
        solid_cells(*open_box(20, 1, 1), 8)
