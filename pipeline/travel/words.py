"""What goes into a network and what comes out, in words from which both can be rebuilt."""

from __future__ import annotations

from typing import Any

from model import channels
from pipeline.shards.views import MARGIN, SUPERSAMPLE

OUTPUTS = {
    "occupancy": "occupancy {n} x {r} x {r} x {r}, the probability that a cell is full; full is what exceeds {t:.2f}. "
    "Cell (i, j, k) is centred at ((i, j, k) + 0.5) / {r} - 0.5 along x, y, z",
    "points": "points {n} x P x 3, x, y, z, on the surface of the shape",
    "mesh": "vertices {n} x N x 3, x, y, z, and faces M x 3, indices of vertices counter-clockwise seen from outside",
}
GRAY = "Make the photo gray, 0.299 R + 0.587 G + 0.114 B"
COLOR = "Take the photo's red, green and blue, as three pictures"
FRAME = "The unit cube from -0.5 to 0.5: +Y up, front to -Z, the longest side of the object's bounding box 15/16."


def preprocessing(config: Any) -> list[str]:
    """From a photo to what a network takes, step by step."""
    height, width = config.image_size
    return [
        "Cut the object out: a mask of the photo's size, 1 on the object.",
        f"{COLOR if channels(config) == 3 else GRAY}, in [0, 1], and 0 outside of the mask.",
        f"Take the window around the centre of the mask's bounding box that is {height} steps high and {width} wide; a "
        f"step is {MARGIN} times the larger of box height / {height} and box width / {width}, in pixels of the photo.",
        f"Sample it bilinearly at the centres of {SUPERSAMPLE} x {SUPERSAMPLE} equal parts of each step, 0 outside of "
        "the photo, and average them.",
        f"That is the picture, {channels(config)} x {height} x {width} float32 in [0, 1]: nothing is subtracted, "
        "nothing divided.",
    ]


def output(kind: str, config: Any, threshold: float, count: str = "N") -> str:
    """What a network gives; `kind` is `output` of `model/__init__.py`."""
    return OUTPUTS[kind].format(n=count, r=config.resolution, t=threshold)
