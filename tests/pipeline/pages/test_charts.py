from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from pipeline.pages.charts import Rows, axed, charts, compared, learning, losses, more_views

ROW = {"samples": "1", "lr": "0.1"}
SWEEP = [{"threshold": "0.5", "val_iou": "0.2"}]


def words(drawings: list[str]) -> list[str | None]:
    found = []
    for text in drawings:
        root = ElementTree.fromstring(text)
        assert root.tag.endswith("svg")
        found += [element.text for element in root.iter() if element.tag.endswith("text")]
    return found


def several(*scores: str, counts: tuple[int, ...] = (1, 5)) -> Rows:
    columns = [f"{score}{end}" for score in scores for end in ("", "_low", "_high")]
    return [{"views": str(count), "samples": "3"} | dict.fromkeys(columns, "0.3") for count in counts]


def test_charts_leave_out_blanks_and_are_the_same_when_made_again() -> None:
    curves = [
        ROW | {"a": "0.5", "game": "", "val_iou": "0.1", "val_bce": "0.7", "val_chamfer": ""},
        ROW | {"a": "0.4", "game": "0", "val_iou": "0.2", "val_bce": "0.6", "val_chamfer": ""},
    ]
    text = charts(curves, SWEEP, several("iou", "iou_0.4"))
    assert {"validation IoU", "losses", "a", "val_bce", "validation IoU by threshold"} <= set(words(text))
    assert {"test IoU by views of a shape", "at the tuned threshold", "at 0.4"} <= set(words(text))
    assert not {"game", "lr", "validation Chamfer distance"} & set(words(text))
    assert charts(curves, SWEEP, several("iou", "iou_0.4")) == text


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        (("val_chamfer",), {"validation Chamfer distance"}),
        (("val_chamfer", "val_iou"), {"validation Chamfer distance", "validation IoU"}),
    ],
)
def test_a_system_has_a_curve_for_each_of_its_scores(scores: tuple[str, ...], expected: set[str]) -> None:
    found = words(charts([ROW | {"chamfer": "0.5"} | dict.fromkeys(scores, "0.3")], [], several("iou")[:1]))
    assert {word for word in found if word and ("validation" in word or "views" in word)} == expected
    assert not {"val_chamfer", "val_iou"} & set(found)  # they are no losses


def test_views_of_points_are_told_by_distance() -> None:
    found = words(charts([ROW | {"chamfer": "0.5", "val_chamfer": "0.3"}], [], several("chamfer_unsquared")))
    assert "test Chamfer distance by views of a shape" in found
    assert found.count("5") == 1  # the ticks are the numbers of views


def test_systems_are_put_side_by_side_by_what_they_have() -> None:
    curves = {"a": [ROW | {"val_iou": "0.1"}], "b": [ROW | {"val_iou": "0.2"}], "c": [ROW | {"val_chamfer": "0.2"}]}
    drawn = compared(curves, {"a": several("iou"), "b": several("iou")[:1]})
    assert ["validation IoU" in text for text in drawn] == [True, False, False]
    found = words(drawn)
    assert [found.count(name) for name in "abc"] == [2, 1, 1]  # one legend has the views
    text = "".join(drawn)
    assert "currentColor" in text and "var(--line)" in text
    assert set(re.findall(r' id="([^"]+)"', text)) == set(re.findall(r'(?:url\(|href=")#([\w-]+)', text))  # no others


@pytest.mark.parametrize("last", [7, 60, 990, 1000, 16_000, 64_000, 1_250_000, 20_000_000])
@pytest.mark.parametrize("least", [0.4, 0.05, 1e-9])
def test_ticks_do_not_collide(last: int, least: float) -> None:
    rows = [{"samples": str(x), "a": str(y)} for x, y in ((last / 8, 0.9), (last, least))]
    counts = (1, 2, 3, 4, 5, 10, 12, last // 2 + 13, last + 13)
    drawn: list[Callable[[Axes], None]] = [
        lambda axes: losses(axes, rows),
        lambda axes: more_views(axes, several("iou", counts=counts)),
        lambda axes: learning(
            axes, {"": [ROW | {"val_iou": "0.1"}, {"samples": str(last), "val_iou": "1"}]}, "val_iou"
        ),
    ]
    for draw in drawn:
        figure = axed(draw)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        for axis, side in ((figure.axes[0].xaxis, 0), (figure.axes[0].yaxis, 1)):
            low, high = sorted(axis.get_view_interval())
            shown = [t for t in axis.get_major_ticks() if t.label1.get_text() and low <= t.get_loc() <= high]
            assert len(shown) >= 2, draw
            boxes = [tick.label1.get_window_extent(canvas.get_renderer()) for tick in shown]
            ends = np.array(sorted([(b.x0, b.x1) if side == 0 else (b.y0, b.y1) for b in boxes]))
            assert (ends[1:, 0] > ends[:-1, 1] + 2).all(), [tick.label1.get_text() for tick in shown]
