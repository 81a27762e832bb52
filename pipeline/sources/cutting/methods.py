"""Which way an object is cut out of a photo, and in words which it was."""

from __future__ import annotations

import numpy as np

from pipeline.sources.cutting.guesses import by_grabcut, by_rembg
from pipeline.sources.cutting.shadows import shadowed
from pipeline.sources.cutting.uniform import TOLERANCE, foreground

CUT_OUTS = "auto", "alpha", "uniform", "grabcut", "rembg"
FILLED = 0.95  # of its box is opaque where an alpha channel cuts nothing out
FRONT = 0.01  # share of a frame that an object within takes, at least; what is smaller is on the front of a cabinet


def cut(rgba: np.ndarray, method: str = "auto") -> tuple[np.ndarray, str]:
    """Mask (H, W) bool of the object in (H, W, 4) uint8, and in words by what it was cut out.

    Raises:
        ValueError: the method, one of CUT_OUTS, finds no object; or it is none of them, or not installed.
    """
    if method not in CUT_OUTS:
        raise ValueError(f"--cut-out: expected one of {', '.join(CUT_OUTS)}, got '{method}'")
    highest = int(rgba[..., 3].max())
    opaque = rgba[..., 3] >= min(128, highest / 2)  # of what is hazy all over, the densest
    if not highest:
        raise ValueError("expected an object, got a fully transparent picture")
    if not opaque.all() and (method == "alpha" or (method == "auto" and not framing(opaque))):
        return opaque, "its alpha channel"
    if method == "alpha":
        raise ValueError("expected an alpha channel that cuts the object out, got a picture opaque all over")
    if method == "auto" and not opaque.all():
        return _framed(rgba, opaque)
    rgb = np.where(opaque[..., None], rgba[..., :3], np.uint8(255))
    if np.ptp(rgb, axis=(0, 1)).max() <= TOLERANCE:
        raise ValueError("expected an object, got a picture in one colour")
    if method in ("auto", "uniform"):
        try:
            mask = foreground(rgb, sure=method == "auto")
            return mask, "its uniform background" + shadowed(rgb, mask)
        except ValueError:
            if method == "uniform":
                raise
    return (by_rembg(rgb), "rembg") if method == "rembg" else (by_grabcut(rgb), "GrabCut, which guesses")


def framing(opaque: np.ndarray) -> bool:
    """Whether an alpha channel (H, W) bool cuts nothing out: a rectangle, but for round corners or specks.

    Its sides are straight, as those of a box that is cut out are not but from the very front.
    """
    inside = opaque[box(opaque)]
    sides = [line[len(line) // 4 : -(len(line) // 4) or None] for side in (inside, inside.T) for line in side[[0, -1]]]
    return bool(inside.mean() >= FILLED and min(side.mean() for side in sides) >= FILLED)


def _framed(rgba: np.ndarray, opaque: np.ndarray) -> tuple[np.ndarray, str]:
    """As `cut`, of a picture whose alpha channel frames it; or the frame, where that seems to be the object itself.

    What GrabCut guesses is taken only where the frame reaches from side to side, or from top to bottom: what is busy
    all over and stands in the middle is rather the front of a cabinet than a photo.
    """
    place = box(opaque)
    inside, clear = rgba[place], ~opaque[place]
    border = ~clear
    border[1:-1, 1:-1] = False
    filled = np.where(clear[..., None], np.median(inside[border], axis=0).astype(np.uint8), inside)
    filled[..., 3] = 255
    wide = any(span.stop - span.start == length for span, length in zip(place, opaque.shape, strict=True))
    try:
        found, how = cut(filled, "auto" if wide else "uniform")
    except ValueError:
        return opaque, "its alpha channel, which is a rectangle"
    if found.mean() < FRONT:
        return opaque, "its alpha channel, which is a rectangle"
    mask = np.zeros_like(opaque)
    mask[place] = found & ~clear
    return mask, f"{how}, as its alpha channel cuts nothing out"


def box(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns in which a mask (H, W) bool has something."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
