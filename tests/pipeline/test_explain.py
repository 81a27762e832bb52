from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from model import system
from pipeline import explain
from pipeline.pages.heat import TITLES
from pipeline.pages.pictures import CELL, GAP
from pipeline.training import checkpoints
from tests.photos import photo
from tests.systems import CONFIGS, created


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    for name in ("a.png", "b.png"):
        photo(tmp_path / name, (255, 255, 255))


def trained(name: str) -> Path:
    about = checkpoints.describe(name, system(name), CONFIGS[name])
    checkpoints.save(Path("mine.pt"), about | {"state": created(name).state_dict()})
    return Path("mine.pt")


def test_a_picture_of_one_photo_and_of_each_of_two(capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = trained("r3d")
    explain.main([Path("a.png")], Path("out.png"), checkpoint=checkpoint)
    assert Image.open("out.png").width == len(TITLES) * (CELL[0] + GAP)
    assert "out.png: a.png, cut out by its uniform background" in capsys.readouterr().out
    explain.main([Path("a.png"), Path("b.png")], Path("folder"), checkpoint=checkpoint)
    assert {path.name for path in Path("folder").iterdir()} == {"a_explained.png", "b_explained.png"}


def test_what_can_not_be_is_refused_before_a_network_is_loaded() -> None:
    a, b = Path("a.png"), Path("b.png")
    for match, arguments in {
        "no.png: expected a photo, found none": ([Path("no.png")], Path("o.png")),
        "--out: expected a folder, or for one photo a name in .png, got 'o.png'": ([a, b], Path("o.png")),
        "got 'o.jpg'": ([a], Path("o.jpg")),
        "none that would be written over": ([a], a),
    }.items():
        with pytest.raises(ValueError, match=match):
            explain.main(*arguments)
    with pytest.raises(ValueError, match="--cut-out: expected one of auto, "):
        explain.main([a], Path("o.png"), cut_out="scissors")
    with pytest.raises(ValueError, match="--mask: expected one photo"):
        explain.main([a, b], Path("folder"), mask=a)
