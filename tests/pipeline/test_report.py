from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline import metrics, pictures
from pipeline.report import Params, choose, report
from tests.constant_system import write_checkpoint
from tests.samples import SYNSETS, write_boxes

R = 16
CURVES = "samples,voxels,game,val_iou,val_bce,lr\n100,0.5,0,0.2,0.4,0.001\n200,0.4,,0.3,0.3,0.001\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with shards of boxes, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    write_boxes(Path("data/shards"), R)
    return tmp_path


def scored(probability: float) -> None:
    """All that the report reads, of a system that always predicts a centred cube of this probability."""
    field = torch.full((R, R, R), 1e-6)
    field[4:12, 4:12, 4:12] = probability
    write_checkpoint(Path("data/checkpoints/s.pt"), field)
    metrics.evaluate("s", metrics.Params(seed=0, points=200, batch_size=8), SYNSETS)
    Path("data/curves").mkdir(exist_ok=True)
    Path("data/curves/s.csv").write_text(CURVES)


def views(synset: str, model: str, *ious: float) -> list[dict[str, str]]:
    return [{"synset": synset, "model_id": model, "view": str(i), "iou": str(value)} for i, value in enumerate(ious)]


class Page(HTMLParser):
    """Texts, addresses and open tags of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.words, self.addresses, self.open = "", list[str](), list[str]()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("src", "href", "xlink:href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def test_the_report_is_a_sheet_and_a_page(project):
    scored(0.9)
    report("s", Params(rows=4), SYNSETS)
    sheet = Image.open("data/report/s/contact_sheet.png")
    assert sheet.height == pictures.HEADER + 4 * (pictures.CELL[1] + pictures.GAP)
    assert len(np.unique(np.asarray(sheet).reshape(-1, 3), axis=0)) > 200
    page = Page(Path("data/report/s/index.html").read_text(encoding="utf-8"))
    assert not page.open
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    for word in ("airplane", "chair", "18 views of 6 test models", "Failures", "validation IoU by threshold"):
        assert word in page.words


def test_the_report_is_the_same_when_made_again(project):
    scored(0.9)
    contents = []
    for _ in range(2):
        report("s", Params(rows=2), SYNSETS)
        contents.append([path.read_bytes() for path in sorted(Path("data/report/s").iterdir())])
    assert contents[0] == contents[1]


def test_a_failed_prediction_is_shown_as_nothing(project):
    scored(1e-6)
    report("s", Params(rows=1), SYNSETS)
    assert "18failures of 18" in Page(Path("data/report/s/index.html").read_text()).words


def test_metrics_come_first(project):
    with pytest.raises(ValueError, match=r"data/metrics/s: expected the figures of the metrics stage"):
        report("s", Params(rows=1), SYNSETS)
    scored(0.9)
    Path("data/curves/s.csv").unlink()
    with pytest.raises(ValueError, match=r"data/curves/s\.csv: expected a table with rows"):
        report("s", Params(rows=1), SYNSETS)
    assert not Path("data/report").exists()


def test_scores_of_other_shards_are_refused(project):
    scored(0.9)
    path = Path("data/scores/s/samples.csv")
    path.write_text(path.read_text().replace("test030", "gone030"))
    with pytest.raises(ValueError, match="expected scores of the test shards, got 03001627/gone030"):
        report("s", Params(rows=2), SYNSETS)


def test_rows_are_at_evenly_spaced_ranks_of_median_views():
    scores = views("a", "good", 0.9, 0.1, 0.8) + views("a", "bad", 0.2, 0.3) + views("a", "fair", 0.5)
    scores += views("b", "only", 0.4)
    # Medians: good 0.8 (view 2), fair 0.5, bad 0.2 (the lower of two, view 0).
    picks = choose(scores, 4)
    found = [(p.score["model_id"], p.score["view"], p.rank, p.models) for p in picks]
    assert found == [("good", "2", 1, 3), ("bad", "0", 3, 3), ("only", "0", 1, 1)]
    assert [p.score["model_id"] for p in choose(scores, 2)] == ["fair", "only"]
    assert choose(list(reversed(scores)), 4) == picks


def test_fewer_rows_than_categories_are_spread():
    scores = [row for name in "abcdefgh" for row in views(name, name, 0.5)]
    assert [p.score["synset"] for p in choose(scores, 4)] == ["b", "d", "f", "h"]
    assert len(choose(scores, 8)) == 8


def test_params_refuse_no_rows():
    with pytest.raises(ValueError, match="rows: expected at least 1, got 0"):
        Params(rows=0)
