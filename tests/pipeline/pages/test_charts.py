from __future__ import annotations

from xml.etree import ElementTree

import pytest

from pipeline.pages.charts import charts

ROW = {"samples": "1", "lr": "0.1"}
SWEEP = [{"threshold": "0.5", "val_iou": "0.2"}]


def words(text: str) -> list[str | None]:
    root = ElementTree.fromstring(text)
    assert root.tag.endswith("svg")
    return [element.text for element in root.iter() if element.tag.endswith("text")]


def more_views(*scores: str) -> list[dict[str, str]]:
    columns = [f"{score}{end}" for score in scores for end in ("", "_low", "_high")]
    return [{"views": count, "samples": "3"} | dict.fromkeys(columns, "0.3") for count in ("1", "5")]


def test_charts_leave_out_blanks_and_are_the_same_when_made_again() -> None:
    curves = [
        ROW | {"a": "0.5", "game": "", "val_iou": "0.1", "val_bce": "0.7", "val_chamfer": ""},
        ROW | {"a": "0.4", "game": "0", "val_iou": "0.2", "val_bce": "0.6", "val_chamfer": ""},
    ]
    text = charts(curves, SWEEP, more_views("iou", "iou_0.4"))
    assert {"validation IoU", "losses", "a", "val_bce", "validation IoU by threshold"} <= set(words(text))
    assert {"test IoU by views of a shape", "at the tuned threshold", "at 0.4"} <= set(words(text))
    assert not {"game", "lr", "validation Chamfer distance"} & set(words(text))
    assert charts(curves, SWEEP, more_views("iou", "iou_0.4")) == text


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        (("val_chamfer",), {"validation Chamfer distance"}),
        (("val_chamfer", "val_iou"), {"validation Chamfer distance", "validation IoU"}),
    ],
)
def test_a_system_has_a_curve_for_each_of_its_scores(scores: tuple[str, ...], expected: set[str]) -> None:
    found = words(charts([ROW | {"chamfer": "0.5"} | dict.fromkeys(scores, "0.3")], [], more_views("iou")[:1]))
    assert {word for word in found if word and ("validation" in word or "views" in word)} == expected
    assert not {"val_chamfer", "val_iou"} & set(found)  # they are no losses


def test_views_of_points_are_told_by_distance() -> None:
    found = words(charts([ROW | {"chamfer": "0.5", "val_chamfer": "0.3"}], [], more_views("chamfer_unsquared")))
    assert "test Chamfer distance by views of a shape" in found
    assert found.count("5") == 1  # the ticks are the numbers of views
