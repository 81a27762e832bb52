from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from pipeline.geometry.isosurface import marching_cubes
from pipeline.scoring import protocols, shapenet
from pipeline.scoring import scorer as module
from pipeline.scoring.clouds import BOUNDS
from pipeline.scoring.predictions import NOTHING, Prediction
from pipeline.scoring.scorer import (
    BRIEF,
    THRESHOLDS,
    Scorer,
    best_threshold,
    grid_scores,
    sample_key,
    shown,
    some_views,
    system_answers,
)
from pipeline.shards.layout import ShardDataset
from tests.constant_system import Config, Model
from tests.samples import SYNSETS, write_boxes

VIEWS = 3
LEFT_OUT = ("pix3d_", "r3d_", "pix2vox_", "occnet_")  # scores that need SciPy, by their beginning


def boxes(root: Path, resolution: int = 16, count: int = 1) -> ShardDataset:
    """A test split of so many boxes a category."""
    write_boxes(root, resolution, {"test": count})
    return ShardDataset(root, SYNSETS, "test", targets=("occupancy", "points"))


def solid(data: ShardDataset, item: int) -> np.ndarray:
    side = data.resolution
    return np.unpackbits(data[item]["occupancy"]).reshape(side, side, side).astype(bool)


def iou_by_hand(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def pooled(grid: np.ndarray, side: int) -> np.ndarray:
    part = len(grid) // side
    return grid.reshape(side, part, side, part, side, part).max(axis=(1, 3, 5))


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    monkeypatch.setattr(shapenet, "OCCNET_POINTS", 500)


@pytest.fixture
def without_pix3d(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its auction takes most of a sample's time."""
    monkeypatch.setattr(protocols, "pix3d", lambda *_: {})


@pytest.mark.parametrize(
    ("values", "expected"), [({30: 0.6}, 0.31), ({3: 0.2, 4: 0.5, 5: 0.5, 6: 0.5}, 0.06), ({}, 0.5)]
)
def test_best_threshold(values, expected):
    curve = np.zeros(99, np.float32)
    for index, value in values.items():
        curve[index] = value
    assert best_threshold(curve) == expected


def test_thresholds_are_those_that_json_holds():
    assert [round(float(t), 2) for t in THRESHOLDS] == [t / 100 for t in range(1, 100)]


def test_some_views_are_the_first_of_every_model(tmp_path):
    data = boxes(tmp_path)
    assert some_views(data, 1) == [0, 3]
    assert some_views(data, 2) == [0, 1, 3, 4]
    assert some_views(data, 12) == list(range(6))
    assert [sample_key(data, item) for item in (0, 4)] == [(*data.models[0], 0), (*data.models[1], 1)]


@pytest.mark.parametrize("side", [16, 32, 48, 64])
def test_grid_scores_by_hand(side):
    rng = np.random.default_rng(side)
    field = rng.random((side, side, side), dtype=np.float32) ** 4
    truth = rng.random((side, side, side)) < 0.05
    scores = grid_scores(torch.from_numpy(field), 0.6, torch.from_numpy(truth))
    for name, threshold in (("iou", 0.6), ("iou_0.4", 0.4), ("iou_0.5", 0.5)):
        assert scores[name] == pytest.approx(iou_by_hand(field > threshold, truth), abs=1e-6)
    cost = -np.log(np.where(truth, field, 1 - field).astype(np.float64).clip(1e-7))
    assert scores["log_loss"] == pytest.approx(cost.mean(), rel=1e-4)
    expected = {"iou", "iou_0.4", "iou_0.5", "log_loss"}
    if side in (32, 64):
        expected.add("iou_32")
        assert scores["iou_32"] == pytest.approx(iou_by_hand(pooled(field > 0.6, 32), pooled(truth, 32)), abs=1e-6)
    assert set(scores) == expected


def test_a_mesh_has_the_iou_of_what_it_encloses_and_no_log_loss(tmp_path, without_pix3d):
    import trimesh

    data = boxes(tmp_path, 32)
    cube = trimesh.creation.box((0.5,) * 3)
    full = np.zeros((32, 32, 32), bool)
    full[8:24, 8:24, 8:24] = True
    answer = Prediction(mesh=(cube.vertices.astype(np.float32), np.array(cube.faces)))
    found = Scorer(data, 32, points=500, matched=10, seed=0)([([0, 1], answer)], 0.5)
    expected = iou_by_hand(full, solid(data, 0))
    for item in (0, 1):
        for name in ("iou", "iou_0.4", "iou_0.5", "iou_32", "r2n2_iou"):
            assert found[item][name] == pytest.approx(expected), name
        assert not [name for name in found[item] if "log_loss" in name]


@pytest.mark.parametrize("where", ["cpu:0", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("brief", [False, True])
def test_on_a_device_the_scores_are_the_same(tmp_path, monkeypatch, where, brief):
    """There, this process measures and its forks do the rest."""
    data = boxes(tmp_path, 32)
    rng = np.random.default_rng(0)
    radius = np.linalg.norm((np.indices((24, 24, 24)) + 0.5) / 24 - 0.5, axis=0)
    vertices, faces = marching_cubes(0.8 - radius)  # a ball's surface
    answers = [
        ([0, 1], Prediction(field=rng.random((32, 32, 32), dtype=np.float32))),
        ([2], Prediction(mesh=(vertices, faces))),
        ([3], Prediction(points=vertices)),
        ([4], Prediction(field=np.zeros((32, 32, 32), np.float32))),
    ]
    scorer = Scorer(data, 32, points=500, matched=50, seed=0)
    expected = scorer(answers, 0.5, brief)
    curve = scorer.curve(answers[::3])
    monkeypatch.setattr(module, "device", lambda: where)
    found = scorer(answers, 0.5, brief)
    assert {item: list(scores) for item, scores in found.items()} == {i: list(s) for i, s in expected.items()}
    for item, scores in found.items():
        for name, value in scores.items():
            np.testing.assert_allclose(value, expected[item][name], rtol=1e-4, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(scorer.curve(answers[::3]), curve, atol=1e-6)


def test_scores_are_of_the_item_whatever_the_order(tmp_path, without_pix3d):
    data = boxes(tmp_path, count=2)
    scorer = Scorer(data, 16, points=100, matched=20, seed=0)
    whole = Prediction(field=np.ones((16, 16, 16), np.float32))
    models = [list(range(first, first + VIEWS)) for first in range(0, len(data), VIEWS)]
    together = scorer([(items, whole) for items in models], 0.5)
    assert sorted(together) == list(range(len(data)))
    for item, scores in together.items():
        assert scores["iou"] == pytest.approx(solid(data, item).mean(), abs=1e-6)
        assert scores["failed"] is False
    np.testing.assert_equal(scorer([(items, whole) for items in reversed(models)], 0.5), together)
    alone = scorer([([item], whole) for items in models for item in items], 0.5)
    assert {item: s["iou"] for item, s in alone.items()} == {item: s["iou"] for item, s in together.items()}


def test_the_curve_is_the_mean_iou_at_every_threshold(tmp_path):
    data = boxes(tmp_path, count=2)
    rng = np.random.default_rng(0)
    fields = [rng.random((16, 16, 16), dtype=np.float32) for _ in range(len(data))]
    answers = [([item], Prediction(field=field)) for item, field in enumerate(fields)]
    curve = Scorer(data, 16, points=1, matched=1, seed=0).curve(answers)
    levels = [np.float32(t / 100) for t in range(1, 100)]
    expected = [np.mean([iou_by_hand(f > t, solid(data, i)) for i, f in enumerate(fields)]) for t in levels]
    np.testing.assert_allclose(curve, expected, atol=1e-6)


def test_the_curve_weighs_an_answer_by_its_items(tmp_path):
    data = boxes(tmp_path)
    full = Prediction(field=np.ones((16, 16, 16), np.float32))
    curve = Scorer(data, 16, points=1, matched=1, seed=0).curve([([0, 1], full), ([3], full)])
    a, b = solid(data, 0).mean(), solid(data, 3).mean()
    assert curve == pytest.approx((2 * a + b) / 3, abs=1e-6)


def test_emd_is_the_best_matching_and_of_the_first_view(tmp_path, without_pix3d):
    import trimesh

    data = boxes(tmp_path)
    points = trimesh.sample.sample_surface(trimesh.creation.icosphere(radius=0.3), 500, seed=1)[0].astype(np.float32)
    answers = [([item], Prediction(points=points)) for item in range(len(data))]
    scores = Scorer(data, 16, points=10, matched=1000, seed=0)(answers, 0.5)
    for item in range(len(data)):
        if item % VIEWS:
            assert "emd" not in scores[item]
            continue
        distances = cdist(points, data[item]["points"])
        best = distances[linear_sum_assignment(distances)].mean()
        assert scores[item]["emd"] == pytest.approx(best, abs=1e-6)
    fewer = Scorer(data, 16, points=10, matched=50, seed=0)(answers, 0.5)
    # Of fewer points the best matching is longer, and still no farther than the sets are apart.
    assert scores[0]["emd"] * 0.9 < fewer[0]["emd"] < scores[0]["emd"] * 1.5


def test_points_are_scored_as_they_are(tmp_path, without_pix3d):
    import trimesh

    data = boxes(tmp_path)
    points = trimesh.sample.sample_surface(trimesh.creation.icosphere(radius=0.3), 300, seed=1)[0].astype(np.float32)
    found = Scorer(data, 16, points=10, matched=10, seed=0)([([0], Prediction(points=points))], 0.5)[0]
    there = cKDTree(data[0]["points"]).query(points)[0]
    back = cKDTree(points).query(data[0]["points"])[0]
    precision, recall = (there < 0.05).mean(), (back < 0.05).mean()
    expected = {
        "chamfer_unsquared": there.mean() + back.mean(),
        "chamfer_unsquared_to_truth": there.mean(),
        "chamfer_squared": (there**2).mean() + (back**2).mean(),
        "precision_5%": precision,
        "recall_5%": recall,
        "f_score_5%": 2 * precision * recall / (precision + recall),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert not [name for name in found if "iou" in name or name in ("log_loss", "normal_consistency")]


def test_the_surface_of_the_true_grid_is_compared_as_well(tmp_path, without_pix3d):
    """What is predicted is the truth: two draws from one box of cells, with its own normals."""
    import trimesh

    data = boxes(tmp_path, 32)
    truth = solid(data, 0)
    field = truth.astype(np.float32)
    found = Scorer(data, 32, points=5000, matched=10, seed=0)([([0], Prediction(field=field))], 0.5)[0]
    cells = np.argwhere(truth)
    box = trimesh.creation.box((np.ptp(cells, axis=0) + 1) / 32)
    a, b = (trimesh.sample.sample_surface(box, 5000, seed=seed)[0] for seed in (1, 2))
    expected = cKDTree(a).query(b)[0].mean() + cKDTree(b).query(a)[0].mean()
    assert found["iou"] == 1
    assert found["cubes_chamfer_unsquared"] == pytest.approx(expected, rel=0.1)
    assert found["cubes_chamfer_unsquared"] < found["chamfer_unsquared"]
    assert found["normal_consistency"] > 0.95
    assert found["cubes_f_score_1%"] > 0.3


def test_protocols_are_those_that_can_be_called(tmp_path):
    data = boxes(tmp_path, 32)
    field = np.where(solid(data, 0), 0.7, 0.04).astype(np.float32)
    field[:, :, :16] += 0.2
    items = range(len(data))
    scores = Scorer(data, 32, points=100, matched=20, seed=0)([([i], Prediction(field=field)) for i in items], 0.5)
    for item in items:
        truth = solid(data, item)
        for name, expected in (("r2n2", protocols.r2n2(field, truth)), ("r3d", protocols.r3d(field, truth))):
            found = {key: value for key, value in scores[item].items() if key.startswith(name)}
            assert found == {f"{name}_{key}": value for key, value in expected.items()}
        pix3d = {key: value for key, value in scores[item].items() if key.startswith("pix3d")}
        if item % VIEWS:
            assert not pix3d and not [key for key in scores[item] if key.startswith(("pix2vox", "occnet"))]
            continue
        of_pix2vox = shapenet.pix2vox(field, truth, np.random.default_rng(5))
        np.testing.assert_array_equal(scores[item]["pix2vox_iou_curve"], of_pix2vox["iou_curve"])
        assert scores[item]["pix2vox_f_score_1%"] == pytest.approx(of_pix2vox["f_score_1%"], abs=0.03)
        surface, true_surface = (marching_cubes(grid, 0.5) for grid in (field, truth))
        of_occnet = shapenet.occnet(surface, true_surface, np.random.default_rng(5))
        found = {key: scores[item][f"occnet_{key}"] for key in of_occnet}
        assert found == pytest.approx(of_occnet, abs=0.05, rel=0.1)
        by_itself = protocols.pix3d(field, truth, np.random.default_rng(5))
        np.testing.assert_array_equal(pix3d.pop("pix3d_iou_curve"), by_itself.pop("iou_curve"))
        # Drawn with another seed: 1024 points say as much to a few percent.
        assert pix3d == pytest.approx({f"pix3d_{key}": value for key, value in by_itself.items()}, rel=0.15)


def test_points_have_those_protocols_that_need_no_grid(tmp_path):
    data = boxes(tmp_path, 32)
    points = data[0]["points"]
    scores = Scorer(data, 32, points=100, matched=20, seed=0)([([0], Prediction(points=points))], 0.5)[0]
    assert {name for name in scores if name.startswith(("pix3d", "r2n2", "r3d"))} == {
        "pix3d_chamfer_unsquared",
        "pix3d_emd",
    }
    by_itself = protocols.pix3d(points, solid(data, 0), np.random.default_rng(5))
    assert scores["pix3d_chamfer_unsquared"] == pytest.approx(by_itself["chamfer_unsquared"], rel=0.15)


@pytest.mark.parametrize(("count", "expected"), [(3, 18), (6, 30)])
def test_r3d_is_of_thirty_images(tmp_path, without_pix3d, count, expected):
    data = boxes(tmp_path, count=count)
    items = range(len(data))
    field = Prediction(field=np.full((16, 16, 16), 0.7, np.float32))
    scores = Scorer(data, 16, points=50, matched=10, seed=0)([([item], field) for item in items], 0.5)
    keys = [sample_key(data, item) for item in items]
    taken = {sample_key(data, item) for item in items if "r3d_iou" in scores[item]}
    assert taken == set(protocols.r3d_images(keys)) and len(taken) == expected
    assert not any(name.startswith("r2n2") for name in scores[0])  # 16^3 has no 32^3


def test_r3d_is_of_views_that_are_scored(tmp_path, without_pix3d):
    data = boxes(tmp_path, count=12)
    items = [item for item in range(len(data)) if item % VIEWS < 2]
    field = Prediction(field=np.full((16, 16, 16), 0.7, np.float32))
    scores = Scorer(data, 16, points=50, matched=10, seed=0, views=2)([([i], field) for i in items], 0.5)
    assert sum("r3d_iou" in found for found in scores.values()) == 30


@pytest.mark.parametrize("nothing", [Prediction(field=np.zeros((16, 16, 16), np.float32)), Prediction(points=NOTHING)])
def test_nothing_has_the_worst_of_every_score(tmp_path, nothing):
    data = boxes(tmp_path)
    found = Scorer(data, 16, points=50, matched=10, seed=0)([([0, 1, 2], nothing)], 0.5)
    assert found[0]["failed"] is True
    worst = {name: values[1] for name, values in BOUNDS.items() if name in found[0] and name != "log_loss"}
    assert {"chamfer_squared", "f_score_1%", "emd"} <= set(worst)
    assert {name: found[0][name] for name in worst} == pytest.approx(worst)
    assert found[1]["cubes_chamfer_unsquared"] == pytest.approx(2 * 3**0.5)
    assert all(np.isfinite(value).all() for scores in found.values() for value in scores.values())


def test_brief_scores_are_some_of_the_whole(tmp_path, without_pix3d):
    data = boxes(tmp_path)
    answers = [([item], Prediction(field=np.full((16, 16, 16), 0.7, np.float32))) for item in range(len(data))]
    scorer = Scorer(data, 16, points=100, matched=10, seed=0)
    whole, brief = scorer(answers, 0.5), scorer(answers, 0.5, brief=True)
    assert brief == {item: {name: scores[name] for name in BRIEF} for item, scores in whole.items()}


def test_without_scipy_what_needs_it_is_left_out(tmp_path, monkeypatch):
    data = boxes(tmp_path)
    answers = [([0], Prediction(field=np.full((16, 16, 16), 0.7, np.float32)))]
    scorer = Scorer(data, 16, points=100, matched=10, seed=0)
    whole = set(scorer(answers, 0.5)[0])
    monkeypatch.setattr(module, "WITH_SCIPY", False)
    left_out = whole - set(scorer(answers, 0.5)[0])
    assert left_out and all(name == "emd" or name.startswith(LEFT_OUT) for name in left_out)


def test_a_system_answers_item_by_item(tmp_path):
    """It is shown the views of the items, in their order, and gives one answer to each."""
    data = boxes(tmp_path, count=2)
    config, items = Config(), [7, 2, 3, 0, 11]
    found = list(system_answers(Model(config), config, data, items, 2, ""))
    assert [numbers for numbers, _ in found] == [[item] for item in items]
    fields = np.array([prediction.field for _, prediction in found])
    assert (fields == 0.5).all()  # a logit of 0
    batches = list(shown(data, items, (12, 16), 2, ""))
    assert [numbers for _, numbers in batches] == [[7, 2], [3, 0], [11]]
    assert [tuple(images.shape) for images, _ in batches] == [(2, 1, 1, 12, 16)] * 2 + [(1, 1, 1, 12, 16)]
    assert (batches[1][0][1] == next(iter(shown(data, [0], (12, 16), 1, "")))[0][0]).all()
