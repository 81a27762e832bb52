"""What an answer hangs on, made a picture's line."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import uniform_filter
from torch import Tensor

from pipeline.answers.attribution import PARTS, attribute
from pipeline.pages.heat import Look
from pipeline.pages.pictures import Surface, dots
from pipeline.scoring.predictions import Prediction


def look(
    network: Any, images: Tensor, threshold: float, words: str = "", finest: int = PARTS, reads: bool = True
) -> Look:
    """What the answer to a view (1, 1, C, H, W) hangs on.

    Args:
        words: that come before what the part that matters most changes.
        finest: squares along the shorter side.
        reads: whether attention is shown, where there is some.
    """
    found = attribute(network, images, threshold, finest)
    part = f"{found.change:.0%} of its cells" if network.output == "occupancy" else f"its points by {found.change:.3f}"
    told = f"painted over, the frame changes {part}"
    return Look(
        found.seen,
        smooth(found.pixels),
        found.parts,
        found.window,
        surface(found.answer, threshold),
        surface(found.without, threshold),
        f"{words}; {told}" if words else told,
        found.spots,
        [[over_even(values) for values in maps] for maps in found.reads] if reads else [],
    )


def smooth(values: np.ndarray) -> np.ndarray:
    """A map (H, W) as means over three by three pixels, as single ones tell little."""
    return uniform_filter(values, 3, mode="constant")


def over_even(values: np.ndarray) -> np.ndarray:
    """What a position reads of each (h, w) beyond an even share."""
    return np.maximum(values - values.mean(), 0)


def surface(prediction: Prediction, threshold: float) -> Surface:
    """To be drawn; of points a ball for each."""
    return prediction.surface(threshold) if prediction.points is None else dots(prediction.points)
