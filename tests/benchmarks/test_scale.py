from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.scale import draw, lines


def final(entry: str, models: int, iou: float) -> dict[str, Any]:
    looked_up = [0.1 * models / 100, 0.0, 0.9]
    return {
        "entry": entry,
        "models": models,
        "one": {"test_iou": [iou, iou - 0.1, iou + 0.1]},
        "nearest_image": looked_up,
    }


FINALS = [final("recall", 400, 0.6), final("recall", 100, 0.5), final("view2voxel", 100, 0.3)]


def test_points_are_in_the_order_of_their_models() -> None:
    found = lines(FINALS)
    assert [n for n, _ in found["recall"]] == [100, 400] and found["recall"][1][1] == [0.6, 0.5, 0.7]
    assert [n for n, _ in found["view2voxel"]] == [100]
    assert found["nearest image"] == [(100, [0.1, 0.0, 0.9]), (400, [0.4, 0.0, 0.9])]


def test_the_picture_shows_the_scores(tmp_path: Path) -> None:
    draw(FINALS, tmp_path / "a.png")
    draw([*FINALS[:-1], final("view2voxel", 100, 0.2)], tmp_path / "b.png")
    a, b = (np.asarray(Image.open(tmp_path / name).convert("RGB")) for name in ("a.png", "b.png"))
    assert a.shape == b.shape and (a != b).any() and len(np.unique(a.reshape(-1, 3), axis=0)) > 20
