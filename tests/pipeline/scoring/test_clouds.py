from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from pipeline.scoring.clouds import BOUNDS, FRACTIONS, cloud_scores, nothing

EMPTY = torch.zeros(0, 3)
seeds = st.integers(0, 10**6)
sizes = st.integers(1, 60)


def cloud(count: int, seed: int) -> torch.Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) - 0.5


def directions(count: int, seed: int) -> torch.Tensor:
    return torch.nn.functional.normalize(cloud(count, seed), dim=1)


def moved(points: torch.Tensor, seed: int) -> torch.Tensor:
    turn, _ = torch.linalg.qr(cloud(3, seed))
    return points @ turn


def test_scores_by_hand():
    prediction = torch.tensor([[0.0, 0, 0], [0.03, 0.04, 0]])
    truth = torch.tensor([[0.0, 0, 0]])
    scores = cloud_scores(prediction, truth, torch.tensor([[0.0, 0, 1], [0, 1, 0]]), torch.tensor([[0, 0.6, -0.8]]))
    # Of the prediction one point is right and one 0.05 off; the true point is found.
    expected = {
        "chamfer_unsquared": 0.025,
        "chamfer_unsquared_to_truth": 0.025,
        "chamfer_unsquared_to_prediction": 0,
        "chamfer_squared": 0.00125,
        "chamfer_squared_to_truth": 0.00125,
        "chamfer_squared_to_prediction": 0,
        "precision_2%": 0.5,
        "recall_2%": 1,
        "f_score_2%": 2 / 3,
        "precision_10%": 1,
        "f_score_10%": 1,
        "normal_consistency": ((0.8 + 0.6) / 2 + 0.8) / 2,
    }
    assert {name: scores[name] for name in expected} == pytest.approx(expected)


@given(sizes, sizes, seeds)
def test_distances_agree_with_scipy(n, m, seed):
    a, b = cloud(n, seed), cloud(m, seed + 1)
    b[: min(n, m) // 2] = a[: min(n, m) // 2]  # some coincide
    scores = cloud_scores(a, b)
    to_truth, to_prediction = cKDTree(b.numpy()).query(a.numpy())[0], cKDTree(a.numpy()).query(b.numpy())[0]
    assert scores["chamfer_unsquared_to_truth"] == pytest.approx(to_truth.mean(), rel=1e-5)
    assert scores["chamfer_squared_to_prediction"] == pytest.approx((to_prediction**2).mean(), rel=1e-5)
    for fraction in FRACTIONS:
        precision, recall = (to_truth < fraction).mean(), (to_prediction < fraction).mean()
        f_score = 2 / (1 / precision + 1 / recall) if precision and recall else 0
        found = [scores[f"{name}_{100 * fraction:g}%"] for name in ("precision", "recall", "f_score")]
        assert found == pytest.approx([precision, recall, f_score], rel=1e-5)


@given(sizes, sizes, seeds)
def test_chamfer_and_normals_agree_with_pytorch3d(n, m, seed):
    chamfer_distance = pytest.importorskip("pytorch3d.loss").chamfer_distance
    a, b, at_a, at_b = cloud(n, seed), cloud(m, seed + 1), directions(n, seed + 2), directions(m, seed + 3)
    scores = cloud_scores(a, b, at_a, at_b)
    squared, angles = chamfer_distance(a[None], b[None], x_normals=at_a[None], y_normals=at_b[None])
    assert scores["chamfer_squared"] == pytest.approx(squared.item(), rel=1e-4, abs=1e-7)
    assert scores["normal_consistency"] == pytest.approx(1 - angles.item() / 2, rel=1e-4)  # it sums 1 - |cos|


@given(sizes, sizes, seeds)
def test_exchange_turns_precision_into_recall(n, m, seed):
    a, b, at_a, at_b = cloud(n, seed), cloud(m, seed + 1), directions(n, seed + 2), directions(m, seed + 3)
    there, back = cloud_scores(a, b, at_a, at_b), cloud_scores(b, a, at_b, at_a)
    other = {"_to_truth": "_to_prediction", "_to_prediction": "_to_truth", "precision": "recall", "recall": "precision"}
    for name, value in there.items():
        twin = next((name.replace(key, new) for key, new in other.items() if key in name), name)
        assert back[twin] == pytest.approx(value, rel=1e-6)


@given(sizes, seeds)
def test_a_cloud_scores_best_against_itself(n, seed):
    scores = cloud_scores(cloud(n, seed), cloud(n, seed), directions(n, seed), directions(n, seed))
    assert scores == pytest.approx({name: BOUNDS[name][0] for name in scores}, abs=1e-6)


@given(sizes, sizes, seeds, st.floats(0.1, 5))
def test_motion_changes_nothing_and_scale_scales(n, m, seed, scale):
    a, b, at_a, at_b = cloud(n, seed), cloud(m, seed + 1), directions(n, seed + 2), directions(m, seed + 3)
    before = cloud_scores(a, b, at_a, at_b)
    a, b = scale * moved(a, seed) + 0.3, scale * moved(b, seed) + 0.3
    after = cloud_scores(a, b, moved(at_a, seed), moved(at_b, seed))
    for power, name in ((1, "chamfer_unsquared"), (2, "chamfer_squared")):
        assert after[name] == pytest.approx(scale**power * before[name], rel=1e-3, abs=1e-6)
    assert after["normal_consistency"] == pytest.approx(before["normal_consistency"], abs=1e-4)


@given(sizes, sizes, seeds)
def test_no_cloud_in_the_cube_scores_outside_of_the_bounds(n, m, seed):
    corners = cloud(n, seed).sign() / 2
    for name, value in cloud_scores(corners, cloud(m, seed + 1), corners / corners.norm(dim=1)[:, None]).items():
        low, high = sorted(BOUNDS[name])
        assert low <= value <= high + 1e-6


def test_the_worst_is_reached_from_corner_to_corner():
    corner = torch.full((4, 3), 0.5)
    up, east = torch.tensor([[0.0, 0, 1]]).expand(4, 3), torch.tensor([[1.0, 0, 0]]).expand(4, 3)
    scores = cloud_scores(corner, -corner, up, east)
    assert scores == pytest.approx({name: BOUNDS[name][1] for name in scores})
    assert scores["chamfer_unsquared"] == pytest.approx(2 * math.sqrt(3))


@pytest.mark.parametrize(
    ("prediction", "truth", "same"),
    [
        (EMPTY, cloud(5, 0), False),
        (cloud(5, 0), EMPTY, False),
        (cloud(5, 0).log(), cloud(5, 1), False),
        (torch.full((1, 3), math.inf), cloud(5, 1), False),
        (EMPTY, EMPTY, True),
        (torch.full((2, 3), math.nan), EMPTY, True),
    ],
)
def test_where_nothing_can_be_measured(prediction, truth, same):
    scores = cloud_scores(prediction, truth)
    assert scores == {name: BOUNDS[name][0 if same else 1] for name in scores}
    with_normals = cloud_scores(prediction, truth, prediction, truth)
    assert with_normals == nothing(same)
    assert with_normals == scores | {"normal_consistency": float(same)}


def test_names_are_the_same_for_failures():
    a = cloud(5, 0)
    assert list(cloud_scores(a, a)) == list(nothing(same=False, normals=False))
    assert list(cloud_scores(a, a, a, a)) == list(nothing(same=False))


def test_a_truth_that_is_not_finite_is_no_failure_of_the_prediction():
    with pytest.raises(ValueError, match="expected finite true points, got NaN"):
        cloud_scores(EMPTY, torch.full((1, 3), math.nan))


@pytest.mark.parametrize(
    ("given", "side"),
    [((torch.zeros(5, 2), cloud(5, 0)), "prediction"), ((cloud(5, 0), cloud(5, 0), cloud(5, 0), cloud(4, 0)), "truth")],
)
def test_other_shapes_are_refused(given, side):
    with pytest.raises(ValueError, match=rf"cloud_scores: expected points and normals \(N, 3\) of the {side}"):
        cloud_scores(*given)


@pytest.mark.cuda
def test_cuda_agrees_with_the_cpu():
    given = cloud(3000, 0), cloud(2000, 1), directions(3000, 2), directions(2000, 3)
    on_device = cloud_scores(*(points.cuda() for points in given))
    assert on_device == pytest.approx(cloud_scores(*given), rel=1e-3, abs=1e-4)
    assert np.isfinite(list(on_device.values())).all()
