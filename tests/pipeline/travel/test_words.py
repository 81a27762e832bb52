from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from pipeline.shards.views import prepare
from pipeline.travel.words import output, preprocessing
from tests.systems import CONFIGS


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_who_does_what_the_words_say_gets_the_picture(seed: int) -> None:
    """Step by step, with SciPy's sampling; the numbers are those of the words."""
    config = CONFIGS["view2voxel"]
    words = " ".join(preprocessing(config))
    assert "32 steps high and 32 wide" in words and "1.1 times" in words and "3 x 3 equal parts" in words
    rng = np.random.default_rng(seed)
    gray = rng.integers(0, 256, (60, 80)).astype(np.uint8)
    mask = np.zeros((60, 80), bool)
    top, left = rng.integers(0, 20, 2)
    mask[top : top + rng.integers(5, 40), left : left + rng.integers(5, 60)] = True
    picture = gray / 255 * mask
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    step = 1.1 * max(len(rows) / 32, len(columns) / 32)
    parts = ((np.arange(96) + 0.5) / 3 - 16) * step
    # A pixel's centre lies at half a pixel, and at a whole number for SciPy.
    places = np.meshgrid(*((ends[0] + ends[-1] + 1) / 2 + parts - 0.5 for ends in (rows, columns)), indexing="ij")
    fine = map_coordinates(picture, places, order=1, mode="grid-constant", cval=0)
    expected = fine.reshape(32, 3, 32, 3).mean(axis=(1, 3))
    found = prepare(torch.from_numpy(gray), torch.from_numpy(mask), (32, 32))[0].numpy()
    assert np.abs(found - expected).max() < 1e-4


def test_outputs_are_told() -> None:
    config = CONFIGS["view2voxel"]
    assert output("occupancy", config, 0.35) == (
        "occupancy N x 16 x 16 x 16, the probability that a cell is full; full is what exceeds 0.35. "
        "Cell (i, j, k) is centred at ((i, j, k) + 0.5) / 16 - 0.5 along x, y, z"
    )
    assert output("points", config, 0.5, "1").startswith("points 1 x P x 3")
