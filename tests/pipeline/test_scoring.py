from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.scoring import THRESHOLDS, WORST_CHAMFER, Scorer, best_threshold, one_a_model, sample_key
from pipeline.shards import ShardDataset
from tests.samples import SYNSETS, write_boxes


@pytest.mark.parametrize(
    ("values", "expected"), [({30: 0.6}, 0.31), ({3: 0.2, 4: 0.5, 5: 0.5, 6: 0.5}, 0.06), ({}, 0.5)]
)
def test_best_threshold(values, expected):
    curve = np.zeros(99, np.float32)
    for index, value in values.items():
        curve[index] = value
    assert best_threshold(curve) == expected


def test_thresholds_are_those_that_json_holds():
    assert [round(float(t), 2) for t in THRESHOLDS] == [t / 100 for t in range(1, 100)]


def test_no_distance_in_the_unit_cube_is_worse_than_the_worst():
    assert pytest.approx(2 * np.linalg.norm([1, 1, 1])) == WORST_CHAMFER


def test_scores_come_in_the_order_of_the_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    data = ShardDataset(write_boxes(tmp_path, 16), SYNSETS, "test", targets=("occupancy", "points"))
    scorer = Scorer((12, 16), 16, points=100, seed=0, batch_size=4)

    def full(images: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(images), 16, 16, 16)

    items = list(reversed(one_a_model(data)))
    fills = [np.unpackbits(data[item]["occupancy"]).mean() for item in items]
    scores = scorer.scores(full, 0.5, data, items, "")
    assert [score.iou for score in scores] == pytest.approx(fills)
    assert not any(score.failed for score in scores)
    assert sample_key(data, items[0]) == (*data.models[-1], 0)
