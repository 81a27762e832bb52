from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial import cKDTree

from pipeline import metrics
from pipeline.metrics import Evaluation, Params
from pipeline.scoring import figures, scorer
from pipeline.scoring.clouds import BOUNDS
from pipeline.scoring.figures import read_figures, shapes
from pipeline.scoring.protocols import r3d_images
from pipeline.scoring.scorer import BRIEF
from pipeline.scoring.statistics import intervals
from pipeline.shards.layout import ShardDataset, split_sha256
from tests.constant_system import write_checkpoint
from tests.samples import SPLITS, SYNSETS, opened, write_boxes

pytestmark = pytest.mark.long

PARAMS = Params(seed=0, points=500, matched=50, views=12, batch_size=4)
R, VIEWS, CHECKPOINT = 16, 3, Path("data/checkpoints/s.pt")


@pytest.fixture
def with_scipy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with shards of boxes and their neighbours, one of which is a twin; it is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    write_shards()


@pytest.fixture
def project(with_scipy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `with_scipy`, without what needs it: the auction of a protocol takes most of the time."""
    monkeypatch.setattr(scorer, "WITH_SCIPY", False)


def write_shards(counts: dict[str, int] = SPLITS) -> None:
    write_boxes(Path("data/shards"), R, counts)
    for synset in SYNSETS:
        with h5py.File(f"data/shards/{synset}/test-000.h5", "r+") as file:
            file["mesh_sha256"][...] = [f"{synset[3]}{model}".encode() * 32 for model in range(counts["test"])]
    models = ShardDataset(Path("data/shards"), SYNSETS, "test").models
    lines = [f"{synset},{model},,,{0.3 if number else 0.99}" for number, (synset, model) in enumerate(models)]
    figures.NEIGHBOURS.write_text("\n".join(["synset,model_id,train_synset,train_model_id,iou", *lines, ""]))


def box(value: float, *half: int) -> torch.Tensor:
    """Probabilities: `value` within so many cells of the centre along x, y and z, otherwise 0.001."""
    field = torch.full((R, R, R), 0.001)
    x, y, z = (slice(R // 2 - h, R // 2 + h) for h in half)
    field[x, y, z] = value
    return field


def solid(*half: int) -> np.ndarray:
    return box(1, *half).numpy() == 1


def truths(split: str) -> np.ndarray:
    """(M, R, R, R) bool, in the order of the shards."""
    data = ShardDataset(Path("data/shards"), SYNSETS, split)
    items = range(0, len(data), data.groups)
    return np.stack([np.unpackbits(data[i]["occupancy"]).reshape(R, R, R).astype(bool) for i in items])


def iou_by_hand(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def score(answer: torch.Tensor, params: Params = PARAMS, **about: Any) -> tuple[dict, list[dict[str, str]]]:
    """The overall figures and samples.csv of a system that always predicts `answer`."""
    write_checkpoint(CHECKPOINT, answer, **about)
    Evaluation("s", params, SYNSETS).write()
    return read_figures("s")["overall"], table("data/scores/s/samples.csv")


def table(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def column(rows: list[dict[str, str]], name: str) -> list[float]:
    return [float(row[name]) for row in rows]


def chamfers(surface: np.ndarray) -> tuple[list[float], list[float]]:
    """Unsquared Chamfer distance to the points of every test model, and the F-score at 5 %."""
    data = ShardDataset(Path("data/shards"), SYNSETS, "test", targets=("points",))
    distances, f_scores = [], []
    for item in range(0, len(data), data.groups):
        truth = data[item]["points"]
        there, back = cKDTree(truth).query(surface)[0], cKDTree(surface).query(truth)[0]
        distances.append(there.mean() + back.mean())
        f_scores.append(2 / (1 / (there < 0.05).mean() + 1 / (back < 0.05).mean()))
    return distances, f_scores


def test_iou_of_every_view_by_hand(project):
    overall, rows = score(box(0.45, 4, 4, 4))
    expected = [iou_by_hand(solid(4, 4, 4), truth) for truth in truths("test")]
    assert len(rows) == len(SYNSETS) * SPLITS["test"] * VIEWS
    for name in ("iou", "iou_0.4"):
        assert column(rows, name) == pytest.approx(np.repeat(expected, VIEWS), abs=1e-6)
    assert set(column(rows, "iou_0.5")) == {0.0}
    assert [row["view"] for row in rows[:4]] == ["0", "1", "2", "0"]
    assert overall["iou"] == pytest.approx(np.mean(expected), abs=5.1e-5)
    assert [overall[key] for key in ("samples", "models", "failures", "leaked")] == [18, 6, 0, 1]
    assert not {"iou_32", "r2n2_iou"} & set(rows[0])  # 16^3 has no 32^3


def test_log_loss_by_hand(project):
    _, rows = score(box(0.9, 4, 4, 4))
    field = box(0.9, 4, 4, 4).double().numpy()
    expected = [-np.log(np.where(truth, field, 1 - field)).mean() for truth in truths("test")]
    assert column(rows, "log_loss") == pytest.approx(np.repeat(expected, VIEWS), rel=1e-4)


def test_distances_are_those_of_the_surfaces(project):
    overall, rows = score(box(0.999, 3, 3, 3), Params(0, 5000, 50, 12, 4))
    # Of 0.999 and 0.001 the level, any between, is passed close to the middle between two centres.
    surface = trimesh.sample.sample_surface(trimesh.creation.box((6 / R,) * 3), 5000, seed=1)[0]
    distances, f_scores = chamfers(surface)
    assert column(rows, "chamfer_unsquared") == pytest.approx(np.repeat(distances, VIEWS), rel=0.05)
    assert column(rows, "f_score_5%") == pytest.approx(np.repeat(f_scores, VIEWS), abs=0.05)
    assert overall["chamfer_unsquared"] == pytest.approx(np.mean(column(rows, "chamfer_unsquared")), abs=5.1e-5)


def test_a_coarser_system_is_scored_at_its_own_resolution(project):
    overall, _ = score(torch.full((8, 8, 8), 0.9))
    coarse = truths("test").reshape(-1, 8, 2, 8, 2, 8, 2).any(axis=(2, 4, 6))
    assert overall["iou"] == pytest.approx(coarse.mean(axis=(1, 2, 3)).mean(), abs=5.1e-5)


def test_the_threshold_is_the_best_one_on_validation(project):
    # What all validation shapes have in common is certain, all else likely: the best is in between.
    every = torch.from_numpy(truths("val").all(0))
    overall, _ = score(torch.where(every, 0.83, 0.61))
    assert overall["threshold"] == 0.72  # the middle of 0.61 to 0.82, all of which give the same
    levels = [np.float32(t / 100) for t in range(1, 100)]
    field = np.where(every, np.float32(0.83), np.float32(0.61))
    curve = [np.mean([iou_by_hand(field > t, truth) for truth in truths("val")]) for t in levels]
    assert column(table("data/scores/s/thresholds.csv"), "val_iou") == pytest.approx(curve, abs=1e-6)
    curve = [np.mean([iou_by_hand(field > t, truth) for truth in truths("test")]) for t in levels]
    assert column(table("data/scores/s/thresholds.csv"), "test_iou") == pytest.approx(curve, abs=1e-6)


@pytest.mark.parametrize("broken", [1e-6, torch.nan])
def test_failures_count_with_the_worst_score(project, broken):
    overall, rows = score(torch.full((R, R, R), broken))
    assert overall["failures"] == overall["samples"] == 18
    assert overall["iou"] == 0
    assert overall["chamfer_unsquared"] == pytest.approx(2 * 3**0.5, abs=5.1e-5)
    assert {row["failed"] for row in rows} == {"1"}
    worst = {name: ends[1] for name, ends in BOUNDS.items() if name not in ("log_loss", "emd")}
    worst |= {f"cubes_{name}": BOUNDS[name][1] for name in scorer.OF_CUBES}
    for name, value in worst.items():
        assert set(column(rows, name)) == {round(value, 6)}, name
    free = -np.log(1 - 1e-6) if broken == 1e-6 else 0
    cost = [np.where(truth, -np.log(1e-6 if free else 1e-7), free).mean() for truth in truths("test")]
    assert column(rows, "log_loss") == pytest.approx(np.repeat(cost, VIEWS), rel=1e-3)


def test_one_value_that_is_no_number_fails_the_prediction(project):
    field = box(0.9, 4, 4, 4)
    field[0, 0, 0] = torch.nan
    assert score(field)[0]["failures"] == 18


def test_points_have_no_grid_and_no_threshold(project):
    surface = trimesh.sample.sample_surface(trimesh.creation.icosphere(radius=0.3), 400, seed=1)[0]
    overall, rows = score(torch.from_numpy(surface), output="points")
    distances, _ = chamfers(surface.astype(np.float32))
    assert column(rows, "chamfer_unsquared") == pytest.approx(np.repeat(distances, VIEWS), abs=1e-5)
    names = {*rows[0], *overall, *(row["score"] for row in table("data/scores/s/metrics.csv"))}
    assert not [name for name in names if "iou" in name or name in ("threshold", "log_loss", "normal_consistency")]
    assert not Path("data/scores/s/thresholds.csv").exists()
    assert "iou" in table("data/scores/s_retrieval/samples.csv")[0]  # what it looks up are grids


def test_a_mesh_is_scored_by_what_it_encloses(project):
    cube = trimesh.creation.box((6 / R, 8 / R, 10 / R))
    overall, rows = score(torch.from_numpy(cube.triangles.copy()), output="mesh")
    expected = [iou_by_hand(solid(3, 4, 5), truth) for truth in truths("test")]
    assert column(rows, "iou") == pytest.approx(np.repeat(expected, VIEWS), abs=1e-6)
    distances, _ = chamfers(trimesh.sample.sample_surface(cube, 500, seed=1)[0])
    assert column(rows, "chamfer_unsquared") == pytest.approx(np.repeat(distances, VIEWS), rel=0.1)
    assert not {"log_loss", "threshold"} & {*rows[0], *overall}
    assert not Path("data/scores/s/thresholds.csv").exists()


@pytest.mark.parametrize("output", ["points", "mesh"])
def test_what_is_no_number_fails_whatever_it_is_of(project, output):
    overall, rows = score(torch.full((12, 3, 3) if output == "mesh" else (12, 3), torch.nan), output=output)
    assert overall["failures"] == 18
    assert set(column(rows, "chamfer_unsquared")) == {3.464102}


def test_figures_by_category(project):
    overall, _ = score(box(0.9, 2, 6, 2))
    files = read_figures("s")
    assert list(files) == ["overall", "airplane", "chair"]
    shared = [key for key in overall if not key.endswith("_without_leaks")]
    assert all(list(values) == shared for name, values in files.items() if name != "overall")
    assert files["chair"]["samples"] == 9
    halves = (files["airplane"]["iou"] + files["chair"]["iou"]) / 2
    assert overall["iou"] == pytest.approx(halves, abs=1.1e-4)
    assert files["airplane"]["iou"] != files["chair"]["iou"]
    assert len({values["split_sha256"] for values in files.values()}) == 3


def test_the_split_hash_is_of_the_test_models(project):
    overall, _ = score(box(0.9, 4, 4, 4))
    data = ShardDataset(Path("data/shards"), SYNSETS, "test")
    assert split_sha256(data.models).startswith(overall["split_sha256"])
    write_shards({"train": 6, "val": 2, "test": 2})
    assert score(box(0.9, 4, 4, 4))[0]["split_sha256"] != overall["split_sha256"]


def test_figures_name_who_split(project):
    with h5py.File(f"data/shards/{SYNSETS[0]}/test-000.h5", "r+") as file:
        file.attrs["split_source"] = "a_list"
    with h5py.File(f"data/shards/{SYNSETS[1]}/test-000.h5", "r+") as file:
        file.attrs["split_source"] = "hash"
    assert score(box(0.9, 4, 4, 4))[0]["split"] == "a_list,hash"


def test_intervals_are_those_of_the_rows(project):
    overall, rows = score(box(0.9, 2, 6, 2))
    mesh = shapes(rows)
    assert len(set(mesh)) == 6
    found = {row["score"]: row for row in table("data/scores/s/metrics.csv") if row["scope"] == "overall"}
    for name in ("iou", "log_loss", "chamfer_unsquared", "f_score_1%", "normal_consistency"):
        values = np.array(column(rows, name))
        mean, low, high = intervals(values[:, None], mesh)[:, 0]
        assert [float(found[name][end]) for end in ("mean", "low", "high")] == pytest.approx(
            [mean, low, high], abs=2e-6
        )
        assert mean == pytest.approx(values.mean())
    assert overall["iou_low"] < overall["iou"] < overall["iou_high"]
    kept = [float(row["iou"]) for row in rows if row["leaked"] == "0"]
    assert len(kept) == 15
    assert overall["iou_without_leaks"] == pytest.approx(np.mean(kept), abs=5.1e-5)


@pytest.mark.long
def test_workers_change_nothing(with_scipy, monkeypatch):
    write_shards({"train": 2, "val": 1, "test": 1})
    results = []
    for count in ("1", "3"):
        monkeypatch.setenv("ONEVIEW_WORKERS", count)
        results.append(score(box(0.9, 3, 5, 2)))
    assert results[0] == results[1]
    rows = results[0][1]
    assert [row["emd"] == "" for row in rows] == 2 * [False, True, True]
    assert [row["pix3d_iou"] == "" for row in rows] == 2 * [False, True, True]
    assert len(r3d_images((row["synset"], row["model_id"], int(row["view"])) for row in rows)) == 6
    expected = np.repeat([iou_by_hand(solid(3, 5, 2), truth) for truth in truths("test")], VIEWS)
    assert column(rows, "r3d_iou") == pytest.approx(expected, abs=1e-6)


def test_the_seed_draws_the_points_and_nothing_else(project):
    first, second = (score(box(0.9, 3, 5, 2), Params(seed, 2000, 50, 12, 4))[0] for seed in (0, 1))
    assert first["chamfer_unsquared"] != second["chamfer_unsquared"]
    assert first["chamfer_unsquared"] == pytest.approx(second["chamfer_unsquared"], rel=0.02)
    assert first["iou"] == second["iou"]


def test_the_first_views_are_scored(project):
    _, every = score(box(0.9, 3, 5, 2))
    retrieved = table("data/scores/s_retrieval/samples.csv")
    overall, rows = score(box(0.9, 3, 5, 2), Params(0, 500, 50, 2, 4))
    assert overall["samples"] == len(rows) == 12
    assert rows == [row for row in every if row["view"] in ("0", "1")]
    looked_up = table("data/scores/s_retrieval/samples.csv")
    assert [row["iou"] for row in looked_up] == [row["iou"] for row in retrieved if row["view"] in ("0", "1")]


def test_more_views_of_a_system_that_was_trained_on_several(project):
    """One view is answered with a cube of 4 cells, two with 6, three with 8."""
    write_checkpoint(CHECKPOINT, box(0.9, 2, 2, 2), views=2)
    evaluation = Evaluation("s", PARAMS, SYNSETS)

    def by_views(images: torch.Tensor) -> torch.Tensor:
        field = box(0.9, *3 * [images.shape[1] + 1])
        return torch.logit(field).expand(len(images), R, R, R)

    evaluation.network.predict = by_views
    evaluation.write()
    rows = table("data/views/s.csv")
    assert [(row["views"], row["samples"]) for row in rows] == [("1", "18"), ("2", "6"), ("3", "6")]
    for row, half in zip(rows, (2, 3, 4), strict=True):
        expected = np.mean([iou_by_hand(solid(half, half, half), truth) for truth in truths("test")])
        assert float(row["iou"]) == pytest.approx(expected, abs=1e-6)
        assert float(row["iou_low"]) < expected < float(row["iou_high"])
    ends = [f"{name}{end}" for name in BRIEF for end in ("", "_low", "_high")]
    assert list(rows[0]) == ["views", "samples", *ends]


def test_one_view_of_a_system_that_was_trained_on_one(project):
    overall, _ = score(box(0.9, 4, 4, 4))
    [row] = table("data/views/s.csv")
    assert (row["views"], row["samples"]) == ("1", "18")
    assert float(row["iou"]) == pytest.approx(overall["iou"], abs=5.1e-5)


@pytest.mark.parametrize("resolution", [8, R])
def test_retrieval_answers_with_the_shape_of_the_nearest_view(project, resolution):
    """At the shards' resolution, whatever that of the system; its features are the pictures themselves."""
    noise = np.random.default_rng(0).integers(0, 256, (48, 64))
    for path, model, view in ((f"{SYNSETS[1]}/train", 4, 2), (f"{SYNSETS[0]}/test", 2, 1)):
        with opened(Path(f"data/shards/{path}-000.h5")) as file:
            file["views"][model, view], file["masks"][model, view] = noise, 255
    score(torch.full((resolution,) * 3, 0.9))
    rows = table("data/scores/s_retrieval/samples.csv")
    expected = iou_by_hand(truths("test")[2], truths("train")[SPLITS["train"] + 4])
    assert float(rows[2 * VIEWS + 1]["iou"]) == pytest.approx(expected, abs=1e-6)
    assert read_figures("s_retrieval")["overall"]["threshold"] == 0.5


def test_nothing_is_written_without_what_it_needs(project):
    with pytest.raises(ValueError, match=r"data/checkpoints/none\.pt: expected a trained system, found no file"):
        Evaluation("none", PARAMS, SYNSETS)
    write_checkpoint(CHECKPOINT, box(0.9, 4, 4, 4))
    figures.NEIGHBOURS.unlink()
    with pytest.raises(
        ValueError, match=r"data/neighbours\.csv: expected the nearest training shapes .*, found no file"
    ):
        Evaluation("s", PARAMS, SYNSETS)
    assert not Path("data/metrics").exists()


@pytest.mark.parametrize("name", ["points", "matched", "views", "batch_size"])
def test_params_refuse_none(name):
    values = {"seed": 0, "points": 1, "matched": 1, "views": 1, "batch_size": 1}
    with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
        Params(**values | {name: 0})


@pytest.mark.long
def test_scores_need_no_library_of_other_stages(project):
    """Both stages run where only torch, lightning, h5py, numpy, pyyaml, joblib and tqdm are."""
    code = """
import sys
for name in ("open3d", "trimesh", "pytorch3d", "dvc", "dvclive", "matplotlib", "PIL", "safetensors", "scipy"):
    sys.modules[name] = None  # makes its import fail
from pathlib import Path
import torch
from tests.constant_system import write_checkpoint
from pipeline.baselines import Baselines
from pipeline.metrics import Params, Evaluation
write_checkpoint(Path("data/checkpoints/s.pt"), torch.full((16, 16, 16), 0.9))
params = Params(0, 100, 50, 12, 8)
Baselines(params, ("03001627",)).write()
Evaluation("s", params, ("03001627",)).write()
"""
    figures.NEIGHBOURS.unlink()
    root = Path(metrics.__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r})\n{code}"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    for name in ("s", "s_retrieval", "oracle", "mean_shape"):
        assert read_figures(name)["chair"]["samples"] == 9
    names = table("data/scores/s/samples.csv")[0]
    assert "chamfer_unsquared" in names and not [n for n in names if n == "emd" or n.startswith(("pix3d", "r3d"))]
