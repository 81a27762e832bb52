from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.sources import renderings
from pipeline.sources.cutting import methods, uniform


def test_a_table_before_a_white_wall_is_not_the_object(tmp_path: Path) -> None:
    pixels = np.full((100, 100, 3), 250, np.uint8)
    pixels[75:] = [150, 110, 70]
    pixels[30:90, 35:65] = [40, 40, 160]
    assert uniform.foreground(pixels)[80].all()
    mask, how = methods.cut(np.dstack([pixels, np.full((100, 100), 255, np.uint8)]))
    assert how == "GrabCut, which guesses"
    assert np.array_equal(mask, np.pad(np.ones((60, 30), bool), ((30, 10), (35, 35))))


def test_an_object_may_fill_its_picture_where_the_corners_show_the_background() -> None:
    ys, xs = np.mgrid[:80, :80] - 39.5
    disc = np.hypot(ys, xs) < 42  # beyond the middle of every side
    pixels = np.where(disc[..., None], [60, 90, 160], 250).astype(np.uint8)
    assert np.array_equal(uniform.foreground(pixels, sure=True), disc)


def test_a_background_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match="expected an object on a uniform background, got nothing else"):
        uniform.foreground(np.full((9, 9, 3), 7, np.uint8))
    with pytest.raises(ValueError, match="expected an object, got a fully transparent picture"):
        renderings.object_mask(np.zeros((9, 9, 4), np.uint8))
