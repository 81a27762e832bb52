from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from trimesh.exchange.binvox import load_binvox

from pipeline.answers.shape import Shape, able, finished
from pipeline.scoring.predictions import Prediction
from pipeline.sources import binvox

R = 32
SEEN = np.zeros((1, 12, 16), np.uint8)
CENTRES = np.stack(np.meshgrid(*3 * [(np.arange(R) + 0.5) / R - 0.5], indexing="ij"), axis=-1)
# A tall body at the left of its cube, and a crumb.
FIELD = 0.9 * ((np.abs(CENTRES - [-0.25, 0, 0]) < [0.15, 0.4, 0.1]).all(axis=-1)).astype(np.float32)
FIELD[28:30, 28:30, 28:30] = 0.8


def shape(size: float = 1.0, faces: int | None = None) -> Shape:
    return finished(Prediction(field=FIELD), 0.5, SEEN, ("its alpha channel",), size, faces)


@pytest.mark.parametrize("name", ["a.glb", "a.OBJ", "a.off", "a.Ply", "a.stl"])
@pytest.mark.parametrize("faces", [None, 300])
def test_every_mesh_is_one_closed_body(tmp_path: Path, name: str, faces: int | None) -> None:
    shape(2, faces).save(tmp_path / name)
    mesh = trimesh.load_mesh(tmp_path / name)
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.body_count == 1
    assert mesh.extents.max() == pytest.approx(2, abs=1e-5)
    # (10 x 26 x 6 cells), and the longest side is 26 of them.
    assert mesh.volume == pytest.approx(10 * 26 * 6 * (2 / 26) ** 3, rel=0.1)
    assert faces is None or len(mesh.faces) <= faces


def test_the_grid_lies_where_the_mesh_does(tmp_path: Path) -> None:
    made = shape(3)
    made.save(tmp_path / "a.binvox")
    made.save(tmp_path / "a.npz")
    grid = binvox.read((tmp_path / "a.binvox").read_bytes())
    assert np.array_equal(grid.occupancy, FIELD > 0.5)
    centres = trimesh.transform_points(CENTRES[FIELD > 0.85], grid.affine)
    assert np.allclose(centres.mean(axis=0), made.vertices.mean(axis=0), atol=0.02)
    assert np.allclose(np.ptp(centres, axis=0), np.array([9, 25, 5]) * 3 / 26, atol=0.1)
    with (tmp_path / "a.binvox").open("rb") as file:
        assert np.array_equal(load_binvox(file).matrix, FIELD > 0.5)
    with np.load(tmp_path / "a.npz") as stored:
        assert np.array_equal(stored["probability"], FIELD) and np.array_equal(stored["occupancy"], FIELD > 0.5)
        assert stored["threshold"] == 0.5
        cells = stored["translate"] + stored["scale"] * (np.argwhere(FIELD > 0.85) + 0.5) / R
    assert np.allclose(cells, centres, atol=1e-6)


def test_what_is_left_out_is_told_where_it_is_no_crumb() -> None:
    assert shape().share > 0.98 and re.fullmatch(r"\d+ vertices, \d+ faces", shape().told)
    halves = FIELD.copy()
    halves[20:30, 3:29, 13:16] = 0.9  # half as large
    made = finished(Prediction(field=halves), 0.5, SEEN, ("",))
    assert made.share == pytest.approx(2 / 3, abs=0.03) and made.told.endswith(f"piece, {made.share:.0%} of all")
    assert finished(Prediction(field=halves), 0.5, SEEN, ("",), all_pieces=True).share == 1


def test_names_that_can_not_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a.doc: expected a name ending in .glb, .*.binvox, .npz, got 'a.doc'"):
        shape().save(tmp_path / "a.doc")
    with pytest.raises(ValueError, match=r"a.stl: expected a name ending in .glb, .obj, .ply, .xyz, got"):
        finished(Prediction(points=np.eye(3, dtype=np.float32)), 0.5, SEEN, ("",)).save(tmp_path / "a.stl")
    assert ".binvox" not in able(False, False) and ".xyz" not in able(False, True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "prediction",
    [
        Prediction(points=np.zeros((0, 3), np.float32)),
        Prediction(mesh=(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64))),
        Prediction(mesh=(np.zeros((3, 3), np.float32), np.zeros((0, 3), np.int64))),
        Prediction(field=np.zeros((8, 8, 8), np.float32)),
    ],
)
def test_an_empty_prediction_is_said(prediction: Prediction) -> None:
    with pytest.raises(ValueError, match="expected a shape, got a prediction that is empty or not finite"):
        finished(prediction, 0.5, SEEN, ("",))


def test_a_flat_prediction_is_a_shape(tmp_path: Path) -> None:
    flat = torch.rand(20, 3, generator=torch.Generator().manual_seed(0)).numpy() * [1, 0, 1]
    assert np.ptp(finished(Prediction(points=flat), 0.5, SEEN, ("",)).vertices, axis=0).max() == pytest.approx(1)
    assert np.isfinite(finished(Prediction(points=np.ones((1, 3))), 0.5, SEEN, ("",)).vertices).all()


@pytest.mark.long
def test_a_picture_shows_what_was_seen_and_two_sides() -> None:
    seen = np.full((1, 12, 16), 77, np.uint8)
    made = finished(Prediction(field=FIELD), 0.5, seen, ("",))
    picture = np.asarray(made.picture())
    thirds = np.array_split(picture, 3, axis=1)
    assert (thirds[0] == 77).all(axis=-1).mean() > 0.5
    assert all(0.02 < (third.min(axis=-1) < 250).mean() < 0.6 for third in thirds[1:])
    assert not np.array_equal(thirds[1], thirds[2])
    cloud = finished(Prediction(points=made.vertices[::20]), 0.5, seen, ("",)).picture()
    assert cloud.size == made.picture().size
