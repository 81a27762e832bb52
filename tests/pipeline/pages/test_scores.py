from __future__ import annotations

from typing import Any

import pytest

from pipeline.pages.scores import Results, all_scores, bodies, head, row, verdict, verdicts, with_interval

LINE = {"mean": 0.5, "low": 0.45, "high": 0.55, "samples": 6.0}
SCORES = ("iou", "chamfer_unsquared")
KINDS = {"s": "system", "s_retrieval": "retrieval", "nearest_image": "baseline", "oracle": "baseline"}


def pair(a: str, b: str, difference: float, shapes: int) -> dict[str, Any]:
    ends = {"low": difference - 0.02, "high": difference + 0.02}
    return {"a": a, "b": b, "difference": difference, "shapes": float(shapes)} | ends


def results(leaked: int = 0) -> Results:
    """A system that is ahead of looking up by 0.1 of 12 models, of which one is a chair and 11 are planes."""
    scopes = {"overall": 12, "chair": 1, "airplane": 11, "without_leaks": 11}
    figures = {scope: {"samples": 6, "models": 12, "failures": 1, "leaked": leaked} for scope in list(scopes)[:3]}
    pairs: dict[tuple[str, str, str, str], Any] = {}
    for scope, shapes in scopes.items():
        for score, sign in zip(SCORES, (1, -1), strict=True):
            pairs[scope, "s", "nearest_image", score] = pair("s", "nearest_image", sign * 0.1, shapes)
            pairs[scope, "nearest_image", "oracle", score] = pair("nearest_image", "oracle", 0.01, shapes)
    pairs["overall", "s", "s_retrieval", "iou"] = pair("s", "s_retrieval", 0.0, 12)
    lines = {(scope, score): LINE for scope in scopes for score in SCORES}
    return Results(KINDS, dict.fromkeys(KINDS, figures), dict.fromkeys(KINDS, lines), pairs, SCORES)


def test_verdicts_are_paired_and_in_words() -> None:
    text = verdicts(results(), "s")
    assert text.startswith(
        'By IoU <span class="better">▲ better than the nearest image by 0.100 [0.080, 0.120]</span>, '
    )
    assert text.count("▲ better than the nearest image by 0.100 [0.080, 0.120]") == 2
    assert text.count("≈ can't be told from looking up by its own features: +0.000 [-0.020, +0.020]") == 1
    assert verdict(results(), "chair", "s", "iou") == '<span class="few">? 1 model: too few to tell</span>'
    unclear = '<span class="unclear">≈ can\'t be told from the nearest image: -0.010 [-0.030, +0.010]</span>'
    assert verdict(results(), "overall", "oracle", "iou") == unclear  # the pair the other way round
    assert verdict(results(), "overall", "s_retrieval", "iou") == ""
    assert verdict(results(), "overall", "s", "iou", "s_retrieval").startswith('<span class="unclear">')


def test_a_row_has_no_colour_without_a_sign_and_one_model_no_interval() -> None:
    text = row(results(), "overall", "s", 0)
    assert '<td data-value="0.500000">0.500 <small>[0.450, 0.550]</small></td>' in text
    assert 'data-value="1">1 of 6</td>' in text
    one = row(results(), "chair", "s", 0)
    assert "0.500 <small>1 model</small>" in one and "[" not in one
    assert row(results(), "overall", "oracle", 3).startswith('<tr class="baseline apart" data-place="3">')
    assert row(results(), "overall", "nearest_image", 2).count("the measure") == 2
    kinds = KINDS | {"other@as_is": "method", "other@scaled_icp": "method"}
    known = results()
    known = Results(
        kinds, dict.fromkeys(kinds, known.figures["s"]), dict.fromkeys(kinds, known.lines["s"]), known.pairs, SCORES
    )
    assert row(known, "overall", "other@as_is", 4).startswith(
        '<tr class="method" data-place="4"><th scope="row">other@as_is'
    )
    assert row(known, "overall", "other@scaled_icp", 5).startswith('<tr class="method apart" data-place="5">')
    assert known.systems == ["s"]
    for part in text.split("<span class=")[1:]:
        assert part.split(">")[1][0] in "▲▼≈?"


def test_every_scope_has_its_rows_and_the_first_one_is_shown() -> None:
    found = list(bodies(results()))
    assert [text.split(">")[0] for text in found] == [
        '<tbody data-scope="overall"',
        '<tbody data-scope="chair" hidden',
        '<tbody data-scope="airplane" hidden',
    ]
    assert all(text.count("<tr") == len(KINDS) for text in found)
    assert list(results(leaked=2).scopes) == ["overall", "without_leaks", "chair", "airplane"]
    assert head(results()).count("<th") == found[0].split("</tr>")[0].count("<td") + 1
    assert head(results()).count('data-first="up"') == 2  # the Chamfer distance, and failures


def test_all_scores_have_a_column_a_name() -> None:
    rows = list(all_scores(results()))
    assert ["Solid grids" in rows[0], "Points on the true mesh" in rows[2], len(rows)] == [True, True, 4]
    assert rows[1].count("<td") == len(KINDS) + 1 and "[0.450, 0.550]" in rows[1]


@pytest.mark.parametrize(
    ("shapes", "digits", "expected"),
    [(1, 3, "0.500 <small>1 model</small>"), (2, 4, "0.5000 <small>[0.4500, 0.5500]</small>")],
)
def test_an_interval_needs_two_shapes(shapes: int, digits: int, expected: str) -> None:
    assert with_interval(LINE, shapes, digits) == expected
