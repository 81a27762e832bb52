from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("gradio")

from pipeline.answers import site
from pipeline.scoring.predictions import Prediction
from tests.constant_system import write_checkpoint
from tests.photos import photo


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> site.Answers:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    write_checkpoint(tmp_path / "half.pt", torch.full((8, 8, 8), 0.6))
    (tmp_path / "room").mkdir()
    return site.Answers({"half": tmp_path / "half.pt"}, site.Visits(tmp_path / "room"))


def uploaded(answers: site.Answers, name: str) -> dict[str, Any]:
    """As Gradio has it."""
    path = answers.visits.room / "hash" / name
    path.parent.mkdir(exist_ok=True)
    return {"path": str(path)}


def test_what_a_session_left_goes_with_it(answers: site.Answers) -> None:
    upload = uploaded(answers, "ring.png")
    photo(Path(upload["path"]), (255, 255, 255))
    for session in ("a", "b"):
        words, cut, seen, shape, _, files = answers(upload, "half", "auto", False, session)
        assert words.endswith("by constant.") and Image.open(cut).mode == "LA" and Image.open(seen).width >= 240
        assert shape == files[0] and [Path(file).name for file in files[:2]] == ["ring.glb", "ring.obj"]
        assert all(Path(file).stat().st_size for file in files)
    answers.visits.end("a")
    assert Path(upload["path"]).is_file() and len(list(answers.visits.room.iterdir())) == 2  # b's
    answers.visits.end("b")
    assert not list(answers.visits.room.iterdir())


def test_nothing_outside_of_the_room_goes_with_a_session(answers: site.Answers, tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"")
    for way in ("../room", "../kept", "../x/../kept"):
        words, *_ = answers({"path": f"{answers.visits.room}/{way}"}, "half", "auto", False, "a")
        assert words.startswith("**No shape:** ")
    answers.visits.end("a")
    assert (tmp_path / "kept").is_file() and not list(answers.visits.room.iterdir())


def test_an_answer_to_a_page_that_was_closed_leaves_nothing(
    answers: site.Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = uploaded(answers, "ring.png")
    photo(Path(upload["path"]), (255, 255, 255))
    read = site.opened

    def closing(path: Path, cut_out: str) -> Any:
        found = read(path, cut_out)
        answers.visits.end("a")
        return found

    monkeypatch.setattr(site, "opened", closing)
    assert answers(upload, "half", "auto", False, "a")[:2] == ("", None)
    assert not list(answers.visits.room.iterdir())


def test_what_cannot_be_is_said_without_where_it_lies(answers: site.Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = uploaded(answers, "big.png")
    Image.new("RGB", (80, 60), "white").save(upload["path"])
    words, *rest = answers(upload, "half", "auto", False, "a")
    assert words.startswith("**No shape:** big.png: expected an object, got a picture in one colour; a plain or")
    assert rest[:3] == [None, None, None] and rest[-1] is None
    monkeypatch.setattr(site, "MEGAPIXELS", 0.001)
    words, *_ = answers(upload, "half", "auto", False, "a")
    assert words == "**No shape:** big.png: expected a photo of at most 0.001 megapixels, got 0"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    words, *_ = answers(upload, "half", "auto", False, "a")
    assert words.startswith("**No shape:** big.png: expected a picture, got Image size (4800 pixels) exceeds limit")
    assert answers(None, "half", "auto", False, "a")[0] == ""


def test_what_no_list_offers_is_refused_in_a_line(answers: site.Answers) -> None:
    upload = uploaded(answers, "ring.png")
    photo(Path(upload["path"]), (255, 255, 255))
    for name in ("../half", ["half"], None):
        words, *rest = answers(upload, name, "auto", False, "a")  # type: ignore[arg-type]
        assert words == f"**No shape:** System: expected one of half, got {str(name)!r}" and rest[0] is None
    words, *_ = answers(upload, "half", "rembg", False, "a")  # which the page does not offer
    assert words == "**No shape:** Cut out by: expected one of auto, alpha, uniform, grabcut, got 'rembg'"
    for forged in ("ring.png", ["ring.png"], {"url": "ring.png"}, {"path": 7}):
        assert answers(forged, "half", "auto", False, "a")[:2] == ("", None)  # type: ignore[arg-type]


def test_what_is_alike_does_not_take_the_place_of_the_shape(
    answers: site.Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = uploaded(answers, "nearest.png")
    photo(Path(upload["path"]), (255, 255, 255))
    monkeypatch.setattr(
        site, "alike", lambda *_: (Prediction(field=np.pad(np.ones((2, 2, 2), np.float32), 3)), "a box")
    )
    _, _, _, shape, beside, _ = answers(upload, "half", "auto", False, "a")
    assert Path(shape).read_bytes() != Path(beside.value["path"]).read_bytes()
