from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial import Delaunay
from scipy.spatial.transform import Rotation
from torch import Tensor

from pipeline.scoring.predictions import Prediction, predict

BALL = trimesh.creation.icosphere(3, 0.4)
MESH = Prediction(mesh=(BALL.vertices.astype(np.float32), BALL.faces))


class System:
    def __init__(self, output: str, prediction: Any):
        self.output, self.prediction = output, prediction

    def predict(self, images: Tensor) -> Any:
        return self.prediction


def ball(resolution: int) -> np.ndarray:
    """Probabilities that pass 0.5 at a radius of 0.4."""
    centres = (np.arange(resolution) + 0.5) / resolution - 0.5
    radius = np.linalg.norm(np.meshgrid(centres, centres, centres, indexing="ij"), axis=0)
    return (1 / (1 + np.exp(20 * (radius - 0.4)))).astype(np.float32)


@pytest.mark.parametrize("prediction", [MESH, Prediction(field=ball(32))])
def test_points_on_a_ball_with_normals(prediction: Prediction) -> None:
    points, normals = prediction.cloud(2000, 0.5, np.random.default_rng(0))
    assert points.shape == (2000, 3) and normals is not None
    assert np.linalg.norm(points, axis=1) == pytest.approx(0.4, abs=0.01)
    assert ((points / 0.4 * normals).sum(1) > 0.95).all()
    assert abs(points.mean(0)).max() < 0.03


def test_a_mesh_as_a_grid_has_the_cells_in_its_hull() -> None:
    vertices = Rotation.from_rotvec([0.3, 0.2, 0.1]).apply(BALL.vertices * [1, 0.6, 0.8]).astype(np.float32)
    found = Prediction(mesh=(vertices, BALL.faces)).occupancy(16)
    centres = (np.arange(16) + 0.5) / 16 - 0.5
    grid = np.stack(np.meshgrid(centres, centres, centres, indexing="ij"), -1)
    assert found is not None and np.array_equal(found > 0, Delaunay(vertices).find_simplex(grid) >= 0)


def test_points_have_neither_normals_nor_a_grid() -> None:
    points = np.random.default_rng(0).random((50, 3), np.float32) - 0.5
    prediction = Prediction(points=points)
    found, normals = prediction.cloud(10, 0.5, np.random.default_rng(0))
    assert np.array_equal(found, points) and normals is None and prediction.occupancy(8) is None
    assert [len(part) for part in prediction.surface(0.5)] == [0, 0]


def test_predictions_of_each_output() -> None:
    images = torch.zeros(2, 1, 1, 4, 4)
    field = torch.from_numpy(np.stack([ball(8), ball(8)]))
    (one, two) = predict(System("occupancy", torch.logit(field)), images)
    assert one.field is not None and np.allclose(one.field, ball(8), atol=1e-6) and two.mesh is None
    vertices, faces = torch.from_numpy(BALL.vertices).float(), torch.from_numpy(BALL.faces)
    (only,) = predict(System("mesh", [(vertices, faces)]), images[:1])
    assert only.mesh is not None and np.array_equal(only.mesh[1], BALL.faces)
    (cloud, _) = predict(System("points", torch.rand(2, 7, 3)), images)
    assert cloud.points is not None and cloud.points.shape == (7, 3)


@pytest.mark.parametrize("output", ["occupancy", "points", "mesh"])
def test_what_is_not_finite_is_nothing(output: str) -> None:
    given: Any = {
        "occupancy": torch.full((1, 8, 8, 8), 3.0),
        "points": torch.rand(1, 9, 3),
        "mesh": [(torch.from_numpy(BALL.vertices).float(), torch.from_numpy(BALL.faces))],
    }[output]
    (given[0][0] if output == "mesh" else given[0])[0, 0] = torch.inf if output == "points" else torch.nan
    (prediction,) = predict(System(output, given), torch.zeros(1, 1, 1, 4, 4))
    points, _ = prediction.cloud(100, 0.5, np.random.default_rng(0))
    assert points.shape == (0, 3)
    grid = prediction.occupancy(8)
    assert grid is None or not grid.any()


def test_what_lies_far_out_is_nothing() -> None:
    far = torch.full((1, 9, 3), 1e20)
    (prediction,) = predict(System("points", far), torch.zeros(1, 1, 1, 4, 4))
    assert prediction.points is not None and not len(prediction.points)


def test_faces_without_an_area_have_no_points() -> None:
    flat = Prediction(mesh=(np.zeros((4, 3), np.float32), np.array([[0, 1, 2], [1, 2, 3]])))
    assert flat.cloud(10, 0.5, np.random.default_rng(0))[0].shape == (0, 3)
