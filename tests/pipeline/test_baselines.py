from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.baselines import Baselines, mean_occupancy
from pipeline.metrics import Params
from pipeline.scoring import scorer
from pipeline.scoring.figures import facts, read_figures
from pipeline.scoring.neighbours import packed_grids
from pipeline.shards.layout import ShardDataset
from tests.samples import SPLITS, SYNSETS, opened, write_boxes

PARAMS = Params(seed=0, points=300, matched=20, views=12, batch_size=8)
NAMES = ("mean_shape", "category_mean_shape", "nearest_image", "oracle")
R, VIEWS, BOXES = 16, 3, SPLITS["train"]
LEAKED = 1  # test model of the first category that is training model 3 of it
SEEN = 2 * VIEWS + 1  # test item that shows what the last view of training model 4 of the second category does


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder in which the stage has run, which is the working directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("project"))
        patch.setenv("ONEVIEW_DEVICE", "cpu")
        patch.setattr(scorer, "WITH_SCIPY", False)  # the protocols take most of the time and are not asked for here
        shards = write_boxes(Path("data/shards"), R)
        # Noise, as boxes of one aspect look alike whatever their size.
        noise = np.random.default_rng(0).integers(0, 256, (VIEWS + 1, 48, 64))
        for view in range(VIEWS):
            draw(shards / SYNSETS[0] / "train-000.h5", 3, view, noise[view])
        copy_model(shards / SYNSETS[0] / "train-000.h5", 3, shards / SYNSETS[0] / "test-000.h5", LEAKED)
        draw(shards / SYNSETS[1] / "train-000.h5", 4, 2, noise[-1])
        draw(shards / SYNSETS[0] / "test-000.h5", SEEN // VIEWS, SEEN % VIEWS, noise[-1])
        Baselines(PARAMS, SYNSETS).write()
        yield


def copy_model(source: Path, row: int, target: Path, place: int) -> None:
    with h5py.File(source) as a, opened(target) as b:
        for name in ("views", "masks", "occupancy", "points"):
            b[name][place] = a[name][row]


def draw(path: Path, model: int, view: int, picture: np.ndarray) -> None:
    with opened(path) as file:
        file["views"][model, view], file["masks"][model, view] = picture, 255


def solids(split: str) -> np.ndarray:
    """(M, R, R, R) bool, in the order of the shards."""
    data = ShardDataset(Path("data/shards"), SYNSETS, split)
    items = range(0, len(data), data.groups)
    return np.stack([np.unpackbits(data[i]["occupancy"]).reshape(R, R, R).astype(bool) for i in items])


def table(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def ious(name: str) -> list[float]:
    return [float(row["iou"]) for row in table(f"data/scores/{name}/samples.csv")]


def overall(name: str) -> dict:
    return read_figures(name)["overall"]


def iou_by_hand(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def all_ious() -> np.ndarray:
    """(test models, training models)."""
    return np.array([[iou_by_hand(a, b) for b in solids("train")] for a in solids("test")])


def means(by_category: bool) -> np.ndarray:
    """(2, R, R, R) float32: what is answered in each category."""
    train = solids("train").astype(np.float32)
    parts = [train[:BOXES], train[BOXES:]] if by_category else [train, train]
    return np.stack([part.mean(0) for part in parts])


@pytest.mark.parametrize(("name", "by_category"), [("mean_shape", False), ("category_mean_shape", True)])
def test_means_by_hand(name, by_category):
    answers = means(by_category)
    levels = [np.float32(t / 100) for t in range(1, 100)]
    pairs = list(zip(solids("val"), np.repeat([0, 1], SPLITS["val"]), strict=True))
    curve = [np.mean([iou_by_hand(answers[c] > t, truth) for truth, c in pairs]) for t in levels]
    assert [float(row["val_iou"]) for row in table(f"data/scores/{name}/thresholds.csv")] == pytest.approx(
        curve, abs=1e-6
    )
    best = np.flatnonzero(np.array(curve) > max(curve) - 1e-7)
    tuned = levels[best[len(best) // 2]]
    assert overall(name)["threshold"] == round(float(tuned), 2)
    tests = zip(solids("test"), np.repeat([0, 1], SPLITS["test"]), strict=True)
    expected = [iou_by_hand(answers[c] > tuned, truth) for truth, c in tests]
    assert ious(name) == pytest.approx(np.repeat(expected, VIEWS), abs=1e-6)
    assert overall(name)["iou"] == pytest.approx(np.mean(expected), abs=5.1e-5)


def test_mean_occupancy_by_hand():
    data = ShardDataset(Path("data/shards"), SYNSETS, "train")
    np.testing.assert_allclose(mean_occupancy(packed_grids(data, R), R), solids("train").mean(0), atol=1e-6)


def test_a_category_without_training_shapes_is_answered_with_the_mean_of_all():
    baselines = Baselines(PARAMS, SYNSETS)
    del baselines.means_of[SYNSETS[1]]
    (_, first), (_, last) = list(baselines.means(baselines.test, [0, 15], by_category=True))
    assert first.field is not None and last.field is not None
    np.testing.assert_allclose(last.field, solids("train").mean(0), atol=1e-6)
    assert abs(first.field - last.field).max() > 0.1


def test_the_oracle_has_the_best_iou_of_all_training_shapes():
    assert ious("oracle") == pytest.approx(np.repeat(all_ious().max(1), VIEWS), abs=1e-6)
    assert min(a - b for a, b in zip(ious("oracle"), ious("nearest_image"), strict=True)) >= 0
    assert "thresholds.csv" not in [path.name for path in Path("data/scores/oracle").iterdir()]
    train = ["/".join(model) for model in ShardDataset(Path("data/shards"), SYNSETS, "train").models]
    answers = [train.index(row["answer"]) for row in table("data/scores/oracle/samples.csv")]
    assert [all_ious()[i // VIEWS, answer] for i, answer in enumerate(answers)] == pytest.approx(
        ious("oracle"), abs=1e-6
    )


def test_the_same_view_is_answered_with_what_it_showed_in_training():
    expected = all_ious()[SEEN // VIEWS, BOXES + 4]
    assert ious("nearest_image")[SEEN] == pytest.approx(expected, abs=1e-6)
    assert expected != pytest.approx(all_ious()[SEEN // VIEWS].max(), abs=0.01)
    # All views of a model that has leaked are those of its twin.
    assert ious("nearest_image")[LEAKED * VIEWS : (LEAKED + 1) * VIEWS] == [1, 1, 1]


def test_neighbours_by_brute_force():
    rows, expected = table("data/neighbours.csv"), all_ious()
    train, test = (ShardDataset(Path("data/shards"), SYNSETS, split).models for split in ("train", "test"))
    assert list(rows[0]) == ["synset", "model_id", "train_synset", "train_model_id", "iou"]
    assert [(row["synset"], row["model_id"]) for row in rows] == test
    found = [(row["train_synset"], row["train_model_id"]) for row in rows]
    assert found == [train[index] for index in expected.argmax(1)]
    assert [float(row["iou"]) for row in rows] == pytest.approx(expected.max(1), abs=1e-6)
    assert float(rows[LEAKED]["iou"]) == 1 and rows[LEAKED]["train_model_id"] == train[3][1]


@pytest.mark.parametrize("name", NAMES)
def test_leaks_are_marked_and_left_out(name):
    rows = table(f"data/scores/{name}/samples.csv")
    leaks = np.repeat(all_ious().max(1) >= 0.98, VIEWS)
    assert 0 < leaks.sum() < len(leaks) and leaks[LEAKED * VIEWS]
    assert [row["leaked"] == "1" for row in rows] == leaks.tolist()
    figures = overall(name)
    assert figures["leaked"] == leaks.sum() / VIEWS
    for key, score in (("iou", "iou"), ("chamfer", "chamfer_unsquared")):
        values = np.array([float(row[score]) for row in rows])
        assert figures[score] == pytest.approx(values.mean(), abs=5.1e-5)
        assert figures[f"{key}_without_leaks"] == pytest.approx(values[~leaks].mean(), abs=5.1e-5)
    without = [row for row in table(f"data/scores/{name}/metrics.csv") if row["scope"] == "without_leaks"]
    assert {int(row["samples"]) for row in without} == {(~leaks).sum()}


def test_every_sample_is_scored_and_nothing_else_written():
    assert sorted(path.name for path in Path("data/scores").iterdir()) == sorted(NAMES)
    assert sorted(path.name for path in Path("data/metrics").iterdir()) == sorted(NAMES)
    for name in NAMES:
        rows = table(f"data/scores/{name}/samples.csv")
        keys = [(row["synset"], row["model_id"], int(row["view"])) for row in rows]
        assert keys == sorted(keys) and len(keys) == 18
        assert list(read_figures(name)) == ["overall", "airplane", "chair"]
        assert [path.name for path in Path(f"data/metrics/{name}").iterdir()] == ["overall.json"]


@pytest.mark.long
def test_fewer_views_score_the_first_ones(monkeypatch, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/shards").symlink_to(Path("data/shards").resolve())
    before = {name: table(f"data/scores/{name}/samples.csv") for name in NAMES}
    monkeypatch.chdir(tmp_path)
    Baselines(Params(0, 300, 20, 2, 8), SYNSETS).write()
    for name in NAMES:
        rows = table(f"data/scores/{name}/samples.csv")
        kept = [row for row in before[name] if row["view"] in ("0", "1")]
        assert [row["iou"] for row in rows] == [row["iou"] for row in kept]
    assert facts(ShardDataset(Path("data/shards"), SYNSETS, "test")).leaked
