from __future__ import annotations

import numpy as np
import pytest

from pipeline.sources import renderings


@pytest.mark.parametrize("shape", [(300, 401), (401, 300), (200, 600), (24, 32), (25, 20)])
def test_a_letterboxed_point_is_where_its_camera_puts_it(shape: tuple[int, int]) -> None:
    """Darkness around a point keeps its place, measured from the centre, times the scale."""
    ys, xs = np.mgrid[: shape[0], : shape[1]] + 0.5
    centre = np.array(shape) * [0.6, 0.3]
    blob = np.exp(-((ys - centre[0]) ** 2 + (xs - centre[1]) ** 2) / (min(shape) / 8) ** 2)
    size = (48, 64)
    gray, mask, scale = renderings.letterbox((255 - 255 * blob).round().astype(np.uint8), blob > 0.5, size)
    assert gray.shape == mask.shape == size and scale == min(48 / shape[0], 64 / shape[1])
    ys, xs = np.mgrid[:48, :64] + 0.5
    weight = 255.0 - gray
    found = np.array([(weight * ys).sum(), (weight * xs).sum()]) / weight.sum()
    assert np.allclose(found - np.array(size) / 2, (centre - np.array(shape) / 2) * scale, atol=0.15)
    assert mask.sum() / scale**2 == pytest.approx((blob > 0.5).sum(), rel=0.2)


def test_pictures_of_one_size_are_stacked() -> None:
    one = np.zeros((4, 5, 4), np.uint8)
    assert renderings.stacked([one, one]).shape == (2, 4, 5, 4)
    with pytest.raises(ValueError, match=r"expected pictures of one size, got \[\(4, 5\), \(6, 5\)\]"):
        renderings.stacked([one, np.zeros((6, 5, 4), np.uint8)])
