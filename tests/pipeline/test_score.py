from __future__ import annotations

import json
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from pipeline import score
from pipeline.metrics import Evaluation, Params
from pipeline.others.names import photo
from pipeline.scoring import protocols, scorer, shapenet
from pipeline.scoring.clouds import BOUNDS
from pipeline.scoring.figures import read_figures
from pipeline.scoring.scorer import sample_key
from pipeline.shards.layout import ShardDataset
from tests.constant_system import write_checkpoint
from tests.pipeline.test_metrics import column, table, write_shards
from tests.samples import SPLITS, SYNSETS

R, VIEWS = 16, 3
COUNT = len(SYNSETS) * SPLITS["test"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with shards of boxes and their neighbours, of which two views a model are scored."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    monkeypatch.setattr(scorer, "WITH_SCIPY", False)
    write_shards()
    Path("params.yaml").write_text(
        "dataset: {root: r, split: hash, max_rejected: 0, categories: ['02691156', '03001627']}\n"
        "metrics: {seed: 0, points: 300, matched: 20, views: 2, batch_size: 4}\n"
    )
    return tmp_path


def split() -> ShardDataset:
    return ShardDataset(Path("data/shards"), SYNSETS, "test", targets=("occupancy", "points"))


def samples(views: int = 2) -> list[tuple[tuple[str, str, int], np.ndarray, np.ndarray]]:
    """Of every scored sample its key, its grid and the half sizes of its box."""
    data = split()
    found = []
    for item in (item for item in range(len(data)) if item % VIEWS < views):
        grid = np.unpackbits(data[item]["occupancy"]).reshape(R, R, R).astype(bool)
        found.append((sample_key(data, item), grid, np.abs(data[item]["points"]).max(0)))
    return found


def put(folder: str, key: tuple[str, str, int], ending: str) -> Path:
    path = Path(folder) / photo(key).replace(".png", ending)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def boxes(folder: str, scale: float = 1.0, shift: float = 0.0) -> None:
    """The true boxes as meshes."""
    for key, _, half in samples():
        trimesh.creation.box(2 * half).apply_scale(scale).apply_translation([shift] * 3).export(
            put(folder, key, ".obj")
        )


def rows(name: str) -> list[dict[str, str]]:
    return table(f"data/scores/{name}/samples.csv")


@pytest.mark.long
def test_a_systems_predictions_score_what_the_system_scores(project, monkeypatch):
    monkeypatch.setattr(scorer, "WITH_SCIPY", True)
    monkeypatch.setattr(protocols, "pix3d", lambda *_: {})
    monkeypatch.setattr(shapenet, "OCCNET_POINTS", 500)
    answer = torch.full((R, R, R), 0.1)
    answer[4:12, 2:14, 5:11] = 0.7
    write_checkpoint(Path("data/checkpoints/s.pt"), answer)
    Evaluation("s", Params(0, 300, 20, 2, 4), SYNSETS).write()
    for key, *_ in samples():
        np.save(put("predictions", key, ".npy"), answer.numpy())
    score.main(Path("predictions"), "s", threshold=read_figures("s")["overall"]["threshold"])
    assert rows("s@as_is") == rows("s")
    assert read_figures("s@as_is") == read_figures("s")
    of_both = [json.loads(Path(f"data/metrics/{name}/overall.json").read_text()) for name in ("s", "s@as_is")]
    assert of_both[0] == of_both[1]
    assert not Path("data/scores/s@as_is/failures.csv").exists()


@pytest.mark.long
def test_the_truth_as_grids_is_perfect_at_any_side(project):
    for key, grid, _ in samples():
        np.save(put("fine", key, ".npy"), grid.repeat(2, 0).repeat(2, 1).repeat(2, 2))
        np.save(put("coarse", key, ".npy"), grid.reshape(8, 2, 8, 2, 8, 2).max(axis=(1, 3, 5)))
    for name in ("fine", "coarse"):
        score.main(Path(name))
        found = rows(f"{name}@as_is")
        assert len(found) == 2 * COUNT and set(column(found, "iou")) == {1.0}
        assert set(column(found, "log_loss")) == {0.0}
    for path in Path("coarse").rglob("*.npy"):
        np.save(path, np.zeros((10, 10, 10)))
    with pytest.raises(
        ValueError, match="expected grids whose side divides 16 or is a multiple of it, got a grid of 10"
    ):
        score.main(Path("coarse"))


@pytest.mark.long
def test_a_frame_is_set_right_by_its_rule_and_its_name_tells(project, capsys):
    boxes("predictions", scale=3, shift=0.7)
    for align in ("as_is", "longest_side", "axes_y_z_x+longest_side", "best_of_24+scaled_icp"):
        score.main(Path("predictions"), "other", align)
    means = {name: read_figures(f"other@{name}")["overall"] for name in ("as_is", "longest_side")}
    assert means["as_is"]["chamfer_unsquared"] > 1 > 0.7 > means["longest_side"]["chamfer_unsquared"]
    assert read_figures("other@best_of_24+scaled_icp")["overall"]["chamfer_unsquared"] < 0.1
    assert read_figures("other@axes_y_z_x+longest_side")["overall"]["iou"] < means["longest_side"]["iou"]
    assert "other@longest_side: iou " in capsys.readouterr().out
    assert "log_loss" not in rows("other@as_is")[0] and "threshold" not in means["as_is"]


def test_meshes_fill_what_they_enclose_or_what_the_truths_would(project):
    boxes("predictions")
    score.main(Path("predictions"))
    found = column(rows("predictions@as_is"), "iou")
    centres = np.abs((np.arange(R) + 0.5) / R - 0.5)
    for value, (_, grid, half) in zip(found, samples(), strict=True):
        inside = [centres < h for h in half]
        enclosed = inside[0][:, None, None] & inside[1][:, None] & inside[2]
        assert value == pytest.approx((enclosed & grid).sum() / (enclosed | grid).sum(), abs=1e-6)


@pytest.mark.long
def test_open_meshes_and_solid_ones_are_voted_on(project):
    for key, _, half in samples():
        box = trimesh.creation.box(2 * half)
        bottom = (box.triangles[:, :, 1] < 0).all(1)
        trimesh.Trimesh(box.vertices, box.faces[~bottom]).export(put("open", key, ".ply"))
        box.export(put("closed", key, ".off"))
    score.main(Path("open"))
    score.main(Path("closed"), solid=True)
    cells = 0.5 - np.arange(R + 1) / R  # borders
    for name in ("open@as_is", "closed@as_is+solid"):
        for value, (_, grid, half) in zip(column(rows(name), "iou"), samples(), strict=True):
            touched = [(np.maximum(-cells[:-1], -h) < np.minimum(-cells[1:], h)) for h in half]
            full = touched[0][:, None, None] & touched[1][:, None] & touched[2]
            assert value == pytest.approx((full & grid).sum() / (full | grid).sum(), abs=1e-6)


@pytest.mark.long
def test_what_is_missing_or_no_shape_fails_and_is_named(project, capsys):
    boxes("predictions")
    files = sorted(Path("predictions").rglob("*.obj"))
    files[0].unlink()
    files[1].write_text("v 1 2")
    files[2].write_text("v 0 0 0\nv 0 0 1\n")
    files[3].write_text("v 0 0 0\nv 1e9 0 0\nv 0 1e9 0\nv 0 0 1e9\nf 1 2 3\nf 1 3 4\nf 1 4 2\nf 2 4 3\n")
    Path("predictions/03001627/other_0.obj").write_text("")
    score.main(Path("predictions"))
    overall = read_figures("predictions@as_is")["overall"]
    assert (overall["samples"], overall["failures"]) == (2 * COUNT, 4)
    failed = table("data/scores/predictions@as_is/failures.csv")
    key = (files[0].parent.name, *files[0].stem.rsplit("_", 1))
    assert tuple(failed[0][name] for name in ("synset", "model_id", "view", "reason")) == (*key, "no file")
    reasons = [row["reason"] for row in failed[1:]]
    for reason, expected in zip(
        reasons, ("whole last line", "as the others are, got points", "reaches to 1e"), strict=True
    ):
        assert expected in reason
    worst = [row for row in rows("predictions@as_is") if row["failed"] == "1"]
    for name in ("iou", "chamfer_unsquared", "f_score_1%", "normal_consistency"):
        assert column(worst, name) == pytest.approx([BOUNDS[name][1]] * 4)
    out = capsys.readouterr().out
    assert f"failed: {key[0]}/{key[1]}, view {key[2]}: no file" in out
    assert "1 files are of no test sample that is scored: 03001627/other_0.obj" in out


def test_a_grid_without_a_cell_above_the_threshold_says_so(project):
    for number, (key, grid, _) in enumerate(samples()):
        np.save(put("predictions", key, ".npy"), grid * (0.4 if number == 0 else 0.7))
    score.main(Path("predictions"))
    failed = table("data/scores/predictions@as_is/failures.csv")
    assert [row["reason"] for row in failed] == ["an empty shape at --threshold 0.5"]


def test_photos_are_what_a_method_is_given(project):
    score.main(Path("photos"), photos=True)
    listed = Path("photos/photos.txt").read_text().split()
    assert listed == [photo(key) for key, *_ in samples()] and len(list(Path("photos").rglob("*.png"))) == len(listed)
    data = split()
    pixels = np.array(Image.open(f"photos/{listed[1]}"))
    raw = data[1]
    assert pixels.shape == (48, 64, 4)
    np.testing.assert_array_equal(pixels[..., 3] > 0, np.unpackbits(raw["masks"][0], axis=-1) > 0)
    np.testing.assert_array_equal(pixels[..., 0], raw["views"][0])


def test_photos_are_in_colour_where_there_is_any(project):
    for path in Path("data/shards").rglob("test-*.h5"):
        with h5py.File(path, "r+") as file:
            models, views, height, width = file["views"].shape
            colours = np.full((models, views, height, width, 3), (10, 20, 30), np.uint8)
            file.create_dataset("color", data=colours, chunks=(1, 1, height, width, 3), compression="gzip")
            sums = np.full((models, views), zlib.crc32(colours[0, 0].tobytes()), np.uint32)
            file.create_dataset("crc32/color", data=sums)
    score.main(Path("photos"), photos=True)
    for path in Path("photos").rglob("*.png"):
        assert (np.array(Image.open(path))[..., :3] == (10, 20, 30)).all()


@pytest.mark.long
def test_a_preset_knows_where_files_lie_and_how_they_are_turned(project):
    """The camera of the shards looks along -Z, with +X to its left."""
    for number, (_, _, half) in enumerate(samples()):
        path = Path(f"output/{number}/mesh.obj")
        path.parent.mkdir(parents=True)
        trimesh.creation.box(2 * half[[2, 0, 1]]).export(path)  # x to the camera, y right, z up
    score.main(Path("output"), preset="triposr")
    name = f"triposr@{score.PRESETS['triposr'].align}"
    boxes("upright")
    score.main(Path("upright"), align="longest_side")
    assert column(rows(name), "iou") == column(rows("upright@longest_side"), "iou")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "other"}, "--preset: expected one of triposr, got 'other'"),
        ({"align": "upright"}, "--align: expected rules of as_is, "),
        ({"name": "a@b"}, "--name: expected letters, digits, '.', '_' and '-', got 'a@b'"),
        ({"threshold": 1.0}, "--threshold: expected a number between 0 and 1, got 1.0"),
        ({}, "nowhere: expected a folder of predictions, found none"),
    ],
)
def test_what_can_not_be_is_refused(project, arguments, message):
    with pytest.raises(ValueError, match=message):
        score.main(Path("nowhere"), **arguments)


def test_files_that_can_not_be_read_are_refused(project):
    for key, *_ in samples():
        put("predictions", key, ".npy").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"expected predictions, got none that can be read: predictions/.*expected arrays"
    ):
        score.main(Path("predictions"))
