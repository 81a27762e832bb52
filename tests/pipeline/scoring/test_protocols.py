from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from pipeline.geometry.isosurface import marching_cubes
from pipeline.scoring.protocols import (
    PIX3D_THRESHOLDS,
    pix3d,
    pix3d_grid,
    pix3d_points,
    pix3d_set,
    r2n2,
    r3d,
    r3d_images,
)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def box(side: int, *bounds: tuple[int, int]) -> np.ndarray:
    """(side,)^3 float32, full from low to high, both included."""
    grid = np.zeros((side,) * 3, np.float32)
    grid[tuple(slice(low, high + 1) for low, high in bounds)] = 1
    return grid


def blob(side: int, seed: int) -> np.ndarray:
    """A random field with free cells around it."""
    field = np.zeros((side,) * 3, np.float32)
    field[2:-2, 1:-3, 3:-1] = np.random.default_rng(seed).random((side - 4,) * 3) ** 3
    return field


# --- pix3d


def resampled(field: np.ndarray) -> np.ndarray:
    """The protocol's grid by SciPy's interpolator."""
    full = np.argwhere(field >= 0.1)
    low, high = full.min(0), full.max(0)
    crop = field[low[0] : high[0] + 1, low[1] : high[1] + 1, low[2] : high[2] + 1]
    middle, half = (high - low) / 2, (high - low).max() / 2
    axes = [np.linspace(m - half, m + half, 32) for m in middle]
    values = RegularGridInterpolator([np.arange(n) for n in crop.shape], crop, bounds_error=False, fill_value=0)
    return values(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1))


@pytest.mark.parametrize("side", [8, 13, 40])
def test_pix3d_grids_agree_with_scipys_interpolator(side):
    field = blob(side, side)
    field[:4] = 0  # so that the box is no cube
    np.testing.assert_allclose(pix3d_grid(field), resampled(field), atol=1e-6)


def test_pix3d_reduces_large_grids_by_their_maxima():
    large = blob(104, 0)
    small = np.array([[[large[4 * i : 4 * i + 4, 4 * j : 4 * j + 4, 4 * k : 4 * k + 4].max() for k in range(26)]
                       for j in range(26)] for i in range(26)])  # fmt: skip
    np.testing.assert_allclose(pix3d_grid(large), resampled(small), atol=1e-6)


def test_pix3d_iou_by_hand():
    # Boxes of 9 and 5 cells in y, 9 in x and z. 32 points span 8 units; the low box covers 4 of these: 16 points.
    tall, low = box(20, (5, 13), (2, 10), (7, 15)), box(20, (5, 13), (2, 6), (7, 15))
    curve = pix3d(low, tall, rng())["iou_curve"]
    assert curve.shape == PIX3D_THRESHOLDS.shape == (49,)
    np.testing.assert_allclose(curve, 16 / 32)


def test_pix3d_knows_neither_place_nor_size():
    field = blob(12, 1)
    elsewhere = np.zeros((20, 20, 20), np.float32)
    elsewhere[5:17, 0:12, 8:20] = field
    scores = pix3d(field, elsewhere, rng())
    np.testing.assert_array_equal(scores["iou_curve"][:9], 1)
    assert scores["chamfer_unsquared"] < 0.12  # two samples of one surface
    half = pix3d(box(32, (4, 11), (4, 11), (4, 11)), box(32, (4, 19), (4, 19), (4, 19)), rng())
    np.testing.assert_array_equal(half["iou_curve"], 1)


def test_pix3d_points_are_normalised_and_on_the_open_surface():
    points = pix3d_points(box(16, (0, 15), (4, 11), (6, 9)), rng())
    assert points.shape == (1024, 3)
    assert points.dtype == np.float32
    np.testing.assert_allclose(points.max(0), -points.min(0), atol=1e-6)
    assert np.ptp(points, axis=0).max() == pytest.approx(1)
    # At both ends of x the box touches the border: there it is a tube without lids, and only the walls have points.
    walls = (np.abs(points[:, 1]) > 0.27) | (np.abs(points[:, 2]) > 0.1)
    assert walls.all()


def test_pix3d_points_are_one_a_triangle_where_there_are_many():
    field = box(40, (20, 29), (20, 29), (20, 29))
    field[2:18:2, 2:18:2, 2:6:2] = 0.15  # 128 octahedra of eight triangles each, a fifth as large as those of the box
    _, faces = marching_cubes(field, 0.1)
    share = 8 * 128 / len(faces)
    points = pix3d_points(field, rng())
    points -= points.min(0)
    assert len(faces) > 1024
    assert 0.4 < share < 0.5
    assert (points[:, 0] < 0.57).mean() == pytest.approx(share, abs=0.04)  # between the two; a sixth by area


def test_pix3d_small_shapes_get_more_points_a_triangle():
    points = pix3d_points(box(8, (3, 3), (4, 4), (2, 2)), rng())  # an octahedron of eight triangles
    np.testing.assert_allclose(np.abs(points).sum(1), 0.5, atol=0.03)
    octants = np.unique((points > 0) @ [4, 2, 1], return_counts=True)[1]
    assert len(octants) == 8
    assert octants.min() > 90


def test_pix3d_distances_agree_with_scipy():
    prediction, truth = blob(16, 2), box(16, (3, 12), (5, 9), (4, 13))
    scores = pix3d(prediction, truth, rng())
    draw = rng()
    p, t = pix3d_points(prediction, draw), pix3d_points(truth, draw)
    chamfer = cKDTree(t).query(p)[0].mean() + cKDTree(p).query(t)[0].mean()
    assert scores["chamfer_unsquared"] == pytest.approx(chamfer, rel=1e-5)
    distances = cdist(p, t)
    best = distances[linear_sum_assignment(distances)].mean()
    assert best <= scores["emd"] <= best + 0.01


def test_pix3d_of_points_has_no_iou():
    truth = box(16, (3, 12), (5, 9), (4, 13))
    scores = pix3d(100 * pix3d_points(truth, rng()) + 7, truth, np.random.default_rng(1))
    assert list(scores) == ["chamfer_unsquared", "emd"]
    assert scores["chamfer_unsquared"] < 0.1


@pytest.mark.parametrize("nothing", [np.zeros((8, 8, 8)), np.full((8, 8, 8), 0.05), np.full((8, 8, 8), np.nan)])
def test_pix3d_where_nothing_is_predicted(nothing):
    truth = box(8, (2, 5), (2, 5), (2, 5))
    scores = pix3d(nothing, truth, rng())
    assert not scores["iou_curve"].any()
    to_origin = np.linalg.norm(pix3d_points(truth, rng()), axis=1)
    assert scores["emd"] == pytest.approx(to_origin.mean(), abs=0.02)
    assert scores["chamfer_unsquared"] == pytest.approx(to_origin.mean() + to_origin.min(), abs=0.03)


def test_pix3d_where_nothing_is_there_either():
    empty = np.zeros((8, 8, 8))
    scores = pix3d(empty, empty, rng())
    assert not scores["iou_curve"].any()  # the script's choice
    assert scores["chamfer_unsquared"] == scores["emd"] == 0


def test_pix3d_set_has_one_threshold_for_all():
    curves = np.zeros((2, 49))
    curves[0, 9], curves[1, 29], curves[:, 19] = 0.9, 0.8, 0.5
    samples = [{"iou_curve": c, "chamfer_unsquared": 0.1 * i, "emd": 0.3} for i, c in enumerate(curves)]
    expected = {"iou": 0.5, "iou_threshold": 0.2, "chamfer_unsquared": 0.05, "emd": 0.3}
    assert pix3d_set(samples) == pytest.approx(expected)


# --- r2n2


def test_r2n2_by_hand():
    truth = box(32, (0, 15), (0, 31), (0, 31)) > 0
    prediction = np.full((32, 32, 32), 0.3, np.float32)
    prediction[:24] = 0.41
    scores = r2n2(prediction, truth)
    assert scores["iou"] == pytest.approx(16 / 24)
    expected = -(16 * math.log(0.41) + 8 * math.log(0.59) + 8 * math.log(0.7)) / 32
    assert scores["log_loss"] == pytest.approx(expected, rel=1e-5)


def test_r2n2_takes_the_maximum_of_finer_cells():
    fine = np.random.default_rng(0).random((64, 64, 64)) ** 8
    coarse = torch.nn.functional.max_pool3d(torch.from_numpy(fine)[None], 2)[0].numpy()
    truth = box(32, (3, 20), (4, 30), (5, 25)) > 0
    assert r2n2(fine, truth.repeat(2, 0).repeat(2, 1).repeat(2, 2)) == r2n2(coarse, truth)


def test_r2n2_of_nothing():
    empty, full = np.zeros((32, 32, 32)), np.ones((32, 32, 32))
    assert r2n2(empty, empty > 0) == {"iou": 1, "log_loss": 0}
    assert r2n2(np.full((32, 32, 32), np.nan), full > 0) == pytest.approx({"iou": 0, "log_loss": -math.log(1e-7)})


def test_r2n2_refuses_other_sizes():
    with pytest.raises(ValueError, match="r2n2: expected a grid whose side is a multiple of 32, got 48"):
        r2n2(np.zeros((48, 48, 48)), np.zeros((32, 32, 32), bool))


# --- r3d


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_r3d_agrees_with_sets_of_cells(seed):
    prediction, truth = np.random.default_rng(seed).random((2, 6, 6, 6)) ** 3
    x, y = np.argwhere(prediction > 0.5) / 6, np.argwhere(truth > 0.5) / 6
    scores = r3d(prediction, truth > 0.5)
    chamfer = cKDTree(y).query(x)[0].mean() + cKDTree(x).query(y)[0].mean()
    assert scores["chamfer_unsquared_of_cells"] == pytest.approx(chamfer)
    mine, true = ({tuple(cell) for cell in cells} for cells in (x, y))
    assert scores["iou"] == pytest.approx(len(mine & true) / len(mine | true))


def test_r3d_by_hand():
    # Two cells four apart along x, of a side of 8: half the cube's side, both ways.
    scores = r3d(box(8, (1, 1), (2, 2), (3, 3)), box(8, (5, 5), (2, 2), (3, 3)) > 0)
    assert scores == {"iou": 0, "chamfer_unsquared_of_cells": 1.0}


@pytest.mark.parametrize(("full", "there", "iou", "chamfer"), [(0, 0, 1, 0), (1, 0, 0, 12**0.5), (0, 1, 0, 12**0.5)])
def test_r3d_of_nothing(full, there, iou, chamfer):
    scores = r3d(np.full((4, 4, 4), full), np.full((4, 4, 4), there, bool))
    assert scores == pytest.approx({"iou": iou, "chamfer_unsquared_of_cells": chamfer})


def test_r3d_images_are_thirty_that_anyone_finds():
    keys = [("03001627", f"m{i:03}", view) for i in range(20) for view in range(3)]
    chosen = r3d_images(reversed(keys))
    assert len(set(chosen)) == 30
    assert set(chosen) <= set(keys)
    hashes = [hashlib.sha256(f"{s}/{m}/{v}".encode()).hexdigest() for s, m, v in keys]
    assert [hashlib.sha256("{}/{}/{}".format(*key).encode()).hexdigest() for key in chosen] == sorted(hashes)[:30]
    assert len(r3d_images(keys[:7])) == 7


# --- all


@pytest.mark.parametrize("protocol", [lambda p, t: pix3d(p, t, rng()), r2n2, r3d])
@pytest.mark.parametrize("shape", [(8, 8, 9), (8,), (0, 0, 0)])
def test_other_grids_are_refused(protocol, shape):
    with pytest.raises(ValueError, match=r"protocols: expected a grid of shape \(R, R, R\)"):
        protocol(np.zeros(shape), np.zeros((32, 32, 32), bool))


@pytest.mark.parametrize("protocol", [lambda p, t: pix3d(p, t, rng()), r2n2, r3d])
def test_a_truth_that_is_not_finite_is_refused(protocol):
    with pytest.raises(ValueError, match="protocols: expected a finite truth"):
        protocol(np.zeros((32, 32, 32)), np.full((32, 32, 32), np.nan))
