from __future__ import annotations

import csv
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from lightning_fabric import Fabric
from PIL import Image

from pipeline.baselines import Baselines
from pipeline.geometry.surfaces import mesh_occupancy
from pipeline.metrics import Evaluation
from pipeline.metrics import Params as MetricsParams
from pipeline.pages import pictures
from pipeline.pages.page import GROUPS, Results, all_scores, line, tiles, verdict
from pipeline.report import Params, choose, closer, headline, looked_up, read_samples, report
from pipeline.scoring import scorer
from pipeline.shards.layout import ShardDataset
from pipeline.training import snapshots
from pipeline.training.checkpoints import load_checkpoint
from tests.constant_system import write_checkpoint
from tests.samples import SYNSETS, write_boxes

pytestmark = pytest.mark.long

R = 16
SETTINGS = MetricsParams(seed=0, points=200, matched=50, views=3, batch_size=8)
CURVES = "samples,voxels,game,val_iou,val_bce,lr\n100,0.5,0,0.2,0.4,0.001\n200,0.4,,0.3,0.3,0.001\n"
POINTS = "samples,chamfer,val_chamfer,lr\n100,0.5,0.2,0.001\n200,0.4,0.1,0.001\n"
OF_POINTS = "chamfer_unsquared", "f_score_1%"


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with shards of boxes, and all that the report reads of a system that always gives a cube."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ONEVIEW_DEVICE", "cpu")
        write_boxes(Path("data/shards"), R)
        with pytest.MonkeyPatch.context() as without:
            without.setattr(scorer, "WITH_SCIPY", False)  # the baselines are there sooner, and have fewer scores
            Baselines(SETTINGS, SYNSETS).write()
        scored(cube(0.9), views=3)
    return folder


@pytest.fixture
def project(scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is the working directory."""
    shutil.copytree(scores, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    monkeypatch.setattr(scorer, "WITH_SCIPY", False)
    return tmp_path


def scored(answer: torch.Tensor, output: str = "occupancy", views: int = 1, curves: str = CURVES) -> None:
    """All that the report reads of a system that always gives this answer."""
    write_checkpoint(Path("data/checkpoints/s.pt"), answer, output, views)
    Path("data/curves").mkdir(exist_ok=True)
    Path("data/curves/s.csv").write_text(curves)
    network, _, _ = load_checkpoint(Path("data/checkpoints/s.pt"))
    shapes = snapshots.taken(Fabric(accelerator="cpu", devices=1), network, torch.zeros(4, 1, 1, 12, 16), 0.5)
    taken = [{"samples": samples, "shapes": shapes} for samples in (100, 200)]
    snapshots.write(Path("data/snapshots/s.npz"), [0, 3, 6, 9], taken)
    Evaluation("s", SETTINGS, SYNSETS).write()


def cube(probability: float) -> torch.Tensor:
    """Probabilities: a centred cube of this one."""
    field = torch.full((R, R, R), 1e-6)
    field[4:12, 4:12, 4:12] = probability
    return field


def views(synset: str, model: str, *scores: float, score: str = "iou") -> list[dict[str, str]]:
    return [{"synset": synset, "model_id": model, "view": str(i), score: str(v)} for i, v in enumerate(scores)]


class Page(HTMLParser):
    """Texts, addresses and open tags of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.words, self.addresses, self.open = "", list[str](), list[str]()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("src", "href", "xlink:href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def shown() -> Page:
    return Page(Path("data/report/s/index.html").read_text(encoding="utf-8"))


def drawn(column: int) -> np.ndarray:
    """(H, W, 3) the cell of the first row in a column of the sheet."""
    sheet = np.asarray(Image.open("data/report/s/contact_sheet.png"))
    left = pictures.CAPTION + pictures.GAP + column * (pictures.CELL[0] + pictures.GAP)
    top = pictures.HEADER + pictures.GAP // 2
    return sheet[top : top + pictures.CELL[1], left : left + pictures.CELL[0]]


@pytest.mark.long
def test_the_report_is_a_sheet_and_a_page(project: Path) -> None:
    report("s", Params(rows=2), SYNSETS)
    sheet = Image.open("data/report/s/contact_sheet.png")
    assert sheet.height == pictures.HEADER + 2 * (pictures.CELL[1] + pictures.GAP)
    assert len(np.unique(np.asarray(sheet).reshape(-1, 3), axis=0)) > 200
    page = shown()
    assert not page.open
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    for word in ("airplane", "chair", "18 views of 6 test models", "Threshold 0.", "Protocol of R3D", "Oracle"):
        assert word in page.words
    assert "validation IoU by threshold" in page.words and "test IoU by views of a shape" in page.words
    assert "Protocol of 3D-R2N2" not in page.words  # it needs a multiple of 32


@pytest.mark.long
def test_points_have_distances_and_no_threshold(project: Path) -> None:
    ball = torch.from_numpy(trimesh.creation.icosphere(2, 0.3).vertices.copy())
    scored(ball, "points", curves=POINTS)
    report("s", Params(rows=2), SYNSETS)
    words = shown().words
    assert "Chamfer ↓F-score 1% ↑" in words and "validation Chamfer distance" in words
    assert not [word for word in ("Threshold", "IoU ↑", "Solid grids", "by threshold", "by views") if word in words]
    orange = drawn(2).astype(int)
    assert (orange[..., 0] - orange[..., 2] > 30).mean() > 0.02  # the points, in their colour


@pytest.mark.long
def test_a_mesh_is_shown_as_it_is(project: Path) -> None:
    box = trimesh.creation.box((0.5, 0.5, 0.5))
    curves = "samples,chamfer,val_chamfer,val_iou,lr\n100,0.5,0.2,0.3,0.001\n"
    scored(torch.from_numpy(box.triangles.copy()), "mesh", curves=curves)
    report("s", Params(rows=2), SYNSETS)
    words = shown().words
    assert "IoU ↑Chamfer ↓" in words and "validation IoU" in words and "Threshold" not in words
    orange = drawn(2).astype(int)
    assert (orange[..., 0] - orange[..., 2] > 30).mean() > 0.1


@pytest.mark.long
def test_the_report_is_the_same_when_made_again(project: Path) -> None:
    contents = []
    for _ in range(2):
        report("s", Params(rows=2), SYNSETS)
        contents.append([path.read_bytes() for path in sorted(Path("data/report/s").iterdir())])
    assert contents[0] == contents[1]


def test_a_failed_prediction_is_shown_as_nothing(project: Path) -> None:
    scored(torch.full((R, R, R), torch.nan))
    report("s", Params(rows=1), SYNSETS)
    assert "18failures of 18" in shown().words
    assert 0 < (drawn(2) < 250).any(axis=-1).sum() < 1500  # a word


def test_metrics_come_first(project: Path) -> None:
    with pytest.raises(ValueError, match=r"data/scores/t/figures\.json: expected the figures of t, found no file"):
        report("t", Params(rows=1), SYNSETS)
    for path in ("data/scores/oracle/metrics.csv", "data/views/s.csv", "data/curves/s.csv"):
        Path(path).rename("aside")
        with pytest.raises(ValueError, match=rf"{path}: expected a table with rows"):
            report("s", Params(rows=1), SYNSETS)
        Path("aside").rename(path)
    assert not Path("data/report").exists()


def test_scores_of_other_shards_are_refused(project: Path) -> None:
    for name in ("s", "mean_shape", "nearest_image"):
        path = Path(f"data/scores/{name}/samples.csv")
        path.write_text(path.read_text().replace("test030", "gone030"))
        if name != "nearest_image":
            with pytest.raises(ValueError, match="expected the samples of s, lacks 03001627/gone030"):
                report("s", Params(rows=2), SYNSETS)
    with pytest.raises(ValueError, match="expected scores of the test shards, got 03001627/gone030"):
        report("s", Params(rows=2), SYNSETS)


def test_what_is_shown_beside_is_what_was_scored(project: Path) -> None:
    test, train = (ShardDataset(Path("data/shards"), SYNSETS, split) for split in ("test", "train"))
    items = [0, 4, 11, 17]
    scores = list(read_samples("nearest_image").values())
    answers = [scores[item]["answer"] for item in items]
    for item, surface in zip(items, looked_up(train, answers), strict=True):
        found = mesh_occupancy(*surface, R)
        truth = np.unpackbits(test[item]["occupancy"]).reshape(R, R, R).astype(bool)
        assert (found & truth).sum() / (found | truth).sum() == pytest.approx(float(scores[item]["iou"]), abs=1e-6)


def test_grids_of_other_resolutions_are_compared_at_a_common_one() -> None:
    sample = dict.fromkeys(("iou", "iou_32", *OF_POINTS), "0")
    assert headline(sample, True) == ("iou", "chamfer_unsquared")
    assert headline(sample, False) == ("iou_32", "chamfer_unsquared")
    assert headline(dict.fromkeys(OF_POINTS, "0"), True) == OF_POINTS
    assert headline(dict.fromkeys(("iou", *OF_POINTS), "0"), False) == OF_POINTS


@pytest.mark.parametrize(("score", "expected"), [("iou", 1 / 4), ("chamfer_unsquared", 2 / 4)])
def test_closer_is_better_and_not_as_good(score: str, expected: float) -> None:
    own, other = (
        {tuple(row["view"]): row for row in views("a", "m", *values, score=score)}
        for values in ((0.5, 0.2, 0.3, 0.4), (0.4, 0.3, 0.3, 0.6))
    )
    assert closer(own, other, score) == expected


def test_rows_are_at_evenly_spaced_ranks_of_median_views() -> None:
    scores = views("a", "good", 0.9, 0.1, 0.8) + views("a", "bad", 0.2, 0.3) + views("a", "fair", 0.5)
    scores += views("b", "only", 0.4)
    # Medians: good 0.8 (view 2), fair 0.5, bad 0.2 (the worse of two, view 0).
    picks = choose(scores, 4, "iou")
    found = [(p.score["model_id"], p.score["view"], p.rank, p.models) for p in picks]
    assert found == [("good", "2", 1, 3), ("bad", "0", 3, 3), ("only", "0", 1, 1)]
    assert [p.score["model_id"] for p in choose(scores, 2, "iou")] == ["fair", "only"]
    assert choose(list(reversed(scores)), 4, "iou") == picks


def test_distances_rank_from_the_least_up() -> None:
    score = "chamfer_unsquared"
    scores = views("a", "far", 0.9, 0.1, 0.8, score=score) + views("a", "near", 0.2, 0.3, score=score)
    picks = choose(scores, 2, score)
    assert [(p.score["model_id"], p.score["view"], p.rank) for p in picks] == [("near", "1", 1), ("far", "2", 2)]


def test_fewer_rows_than_categories_are_spread() -> None:
    scores = [row for name in "abcdefgh" for row in views(name, name, 0.5)]
    assert [p.score["synset"] for p in choose(scores, 4, "iou")] == ["b", "d", "f", "h"]
    assert len(choose(scores, 8, "iou")) == 8


def results(iou: float, nearest: float, leaked: int = 0) -> Results:
    """One scope, in which the mean shape has an IoU of 0.3, and every Chamfer distance is 0.1."""

    def lines(value: float) -> dict[tuple[str, str], dict[str, float]]:
        found = {"mean": value, "low": value - 0.05, "high": value + 0.05, "samples": 6}
        distance = found | {"mean": 0.1}
        return {("overall", "iou"): found, ("overall", "chamfer_unsquared"): distance, ("without_leaks", "iou"): found}

    names = {"s": iou, "s_retrieval": 0.25, "nearest_image": nearest, "mean_shape": 0.3, "oracle": 0.9}
    figures = {"samples": 6, "models": 3, "failures": 0, "leaked": leaked}
    by_name = {name: lines(value) for name, value in names.items()}
    return Results("s", ("iou", "chamfer_unsquared"), {"overall": figures}, by_name, 0.5)


@pytest.mark.parametrize(
    ("own", "sign", "expected"),
    [(0.6, 1, "better"), (0.4, 1, "worse"), (0.5, 1, ""), (0.2, -1, "better"), (0.4, -1, "worse"), (0.3, -1, "")],
)
def test_better_is_better_than_all_and_worse_than_any_is_worse(own: float, sign: int, expected: str) -> None:
    assert verdict(own, (0.5, 0.3), sign) == expected


def test_a_row_has_the_oracle_as_a_bound() -> None:
    text = line(results(0.5, 0.4), "overall")
    assert text.startswith('<tr class="total"><td>all views</td><td class="better">0.500</td>')
    assert '<td>0.400</td><td>0.300</td><td class="bound">0.900</td><td class="">0.100</td>' in text


def test_leaks_are_told_where_there_are_any() -> None:
    assert not [tile for tile in tiles(results(0.5, 0.4)) if "twin" in tile]
    (leaks,) = [tile for tile in tiles(results(0.5, 0.4, leaked=2)) if "twin" in tile]
    assert "<b>2</b>" in leaks and "of 3 models" in leaks and "without them, IoU 0.500" in leaks
    first = next(iter(tiles(results(0.5, 0.4))))
    assert "IoU [0.450, 0.550]" in first and "nearest image 0.400, mean shape 0.300" in first


def test_all_scores_of_the_metrics_stage_have_a_place(project: Path) -> None:
    with Path("data/scores/s/metrics.csv").open(newline="") as file:
        found = {row["score"] for row in csv.DictReader(file)}
    left_out = {name for name in found if name.startswith(("precision", "recall"))} | {"pix3d_threshold"}
    assert found - left_out <= {score for _, _, scores in GROUPS for score in scores}


def test_a_table_has_a_row_for_what_was_scored() -> None:
    rows = list(all_scores(results(0.5, 0.4)))
    assert ["Solid grids" in rows[0], "Points on the true mesh" in rows[2], len(rows)] == [True, True, 4]
    assert rows[1].count("<td") == 7 and "[0.450, 0.550]" in rows[1] and '<td class="bound">0.900</td>' in rows[1]


def test_params_refuse_no_rows() -> None:
    with pytest.raises(ValueError, match="rows: expected at least 1, got 0"):
        Params(rows=0)
