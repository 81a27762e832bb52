from __future__ import annotations

import numpy as np
import pytest

from pipeline.records.quality import Quality, sift
from pipeline.records.records import Entry
from pipeline.runtime.params import build
from pipeline.sources.layout import ModelRef


def entry(model_id: str, split: str, stretch: tuple[float, ...] = ()) -> Entry:
    return Entry(ModelRef("chair", model_id, "folders", "m.obj"), split, "hash", "aa", "", "ok", "", stretch)


def record(shape: int, note: tuple[float, ...] = (0.1, 1, 0, 0, 0)) -> dict[str, np.ndarray]:
    grid = np.zeros((8, 8, 8), bool)
    grid[:shape] = True
    return {"occupancy": np.packbits(grid), "notes": np.array(note, np.float32)}


def sifted(models: dict[str, tuple[str, dict[str, np.ndarray]]], quality: Quality) -> dict[str, tuple[str, str, str]]:
    """Model -> status, reason and split, after sifting."""
    entries = [entry(name, split, (1.0,) if "~" in name else ()) for name, (split, _) in models.items()]
    statuses = [("packed", "", "")] * len(entries)
    sift(entries, statuses, {name: own for name, (_, own) in models.items()}, quality, "pack chair")  # type: ignore[arg-type]
    return {own.ref.model_id: (row[0], row[1], own.split) for own, row in zip(entries, statuses, strict=True)}


NOTES = {
    "good": (0.1, 1, 0, 0, 0),
    "full": (0.99, 1, 0, 0, 0),
    "dust": (0.1, 40, 0, 0, 0),
    "doubtful": (0.1, 1, 0.2, 0, 0),
    "lids": (0.1, 1, 0, 0.9, 0),
    "bare": (0.1, 1, 0, 0, 0.5),
}


def test_notes_leave_models_out_with_their_reason(capsys: pytest.CaptureFixture[str]) -> None:
    models = {name: ("train", record(n + 1, note)) for n, (name, note) in enumerate(NOTES.items())}
    assert set(sifted(models, Quality()).values()) == {("packed", "", "train")} and not capsys.readouterr().out
    strict = build(
        Quality,
        {
            "fill_ratio": [0.1, 0.9],
            "components": [1, 9],
            "disagreement": [0, 0.1],
            "lidded": [0, 0.5],
            "uncovered": [0, 0],
        },
        "pack.quality",
    )
    found = {name: row[:2] for name, row in sifted(models, strict).items()}
    assert found == {
        "good": ("packed", ""),
        "full": ("pack", "fill_ratio"),
        "dust": ("pack", "components"),
        "doubtful": ("pack", "disagreement"),
        "lids": ("pack", "lidded"),
        "bare": ("pack", "uncovered"),
    }
    assert "pack chair: 5 models left out or moved, as pack.quality says (1 components, 1 d" in capsys.readouterr().out
    assert strict.fault(np.array(NOTES["doubtful"], np.float32)) == (
        "disagreement",
        "expected a grid with disagreement from 0 to 0.1, got 0.2",
    )


ALIKE = {
    "a": ("train", record(2)),
    "a~1": ("variants", record(7)),
    "b": ("test", record(2)),
    "c": ("val", record(2)),
    "d": ("train", record(5)),
    "e": ("train", record(5)),
    "f": ("train", record(8)),
}


def test_twins_stay_in_one_split_or_go(capsys: pytest.CaptureFixture[str]) -> None:
    assert all(row[0] == "packed" for row in sifted(ALIKE, Quality()).values())
    together = sifted(ALIKE, Quality(twins="together"))
    assert together == {
        "a": ("packed", "twin", "test"),
        "a~1": ("pack", "twin", "variants"),
        "b": ("packed", "", "test"),
        "c": ("packed", "twin", "test"),
        **dict.fromkeys("def", ("packed", "", "train")),
    }
    assert "2 models left out or moved, as pack.quality says (2 twin)" in capsys.readouterr().out
    dropped = sifted(ALIKE, Quality(twins="drop"))
    assert [name for name, row in dropped.items() if row[0] == "packed"] == ["a~1", "b", "d", "f"]
    assert dropped["a"] == ("pack", "twin", "train") and dropped["e"] == ("pack", "twin", "train")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"disagreement": [0.2, 0.1]}, r"q.disagreement: expected the least and the most, got \[0.2, 0.1\]"),
        ({"twins": "away"}, "q.twins: expected one of keep, together, drop, got 'away'"),
        ({"alike": 0.1}, r"q.alike: expected an intersection over union in \[0.5, 1\], got 0.1"),
        ({"fill": [0, 1]}, "q.fill: unknown key, expected one of alike, components, disagreement, fill_ratio"),
    ],
)
def test_what_can_not_be_is_named(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(Quality, values, "q")
