from __future__ import annotations

import base64
import csv
import html
import io
import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from lightning_fabric import Fabric
from PIL import Image

from pipeline.baselines import Baselines
from pipeline.compare import compare
from pipeline.exhibits.drawn import looked_up, photo
from pipeline.geometry.surfaces import mesh_occupancy
from pipeline.metrics import Evaluation
from pipeline.metrics import Params as MetricsParams
from pipeline.pages import heat, pictures
from pipeline.pages.results import read_samples
from pipeline.pages.scores import GROUPS
from pipeline.report import Params, report
from pipeline.scoring import scorer
from pipeline.shards.layout import ShardDataset
from pipeline.training import snapshots
from pipeline.training.checkpoints import load_checkpoint
from tests.browser import fits, opened, pixels
from tests.constant_system import write_checkpoint
from tests.samples import SYNSETS, write_boxes

pytestmark = pytest.mark.long

R = 16
SETTINGS = MetricsParams(seed=0, points=200, matched=50, views=3, batch_size=8)
CURVES = "samples,voxels,game,val_iou,val_bce,lr\n100,0.5,0,0.2,0.4,0.001\n200,0.4,,0.3,0.3,0.001\n"
STATUS = """synset,model_id,split,status,reason,message,mesh,fill_ratio,components,disagreement,lidded,uncovered
{synset},m0,train,packed,,,m0.obj,0.2,1.0,0.0,0.0,0.0
{synset},train{start}0001,train,packed,,,m1.obj,0.4,2.0,0.125,0.0,0.0
{synset},m2,test,catalog,unreadable,<expected> a mesh & found none,m2.obj,,,,,
"""
POINTS = "samples,chamfer,val_chamfer,lr\n100,0.5,0.2,0.001\n200,0.4,0.1,0.001\n"


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
        for synset in SYNSETS:
            Path(f"data/shards/{synset}/status.csv").write_text(STATUS.format(synset=synset, start=synset[:3]))
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


def scored(
    answer: torch.Tensor, output: str = "occupancy", views: int = 1, curves: str = CURVES, name: str = "s"
) -> None:
    """All that the report reads of a system that always gives this answer."""
    write_checkpoint(Path(f"data/checkpoints/{name}.pt"), answer, output, views)
    Path("data/curves").mkdir(exist_ok=True)
    Path(f"data/curves/{name}.csv").write_text(curves)
    network, _, _ = load_checkpoint(Path(f"data/checkpoints/{name}.pt"))
    shapes = snapshots.taken(Fabric(accelerator="cpu", devices=1), network, torch.zeros(4, 1, 1, 12, 16), 0.5)
    taken = [{"samples": samples, "shapes": shapes} for samples in (100, 200)]
    snapshots.write(Path(f"data/snapshots/{name}.npz"), [0, 3, 6, 9], taken)
    Evaluation(name, SETTINGS, SYNSETS).write()
    compare([name])


def cube(probability: float) -> torch.Tensor:
    """Probabilities: a centred cube of this one."""
    field = torch.full((R, R, R), 1e-6)
    field[4:12, 4:12, 4:12] = probability
    return field


class Page(HTMLParser):
    """Texts, addresses and open tags of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.words, self.addresses, self.open = "", list[str](), list[str]()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("src", "href", "xlink:href")]
        if tag not in ("meta", "img", "br", "link", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words += data


def shown() -> Page:
    return Page(Path("data/report/index.html").read_text(encoding="utf-8"))


def drawn(column: int) -> np.ndarray:
    """(H, W, 3) the cell of the first row in a column of the sheet."""
    sheet = np.asarray(Image.open("data/report/s/contact_sheet.png"))
    left = pictures.CAPTION + pictures.GAP + column * (pictures.CELL[0] + pictures.GAP)
    top = pictures.HEADER + pictures.GAP // 2
    return sheet[top : top + pictures.CELL[1], left : left + pictures.CELL[0]]


@pytest.mark.long
def test_the_report_is_a_sheet_and_a_page(project: Path) -> None:
    report(["s"], Params(rows=2, models=4), SYNSETS)
    sheet = Image.open("data/report/s/contact_sheet.png")
    assert sheet.height == pictures.HEADER + 2 * (pictures.CELL[1] + pictures.GAP)
    assert len(np.unique(np.asarray(sheet).reshape(-1, 3), axis=0)) > 200
    page = shown()
    assert not page.open
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    for word in ("airplane", "chair", "18 views of 6 test models", "Threshold 0.", "Protocol of R3D", "Oracle"):
        assert word in page.words
    assert "validation IoU by threshold" in page.words and "test IoU by views of a shape" in page.words
    few = "? 1 model: too few to tell"  # all boxes are said to be of one mesh
    assert f"s: By IoU {few}, {few}. By Chamfer {few}, {few}." in page.words
    assert " 1 model" in page.words and "[" not in page.words  # of which there are no intervals
    assert "2 of 6 (2 catalog: unreadable)" in page.words and "<expected> a mesh & found none" in page.words
    assert "2 of 4 grids have cells" in page.words and "12.5%" in page.words
    text = Path("data/report/index.html").read_text(encoding="utf-8")
    (doubted,) = re.findall(r'(?s)<div class="doubts">(.*?)</div>', text)
    found = re.findall(r"base64,([^\"]+)\".*?<figcaption>(.*?)</figcaption>", doubted)
    assert [words for _, words in found] == ["airplane train0260001: 12.5%", "chair train0300001: 12.5%"]
    for content, _ in found:
        left, right = np.split(np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("L")), 2, axis=1)
        assert left.min() < 200 and right.min() < 200  # something is seen in the view, and of the grid
    assert text.count('<article class="entry"') == 4 and text.count('data-name="truth"') == 4
    assert not re.search(r"(src|href|url\()\s*=?\s*[\"']?(https?:)?//", re.sub(r"(?s)<script>.*?</script>", "", text))
    for picture in re.findall(r'base64,([^"]+)" alt="(?:true|answer)', text):
        cell = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))))
        assert (np.concatenate([cell[0], cell[-1], cell[:, 0], cell[:, -1]]) > 240).all() and (cell < 200).any()
    (looks,) = re.findall(r'class="looks" alt="[^"]+" src="data:image/webp;base64,([^"]+)"', text)
    assert Image.open(io.BytesIO(base64.b64decode(looks))).width == len(heat.TITLES) * (pictures.CELL[0] + pictures.GAP)
    assert "Protocol of 3D-R2N2" not in page.words  # it needs a multiple of 32


@pytest.mark.long
def test_points_have_distances_and_no_threshold(project: Path) -> None:
    ball = torch.from_numpy(trimesh.creation.icosphere(2, 0.3).vertices.copy())
    scored(ball, "points", curves=POINTS)
    report(["s"], Params(rows=2, models=4), SYNSETS)
    words = shown().words
    assert "s: By Chamfer ? 1 model" in words and "validation Chamfer distance" in words
    assert not [word for word in ("Threshold", "Solid grids", "by threshold", "by views") if word in words]
    orange = drawn(2).astype(int)
    assert (orange[..., 0] - orange[..., 2] > 30).mean() > 0.02  # the points, in their colour


@pytest.mark.long
def test_a_mesh_is_shown_as_it_is(project: Path) -> None:
    box = trimesh.creation.box((0.5, 0.5, 0.5))
    curves = "samples,chamfer,val_chamfer,val_iou,lr\n100,0.5,0.2,0.3,0.001\n"
    scored(torch.from_numpy(box.triangles.copy()), "mesh", curves=curves)
    report(["s"], Params(rows=2, models=4), SYNSETS)
    words = shown().words
    assert "IoU ↑Chamfer ↓" in words and "validation IoU" in words and "Threshold" not in words
    orange = drawn(2).astype(int)
    assert (orange[..., 0] - orange[..., 2] > 30).mean() > 0.1


@pytest.mark.long
def test_the_report_is_the_same_when_made_again(project: Path) -> None:
    contents = []
    for _ in range(2):
        report(["s"], Params(rows=2, models=4), SYNSETS)
        contents.append([path.read_bytes() for path in sorted(Path("data/report").rglob("*.*"))])
    assert contents[0] == contents[1] and len(contents[0]) == 3


def test_a_failed_prediction_is_shown_as_nothing(project: Path) -> None:
    scored(torch.full((R, R, R), torch.nan))
    report(["s"], Params(rows=1, models=1), SYNSETS)
    assert "18 of 18" in shown().words and "rank 1 of 3, failed" in shown().words
    assert 0 < (drawn(2) < 250).any(axis=-1).sum() < 1500  # a word


def test_metrics_come_first(project: Path) -> None:
    with pytest.raises(ValueError, match=r"data/comparison/table\.csv: expected all selected systems, lacks t"):
        report(["t"], Params(rows=1, models=1), SYNSETS)
    for name in ("scores/oracle/metrics", "views/s", "curves/s", "comparison/pairs"):
        path = f"data/{name}.csv"
        Path(path).rename("aside")
        with pytest.raises(ValueError, match=rf"{path}: expected a table with rows"):
            report(["s"], Params(rows=1, models=1), SYNSETS)
        Path("aside").rename(path)
    assert not Path("data/report").exists()


def test_scores_of_other_shards_are_refused(project: Path) -> None:
    for name in ("s", "mean_shape", "nearest_image"):
        path = Path(f"data/scores/{name}/samples.csv")
        path.write_text(path.read_text().replace("test030", "gone030"))
        if name != "nearest_image":
            with pytest.raises(ValueError, match="expected the samples of s, lacks 03001627/gone030"):
                report(["s"], Params(rows=2, models=4), SYNSETS)
    with pytest.raises(ValueError, match="expected scores of the test shards, got 03001627/gone030"):
        report(["s"], Params(rows=2, models=4), SYNSETS)


def test_what_is_shown_beside_is_what_was_scored(project: Path) -> None:
    test, train = (ShardDataset(Path("data/shards"), SYNSETS, split) for split in ("test", "train"))
    items = [0, 4, 11, 17]
    scores = list(read_samples("nearest_image").values())
    answers = [scores[item]["answer"] for item in items]
    for item, surface in zip(items, looked_up(train, answers), strict=True):
        found = mesh_occupancy(*surface, R)
        truth = np.unpackbits(test[item]["occupancy"]).reshape(R, R, R).astype(bool)
        assert (found & truth).sum() / (found | truth).sum() == pytest.approx(float(scores[item]["iou"]), abs=1e-6)


def test_all_scores_of_the_metrics_stage_have_a_place(project: Path) -> None:
    with Path("data/scores/s/metrics.csv").open(newline="") as file:
        found = {row["score"] for row in csv.DictReader(file)}
    left_out = {name for name in found if name.startswith(("precision", "recall"))} | {"pix3d_threshold"}
    assert found - left_out <= {score for _, _, scores in GROUPS for score in scores}


def test_params_refuse_none() -> None:
    for values in ({"rows": 0, "models": 1}, {"rows": 1, "models": 0}):
        with pytest.raises(ValueError, match=r"(rows|models): expected at least 1, got 0"):
            Params(**values)


def test_systems_of_all_kinds_are_on_one_page(project: Path) -> None:
    scored(cube(0.9), views=3)
    ball = torch.from_numpy(trimesh.creation.icosphere(1, 0.3).vertices.copy())
    scored(ball, "points", curves=POINTS, name="t")
    shutil.copytree("data/old", "data", dirs_exist_ok=True)
    compare(["s", "t"])
    report(["s", "t"], Params(rows=1, models=2), SYNSETS)
    page = shown()
    assert not page.open and page.words.count("rank ") == 4
    text = Path("data/report/index.html").read_text(encoding="utf-8")
    found = [json.loads(html.unescape(ranks)) for ranks in re.findall(r'data-ranks="([^"]*)"', text)]
    assert len(found) == 2 and all(list(ranks) == ["s", "t"] for ranks in found)
    assert sorted(path.parent.name for path in Path("data/report").glob("*/contact_sheet.png")) == ["s", "t"]


@pytest.fixture(scope="module")
def address(browser: Any, scores: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a page with two models of each of two categories."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(scores, folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ONEVIEW_DEVICE", "cpu")
        report(["s"], Params(rows=1, models=4), SYNSETS)
    yield (folder / "data/report/index.html").as_uri()


def test_the_page_filters_sorts_and_keeps_what_is_shown_in_its_address(browser: Any, address: str) -> None:
    entries = ".entry:visible"
    with opened(browser, address) as page:
        assert page.locator(entries).count() == 4 and page.inner_text("#count") == "4 of 4 shown"
        page.locator("#category").select_option("chair")
        assert page.inner_text("#count") == "2 of 2 shown"
        assert page.locator(entries).evaluate_all("all => all.map(one => one.dataset.category)") == ["chair"] * 2
        best = page.locator(entries).evaluate_all("all => all.map(one => one.dataset.id)")
        page.locator("#show").select_option("worst")
        assert page.locator(entries).evaluate_all("all => all.map(one => one.dataset.id)") == best[::-1]
        page.locator("#show").select_option("failed")
        assert page.inner_text("#count") == "none of 2" and page.url.endswith("#category=chair&show=failed")
        page.reload()
        assert page.locator(entries).count() == 0
        page.locator("#show").select_option("all")
        page.locator("#system").select_option("s")
        assert page.locator("[data-system]:visible").count() == 2

        rows = page.locator("#table tbody:visible tr")
        names = rows.locator("th").all_inner_texts()
        values = rows.evaluate_all("all => all.map(row => Number(row.cells[1].dataset.value))")
        heading = page.locator("#table thead button").first
        for way, order in (("descending", sorted(values, reverse=True)), ("ascending", sorted(values))):
            heading.focus()
            page.keyboard.press("Enter")
            assert page.locator("#table th[aria-sort]").get_attribute("aria-sort") == way
            assert rows.evaluate_all("all => all.map(row => Number(row.cells[1].dataset.value))") == order
        heading.click()
        assert rows.locator("th").all_inner_texts() == names and len(set(values)) > 2
        page.locator("#scope").select_option("airplane")
        assert "scope=airplane" in page.url
        assert page.locator("#table tbody:visible").get_attribute("data-scope") == "airplane"


def test_a_model_is_turned_by_keys_and_mouse(browser: Any, address: str) -> None:
    with opened(browser, address, width=390) as page:
        assert fits(page)
        button = page.locator(".entry button").first
        button.focus()
        page.keyboard.press("Enter")
        page.locator("#viewer-words", has_text="of the answer's").wait_for()
        dialog, canvas = page.locator("#viewer"), page.locator("#viewer-canvas")
        title = page.inner_text("#viewer-title")
        assert dialog.evaluate("one => one.open && one.scrollWidth <= one.clientWidth") and "open=" in page.url
        for half in np.split(pixels(canvas), [int(canvas.bounding_box()["width"]) // 2], axis=1):
            assert (np.ptp(half, axis=(0, 1)) > 50).any()
        page.keyboard.press("ArrowLeft")
        turned = pixels(canvas)
        page.mouse.move(150, 300)
        page.mouse.down()
        page.mouse.move(190, 300, steps=3)
        page.mouse.up()
        assert not np.array_equal(pixels(canvas), turned)
        blue = (pixels(canvas).astype(int) @ [-1, 0, 1] > 100).sum()
        page.locator("#viewer-marks").uncheck()
        page.wait_for_timeout(200)
        assert (pixels(canvas).astype(int) @ [-1, 0, 1] > 100).sum() < max(1, blue)
        page.get_by_role("button", name="Next").press("Enter")
        page.wait_for_function("title => document.querySelector('#viewer-title').innerText !== title", arg=title)
        page.keyboard.press("Escape")
        assert not dialog.evaluate("one => one.open") and "open=" not in page.url
        assert button.evaluate("one => one === document.activeElement")


CONTRAST = """() => {
    const light = (colour) => {
        const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
        const linear = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const ground = (element) => {
        const colour = getComputedStyle(element).backgroundColor;
        return /, 0\\)$/.test(colour) && element.parentElement ? ground(element.parentElement) : colour;
    };
    const found = {};
    for (const element of document.querySelectorAll("h1, h2, p, a, td, th, small, dt, dd, button, select, code")) {
        const pair = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => b - a);
        const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
        if (ratio < 4.5) found[element.outerHTML.slice(0, 80)] = ratio;
    }
    return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_in_light_and_dark(browser: Any, address: str, scheme: str) -> None:
    """By 4.5 to 1 at least, as WCAG 2.2 asks for (1.4.3)."""
    with opened(browser, address, color_scheme=scheme) as page:
        assert page.evaluate(CONTRAST) == {}
        ground = pixels(page.locator("body"))[5, 5]
        assert (ground.mean() < 60) == (scheme == "dark")


def test_a_view_is_shown_as_the_network_takes_it_in_gray_or_in_colour() -> None:
    """A square of one colour on white, whose grayscale view is darker."""
    masks = torch.zeros(1, 1, 24, 32, dtype=torch.bool)
    masks[..., 6:18, 10:22] = True
    packed = torch.from_numpy(np.packbits(masks.numpy(), axis=-1))
    raw = {"views": torch.where(masks, 50, 255).to(torch.uint8), "masks": packed}
    gray = photo(raw)
    color = torch.where(masks[..., None], torch.tensor([200, 100, 0]), 255).to(torch.uint8)
    shown = photo(raw | {"color": color})
    assert shown.shape == (*gray.shape, 3) and shown.dtype == np.uint8
    middle = gray.shape[0] // 2, gray.shape[1] // 2
    assert gray[middle] == 50 and shown[middle].tolist() == [200, 100, 0]
    assert gray[0, 0] == 255 and shown[0, 0].tolist() == [255, 255, 255]
