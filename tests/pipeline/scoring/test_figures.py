from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.scoring import figures, protocols
from pipeline.scoring.figures import facts, headline, read_figures, rows_of, shapes, summary, write
from pipeline.scoring.scorer import THRESHOLDS
from pipeline.scoring.statistics import intervals
from pipeline.shards.layout import ShardDataset, split_sha256
from tests.samples import SYNSETS, write_boxes

VIEWS, NAN = 3, math.nan


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a test split of two boxes a category, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    write_boxes(Path("data/shards"), 8, {"test": 2})
    return tmp_path


def split() -> ShardDataset:
    return ShardDataset(Path("data/shards"), SYNSETS, "test")


def write_neighbours(overlaps: dict[tuple[str, str], float]) -> None:
    lines = [f"{synset},{model},{SYNSETS[0]},train,{iou}" for (synset, model), iou in overlaps.items()]
    figures.NEIGHBOURS.write_text("\n".join(["synset,model_id,train_synset,train_model_id,iou", *lines, ""]))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def rows(count: int = 8) -> list[dict[str, Any]]:
    """Of so many models three views each, in two categories; a quarter has leaked, two have one mesh, one none."""
    rng = np.random.default_rng(0)
    made = []
    for model in range(count):
        about = {"synset": SYNSETS[model * 2 // count], "model_id": f"m{model}"}
        mesh = "" if model == 2 else "one" if model < 2 else f"mesh{model}"
        for view in range(VIEWS):
            scores = {"iou": rng.random(), "chamfer_unsquared": rng.random(), "f_score_1%": rng.random()}
            scores |= {"iou_32": rng.random(), "emd": NAN if view else rng.random(), "normal_consistency": 0.5}
            facts_of = {"view": view, "mesh": mesh, "failed": int(model == 1), "leaked": int(model % 4 == 0)}
            made.append(about | facts_of | scores)
    return made


def test_facts_by_hand(project):
    models = split().models
    with h5py.File(f"data/shards/{SYNSETS[1]}/test-000.h5", "r+") as file:
        file["mesh_sha256"][1] = b"0123456789abcdef" * 4
    write_neighbours(dict(zip(models, (0.9799, 0.98, 1.0, 0.3), strict=True)))
    known = facts(split())
    assert known.leaked == set(models[1:3])
    assert known.meshes == dict.fromkeys(models[:3], 12 * "0") | {models[3]: "0123456789ab"}


def test_facts_need_the_neighbours_of_every_model(project):
    with pytest.raises(ValueError, match=r"data/neighbours\.csv: expected the nearest training shapes .* no file"):
        facts(split())
    write_neighbours(dict.fromkeys(split().models[:-1], 0.5))
    with pytest.raises(ValueError, match=r"expected every test model, lacks 03001627/test0300001"):
        facts(split())


def test_rows_have_every_column_and_nothing_where_a_score_was_not_taken(project):
    data = split()
    write_neighbours(dict.fromkeys(data.models, 0.5) | {data.models[1]: 1.0})
    scores = {5: {"failed": True, "iou": 0.25}, 0: {"failed": False, "iou": 1.0, "emd": 0.5}}
    first, second = rows_of(data, scores, facts(data))
    assert first == {
        "synset": SYNSETS[0],
        "model_id": "test0260000",
        "view": 0,
        "mesh": 12 * "0",
        "failed": 0,
        "leaked": 0,
        "iou": 1.0,
        "emd": 0.5,
    }
    assert (second["model_id"], second["view"], second["failed"], second["leaked"]) == ("test0260001", 2, 1, 1)
    assert second["iou"] == 0.25 and math.isnan(second["emd"])


def test_pix3d_is_at_the_threshold_that_is_best_for_all(project):
    data = split()
    write_neighbours(dict.fromkeys(data.models, 0.5))
    steps = np.arange(49)
    # One is best at 0.11, the other at 0.31, and both together at 0.21.
    curves = [1 - (steps - 10) ** 2 / 2000, 0.9 - (steps - 30) ** 2 / 2000]
    samples = [{"iou_curve": c, "chamfer_unsquared": 0.1, "emd": e} for c, e in zip(curves, (0.2, 0.4), strict=True)]
    scores = {
        item: {"failed": False} | {f"pix3d_{name}": value for name, value in sample.items()}
        for item, sample in zip((0, 3), samples, strict=True)
    }
    found = rows_of(data, scores | {1: {"failed": False}}, facts(data))
    expected = protocols.pix3d_set(samples)
    assert expected["iou_threshold"] == 0.21
    assert np.nanmean([row["pix3d_iou"] for row in found]) == pytest.approx(expected["iou"])
    assert [round(row["pix3d_threshold"], 2) for row in found if row["view"] == 0] == 2 * [expected["iou_threshold"]]
    assert np.nanmean([row["pix3d_emd"] for row in found]) == pytest.approx(expected["emd"])
    assert math.isnan(found[1]["pix3d_iou"]) and math.isnan(found[1]["pix3d_threshold"])
    assert not any("curve" in name for row in found for name in row)


def test_points_have_no_pix3d_iou(project):
    data = split()
    write_neighbours(dict.fromkeys(data.models, 0.5))
    [row] = rows_of(data, {0: {"failed": False, "pix3d_emd": 0.1}}, facts(data))
    assert [name for name in row if name.startswith("pix3d")] == ["pix3d_emd"]


def test_a_mesh_is_one_shape_and_a_model_without_is_its_own():
    assert shapes(rows())[::VIEWS] == ["one", "one", f"{SYNSETS[0]}/m2", *[f"mesh{i}" for i in range(3, 8)]]


def test_summary_is_the_plain_mean_and_the_bootstrap_of_the_shapes():
    made = rows()
    by_score = {line["score"]: line for line in summary(made)}
    assert list(by_score) == ["iou", "chamfer_unsquared", "f_score_1%", "iou_32", "emd", "normal_consistency"]
    for name, line in by_score.items():
        values = np.array([row[name] for row in made])
        assert line["mean"] == pytest.approx(np.nanmean(values))
        assert line["samples"] == (8 if name == "emd" else 24)
        mesh = [row["mesh"] or f"{row['synset']}/{row['model_id']}" for row in made]
        alone = intervals(values[:, None], mesh)[:, 0]
        assert [line["mean"], line["low"], line["high"]] == pytest.approx(alone.tolist())
    assert by_score["iou"]["low"] < by_score["iou"]["mean"] < by_score["iou"]["high"]


def test_a_score_that_no_row_has_is_left_out():
    nothing = [row | {"emd": NAN} for row in rows()]
    assert "emd" not in [line["score"] for line in summary(nothing)]


def test_files_agree_with_the_rows(project):
    made = rows()
    overall = write("s", made, "hash", 0.4, {"val_iou": np.linspace(0, 1, 99), "test_iou": np.linspace(0, 0.5, 99)})
    samples, metrics = table(Path("data/scores/s/samples.csv")), table(Path("data/scores/s/metrics.csv"))
    assert list(samples[0]) == list(made[0])
    assert [row["iou"] for row in samples] == [f"{row['iou']:.6f}" for row in made]
    assert [row["emd"] == "" for row in samples] == [row["view"] > 0 for row in made]
    assert samples[6]["mesh"] == "" and samples[6]["leaked"] == "0" and samples[0]["leaked"] == "1"
    scopes = {
        "overall": made,
        "without_leaks": [row for row in made if not row["leaked"]],
        "airplane": made[:12],
        "chair": made[12:],
    }
    assert list(dict.fromkeys(row["scope"] for row in metrics)) == list(scopes)
    for row in metrics:
        values = np.array([sample[row["score"]] for sample in scopes[row["scope"]]])
        found = intervals(values[:, None], shapes(scopes[row["scope"]]))[:, 0]
        assert [float(row[key]) for key in ("mean", "low", "high")] == pytest.approx(found.tolist(), abs=1e-6)
        assert float(row["mean"]) == pytest.approx(np.nanmean(values), abs=1e-6)
        assert int(row["samples"]) == (~np.isnan(values)).sum()
    sweep = table(Path("data/scores/s/thresholds.csv"))
    assert [float(row["threshold"]) for row in sweep] == [round(t, 2) for t in THRESHOLDS.tolist()]
    assert [float(row["val_iou"]) for row in sweep] == pytest.approx(np.linspace(0, 1, 99), abs=1e-6)
    assert [float(row["test_iou"]) for row in sweep] == pytest.approx(np.linspace(0, 0.5, 99), abs=1e-6)
    assert json.loads(Path("data/metrics/s/overall.json").read_text()) == overall


def test_the_few_figures_fit_a_line(project):
    """As `dvc metrics show` prints them: two spaces after the path, four between figures."""
    few = write("category_mean_shape", rows(), "hash", 0.4)
    every = read_figures("category_mean_shape")["overall"]
    assert few == {
        "iou_32": every["iou_32"],
        "iou": every["iou"],
        "chamfer": every["chamfer_unsquared"],
        "f_score_1%": every["f_score_1%"],
        "failures": every["failures"],
    }
    line = "data/metrics/category_mean_shape/overall.json" + "  " + "    ".join(few)
    assert len(line) <= 100 and all(len(str(value)) <= 6 for value in few.values())


def test_headlines(project):
    made = rows()
    write("s", made, "hash", 0.4)
    files = read_figures("s")
    overall = files["overall"]
    assert list(overall) == [
        *["iou", "iou_low", "iou_high"],
        *["chamfer_unsquared", "chamfer_low", "chamfer_high"],
        *[
            "iou_32",
            "f_score_1%",
            "normal_consistency",
            "samples",
            "models",
            "failures",
            "leaked",
            "threshold",
            "split",
        ],
        *["iou_without_leaks", "chamfer_without_leaks", "split_sha256"],
    ]
    assert [overall[key] for key in ("samples", "models", "failures", "leaked")] == [24, 8, 3, 2]
    assert (overall["threshold"], overall["split"]) == (0.4, "hash")
    for score, short in (("iou", "iou"), ("chamfer_unsquared", "chamfer")):
        mean, low, high = intervals(np.array([[row[score]] for row in made]), shapes(made))[:, 0]
        found = [overall[key] for key in (score, f"{short}_low", f"{short}_high")]
        assert found == pytest.approx([mean, low, high], abs=5.1e-5)
        kept = [row[score] for row in made if not row["leaked"]]
        assert overall[f"{short}_without_leaks"] == pytest.approx(np.mean(kept), abs=5.1e-5)
    assert split_sha256({(row["synset"], row["model_id"]) for row in made}).startswith(overall["split_sha256"])
    assert list(files) == ["overall", "airplane", "chair"]
    chair = files["chair"]
    assert [chair[key] for key in ("samples", "models", "failures", "leaked")] == [12, 4, 0, 1]
    assert chair["iou"] == pytest.approx(np.mean([row["iou"] for row in made[12:]]), abs=5.1e-5)
    assert not Path("data/scores/s/thresholds.csv").exists()


def test_without_grids_there_is_no_iou_and_no_threshold(project):
    made = [{key: value for key, value in row.items() if "iou" not in key} for row in rows()]
    few = write("s", made, "hash")
    overall = read_figures("s")["overall"]
    assert not [key for key in [*overall, *few] if "iou" in key or "threshold" in key]
    assert overall["chamfer_without_leaks"] > 0


def test_when_every_model_has_leaked_there_is_nothing_without(project):
    write("s", [row | {"leaked": 1} for row in rows()], "hash")
    overall = read_figures("s")["overall"]
    assert overall["leaked"] == 8
    assert not [key for key in overall if "without" in key]
    assert {row["scope"] for row in table(Path("data/scores/s/metrics.csv"))} == {"overall", "airplane", "chair"}


def test_a_second_run_replaces_the_first(project):
    write("s", rows(), "hash", 0.4, {"val_iou": np.zeros(99)})
    write("s", rows()[:12], "hash")
    assert list(read_figures("s")) == ["overall", "airplane"]
    files = sorted(path.name for path in Path("data/scores/s").iterdir())
    assert files == ["figures.json", "metrics.csv", "samples.csv"]


def test_headline_counts_models_once():
    made = rows()[:6]
    found = headline(made, summary(made))
    assert [found[key] for key in ("samples", "models", "failures", "leaked")] == [6, 2, 3, 1]
