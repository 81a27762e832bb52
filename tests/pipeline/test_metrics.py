from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial import cKDTree

from pipeline import metrics
from pipeline.metrics import Params, evaluate, mean_occupancy
from pipeline.shards import ShardDataset, split_sha256
from tests.constant_system import write_checkpoint
from tests.samples import SPLITS, SYNSETS, write_boxes

PARAMS = Params(seed=0, points=2000, batch_size=4)
R, VIEWS = 16, 3


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with shards of boxes, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    write_boxes(Path("data/shards"), R)
    return tmp_path


def box(value: float, *half: int) -> torch.Tensor:
    """Probabilities: `value` within so many cells of the centre along x, y and z, otherwise 0.001."""
    field = torch.full((R, R, R), 0.001)
    x, y, z = (slice(R // 2 - h, R // 2 + h) for h in half)
    field[x, y, z] = value
    return field


def truths(split: str) -> np.ndarray:
    """(M, R, R, R) bool, in the order of the shards."""
    data = ShardDataset(Path("data/shards"), SYNSETS, split)
    items = range(0, len(data), data.groups)
    return np.stack([np.unpackbits(data[i]["occupancy"]).reshape(R, R, R).astype(bool) for i in items])


def iou_by_hand(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def score(field: torch.Tensor, params: Params = PARAMS) -> tuple[dict, list[dict[str, str]]]:
    """overall.json and samples.csv of a system that always predicts `field`."""
    write_checkpoint(Path("data/checkpoints/s.pt"), field)
    evaluate("s", params, SYNSETS)
    return json.loads(Path("data/metrics/s/overall.json").read_text()), table("samples")


def table(name: str) -> list[dict[str, str]]:
    with Path(f"data/scores/s/{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_iou_of_every_view_by_hand(project):
    overall, rows = score(box(0.9, 4, 4, 4))
    prediction = np.zeros((R, R, R), bool)
    prediction[4:12, 4:12, 4:12] = True
    expected = [iou_by_hand(prediction, truth) for truth in truths("test")]
    assert len(rows) == len(SYNSETS) * SPLITS["test"] * VIEWS
    assert [float(row["iou"]) for row in rows] == pytest.approx(np.repeat(expected, VIEWS), abs=1e-6)
    assert [row["view"] for row in rows[:4]] == ["0", "1", "2", "0"]
    assert overall["iou"] == pytest.approx(np.mean(expected), abs=1e-5)
    assert (overall["samples"], overall["models"], overall["failures"]) == (18, 6, 0)


def test_chamfer_is_the_distance_of_the_surfaces(project):
    overall, rows = score(box(0.999, 3, 3, 3), Params(seed=0, points=20_000, batch_size=4))
    # Of 0.999 and 0.001 the level, any between, is passed close to the middle between two centres.
    cube = trimesh.creation.box((6 / R,) * 3)
    data = ShardDataset(Path("data/shards"), SYNSETS, "test", targets=("points",))
    expected = []
    for item in range(0, len(data), data.groups):
        truth, surface = data[item]["points"], trimesh.sample.sample_surface(cube, 20_000, seed=1)[0]
        there, back = cKDTree(truth).query(surface)[0], cKDTree(surface).query(truth)[0]
        expected.append(there.mean() + back.mean())
    found = [float(row["chamfer_unsquared"]) for row in rows]
    assert found == pytest.approx(np.repeat(expected, VIEWS), rel=0.05)
    assert overall["chamfer_unsquared"] == pytest.approx(np.mean(found), abs=1e-5)


def test_mean_shape_by_hand(project):
    overall, rows = score(box(0.9, 4, 4, 4))
    mean = truths("train").astype(np.float32).mean(0)
    data = ShardDataset(Path("data/shards"), SYNSETS, "train")
    np.testing.assert_allclose(mean_occupancy(data, R, 4), mean, atol=1e-6)
    levels = [t / 100 for t in range(1, 100)]
    curve = [np.mean([iou_by_hand(mean > np.float32(t), v) for v in truths("val")]) for t in levels]
    best = [t for t, value in zip(levels, curve, strict=True) if value > max(curve) - 1e-7]
    tuned = best[len(best) // 2]
    expected = [iou_by_hand(mean > np.float32(tuned), truth) for truth in truths("test")]
    assert [float(row["mean_shape_iou"]) for row in rows[::VIEWS]] == pytest.approx(expected, abs=1e-6)
    assert overall["mean_shape_iou"] == pytest.approx(np.mean(expected), abs=1e-5)
    assert [float(row["mean_shape_val_iou"]) for row in table("thresholds")] == pytest.approx(curve, abs=1e-6)


def test_a_coarser_system_is_scored_at_its_own_resolution(project):
    overall, _ = score(torch.full((8, 8, 8), 0.9))
    coarse = truths("test").reshape(-1, 8, 2, 8, 2, 8, 2).any(axis=(2, 4, 6))
    assert overall["iou"] == pytest.approx(coarse.mean(axis=(1, 2, 3)).mean(), abs=1e-5)


def test_the_threshold_is_the_best_one_on_validation(project):
    # The mean of all validation shapes' cores is certain, all else likely: the best is in between.
    every = torch.from_numpy(truths("val").all(0))
    field = torch.where(every, 0.83, 0.61)
    overall, _ = score(field)
    assert overall["threshold"] == 0.72  # the middle of 0.61 to 0.82, all of which give the same


@pytest.mark.parametrize("broken", [torch.full((R, R, R), 1e-6), torch.full((R, R, R), torch.nan)])
def test_failures_count_with_the_worst_score(project, broken):
    overall, rows = score(broken)
    assert overall["failures"] == overall["samples"] == 18
    assert overall["iou"] == 0
    assert overall["chamfer_unsquared"] == pytest.approx(2 * 3**0.5, abs=1e-5)
    assert {row["failed"] for row in rows} == {"1"}


def test_one_value_that_is_no_number_fails_the_prediction(project):
    field = box(0.9, 4, 4, 4)
    field[0, 0, 0] = torch.nan
    assert score(field)[0]["failures"] == 18


def test_a_file_a_category(project):
    overall, _ = score(box(0.9, 2, 6, 2))
    files = {path.stem: json.loads(path.read_text()) for path in Path("data/metrics/s").iterdir()}
    assert sorted(files) == ["airplane", "chair", "overall"]
    assert all(list(figures) == list(overall) for figures in files.values())
    assert files["chair"]["samples"] == 9
    halves = (files["airplane"]["iou"] + files["chair"]["iou"]) / 2
    assert overall["iou"] == pytest.approx(halves, abs=1e-5)
    assert files["airplane"]["iou"] != files["chair"]["iou"]
    assert len({figures["split_sha256"] for figures in files.values()}) == 3


def test_the_split_hash_is_of_the_test_models(project):
    overall, _ = score(box(0.9, 4, 4, 4))
    data = ShardDataset(Path("data/shards"), SYNSETS, "test")
    assert split_sha256(data.models).startswith(overall["split_sha256"])
    write_boxes(Path("data/shards"), R, {"train": 6, "val": 2, "test": 2})
    assert score(box(0.9, 4, 4, 4))[0]["split_sha256"] != overall["split_sha256"]


def test_workers_change_nothing(project, monkeypatch):
    results = []
    for count in ("1", "3"):
        monkeypatch.setenv("ONEVIEW_WORKERS", count)
        results.append(score(box(0.9, 3, 5, 2)))
    assert results[0] == results[1]


def test_the_seed_draws_the_points_and_nothing_else(project):
    first, second = (score(box(0.9, 3, 5, 2), Params(seed, 2000, 4))[0] for seed in (0, 1))
    assert first["chamfer_unsquared"] != second["chamfer_unsquared"]
    assert first["chamfer_unsquared"] == pytest.approx(second["chamfer_unsquared"], rel=0.02)
    assert first["iou"] == second["iou"]


def test_nothing_is_written_without_a_checkpoint(project):
    with pytest.raises(ValueError, match=r"data/checkpoints/none\.pt: expected a checkpoint"):
        evaluate("none", PARAMS, SYNSETS)
    assert not Path("data/metrics").exists()


def test_params_refuse_no_points():
    with pytest.raises(ValueError, match="points: expected at least 1, got 0"):
        Params(seed=0, points=0, batch_size=1)


def test_scores_need_no_library_of_other_stages(project):
    """All of the stage runs where only torch, lightning, h5py, numpy, pyyaml, joblib and tqdm are."""
    write_boxes(Path("data/shards"), R)
    code = """
import sys
for name in ("open3d", "trimesh", "pytorch3d", "dvc", "dvclive", "matplotlib", "PIL", "scipy"):
    sys.modules[name] = None  # makes its import fail
from pathlib import Path
import torch
from tests.constant_system import write_checkpoint
from pipeline.metrics import Params, evaluate
write_checkpoint(Path("data/checkpoints/s.pt"), torch.full((16, 16, 16), 0.9))
evaluate("s", Params(0, 100, 8), ("03001627",))
"""
    root = Path(metrics.__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r})\n{code}"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(Path("data/metrics/s/chair.json").read_text())["samples"] == 9
