from __future__ import annotations

from typing import Any

import pytest

from pipeline.scoring.tables import FEW, judged, told, turned


def pair(difference: float, low: float, high: float, shapes: float = 56) -> dict[str, Any]:
    return {"a": "s", "b": "t", "difference": difference, "low": low, "high": high, "shapes": shapes}


@pytest.mark.parametrize(
    ("row", "metric", "words"),
    [
        (pair(0.085, 0.066, 0.105), "iou_32", "better than it by 0.085 [0.066, 0.105]"),
        (pair(0.0, 0.0, 0.0), "iou_32", "can't be told from it: +0.000 [+0.000, +0.000]"),
        (pair(0.028, -0.004, 0.06), "iou_32", "can't be told from it: +0.028 [-0.004, +0.060]"),
        (pair(-0.085, -0.105, -0.066), "iou_32", "worse than it by 0.085 [0.066, 0.105]"),
        (pair(-0.03, -0.04, -0.01), "chamfer_unsquared", "better than it by 0.030 [0.010, 0.040]"),
        (pair(0.03, 0.01, 0.04), "chamfer_unsquared", "worse than it by 0.030 [0.010, 0.040]"),
        (pair(0.5, 0.4, 0.6, 7), "iou_32", "7 models: too few to tell"),
        (pair(0.5, 0.5, 0.5, 1), "iou_32", "1 model: too few to tell"),
        (pair(0.5, 0.4, 0.6, FEW), "iou_32", "better than it by 0.500 [0.400, 0.600]"),
    ],
)
def test_a_pair_is_told_in_words(row: dict[str, Any], metric: str, words: str) -> None:
    assert told(row, metric, "it") == words
    expected = {"better": "better", "worse": "worse", "can't": "unclear"}.get(words.split()[0], "few")
    assert judged(row, metric) == expected


def test_a_pair_turned_says_the_opposite() -> None:
    row = turned(pair(0.03, 0.01, 0.04))
    assert (row["a"], row["b"]) == ("t", "s") and turned(row) == pair(0.03, 0.01, 0.04)
    assert told(row, "iou", "it") == "worse than it by 0.030 [0.010, 0.040]"
