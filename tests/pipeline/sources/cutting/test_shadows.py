from __future__ import annotations

import numpy as np
import pytest

from pipeline.sources.cutting import methods
from tests.photos import seat


def test_a_shadow_is_warned_of() -> None:
    pixels, mask = seat()
    assert methods.cut(pixels) == (pytest.approx(mask), "its uniform background")
    ys, xs = np.mgrid[:120, :160]
    shadow = ((ys - 105) / 8) ** 2 + ((xs - 80) / 45) ** 2 < 1
    pixels[shadow & ~mask, :3] = 200
    share = (shadow & ~mask).sum() / (shadow | mask).sum()
    assert f"of which {share:.0%} may be a shadow" in methods.cut(pixels)[1]


def test_a_gray_object_is_not_taken_for_its_shadow() -> None:
    pixels, mask = seat()
    pixels[mask, :3] = 217  # as bright faces of a rendered view
    pixels[mask & (np.arange(120) > 90)[:, None], :3] = 120
    assert methods.cut(pixels) == (pytest.approx(mask), "its uniform background")
