from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from pipeline.others import frames
from pipeline.others.frames import Sample, placed, steps
from pipeline.scoring.predictions import NOTHING, Prediction

RULES = ("as_is", "axes_y_z_x", "scale_0.5", "view", "camera", "longest_side", "best_of_24", "scaled_icp")


UNKNOWN = Sample(NOTHING, np.eye(4))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def shape() -> trimesh.Trimesh:
    """An L of three lengths, its box at the origin with a longest side of 15/16."""
    a, b = (trimesh.creation.box(bounds=[np.zeros(3), np.array(end)]) for end in ((1, 0.2, 0.4), (0.2, 0.6, 0.3)))
    found = trimesh.Trimesh(np.concatenate([a.vertices, b.vertices]), np.concatenate([a.faces, b.faces + 8]))
    return found.apply_translation(-found.bounds.mean(0)).apply_scale(15 / 16 / found.extents.max())


def sample(azimuth: float = 0, elevation: float = 0) -> Sample:
    """The L, seen by a camera that PyTorch3D turns so."""
    from pytorch3d.renderer import look_at_view_transform

    points = trimesh.sample.sample_surface(shape(), 4000, seed=1)[0]
    world_to_view = np.eye(4, dtype=np.float32)
    world_to_view[:3, :3] = look_at_view_transform(2, elevation, azimuth)[0][0].numpy().T
    return Sample(points.astype(np.float32), world_to_view)


def moved(vertices: np.ndarray, rules: str, known: Sample | None = None) -> np.ndarray:
    mesh = (vertices.astype(np.float32), np.asarray(shape().faces))
    found = surface(placed(Prediction(mesh=mesh), rules, known or UNKNOWN, 0.5, rng()))
    np.testing.assert_array_equal(found[1], mesh[1])
    return found[0]


def surface(prediction: Prediction) -> tuple[np.ndarray, np.ndarray]:
    assert prediction.mesh is not None
    return prediction.mesh


def test_as_it_is_nothing_moves():
    prediction = Prediction(points=shape().vertices.astype(np.float32))
    assert placed(prediction, "as_is", UNKNOWN, 0.5, rng()) is prediction


def test_given_axes_and_scale():
    file = Prediction(points=np.array([[1, 2, 3]], np.float32))
    for rules, expected in (("axes_y_z_x", [2, 3, 1]), ("axes_-x_y_-z+scale_.5", [-0.5, 1, -1.5])):
        points = placed(file, rules, UNKNOWN, 0.5, rng()).points
        assert points is not None and points.ravel().tolist() == expected


@pytest.mark.parametrize("rules", ["axes_y_z_x", "axes_-x_y_-z", "axes_z_-x_-y"])
def test_a_grid_turns_as_its_centres_do(rules):
    field = np.random.default_rng(1).random((6, 6, 6), np.float32)
    found = placed(Prediction(field=field), f"{rules}+as_is", UNKNOWN, 0.5, rng()).field
    assert found is not None
    centres = np.indices(field.shape).reshape(3, -1).T / 6 - 5 / 12
    turned = np.round((moved(centres, rules) + 5 / 12) * 6).astype(int)
    np.testing.assert_array_equal(found[tuple(turned.T)], field.ravel())


def test_a_grid_that_is_scaled_becomes_its_surface():
    field = np.zeros((16, 16, 16), np.float32)
    field[4:8, 4:12, 6:10] = 1
    found = placed(Prediction(field=field), "longest_side", UNKNOWN, 0.5, rng())
    np.testing.assert_allclose(np.ptp(surface(found)[0], axis=0), np.array([0.5, 1, 0.5]) * 15 / 16, atol=1e-6)


def test_longest_side():
    away = shape().vertices * 7 + [1, -2, 3]
    np.testing.assert_allclose(moved(away, "longest_side"), shape().vertices, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("azimuth", [0, 30, 200])
def test_the_frame_of_the_photo(azimuth):
    """A file says what its photo shows: right, up, and towards the camera."""
    world = shape().vertices
    for rule, elevation in (("camera", 0), ("camera", 40), ("view", 0)):
        known = sample(azimuth, elevation)
        seen = world @ known.world_to_view[:3, :3].T * [-1, 1, -1]  # PyTorch3D: left, up, away
        np.testing.assert_allclose(moved(seen, rule, known), world, atol=1e-5)
    upright = Rotation.from_euler("y", -azimuth, degrees=True).apply(world)
    np.testing.assert_allclose(moved(upright, "view", sample(azimuth, 40)), world, atol=1e-5)


def test_without_cameras_there_is_no_view():
    with pytest.raises(ValueError, match="expected shards with the cameras of the photos"):
        moved(shape().vertices, "view", Sample(NOTHING, np.full((4, 4), np.nan)))


def test_the_best_of_24_turns_is_found_at_any_size():
    turn = Rotation.from_euler("xyz", [90, 180, 270], degrees=True)
    file = turn.apply(shape().vertices) * 3 + 1
    np.testing.assert_allclose(moved(file, "best_of_24+longest_side", sample()), shape().vertices, atol=1e-5)
    assert len(Rotation.create_group("O")) == 24


def test_scaled_icp_finds_place_turn_and_size():
    turn = Rotation.from_euler("xyz", [8, -6, 10], degrees=True)
    file = turn.apply(shape().vertices) * 1.15 + 0.03
    np.testing.assert_allclose(moved(file, "scaled_icp", sample()), shape().vertices, atol=0.02)


@pytest.mark.parametrize("rules", RULES)
def test_nothing_stays_nothing(rules):
    known = sample()
    for empty in (Prediction(mesh=(NOTHING, NOTHING.astype(int))), Prediction(field=np.zeros((4, 4, 4), np.float32))):
        assert not len(placed(empty, rules, known, 0.5, rng()).surface(0.5)[1])


@pytest.mark.parametrize(
    "rules", ["", "upright", "as_is+", "scale_0", "scale_x", "axes_x_y", "axes_x_y_x", "axes_y_x_z"]
)
def test_other_rules_are_refused(rules):
    with pytest.raises(ValueError, match="--align: expected "):
        steps(rules)


def test_every_rule_is_in_the_list():
    words = frames.__doc__.split()
    assert {"axes_A_B_C" if "axes" in rule else "scale_S" if "scale_" in rule else rule for rule in RULES} <= set(words)


def test_a_camera_from_above_has_no_view():
    with pytest.raises(ValueError, match="view: expected a camera that does not look straight down or up"):
        moved(shape().vertices, "view", sample(0, 90))
