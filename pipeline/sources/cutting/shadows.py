"""What of an object may be its shadow on a uniform background."""

from __future__ import annotations

import numpy as np

SHADE, HUE, SHADED = (0.6, 0.95), 8, 0.1  # light and levels of 256 of a shadow; share of an object worth a warning
FOOT = 0.75  # of the way down from an object's top is a shadow's middle, at least


def shadowed(rgb: np.ndarray, mask: np.ndarray) -> str:
    """A warning where an object's foot has much of its uniform background's colour, only darker, as shadows have."""
    colour = np.median(rgb[~mask], axis=0)
    if not (size := int(mask.sum())) or colour.max() < 128:
        return ""
    light = rgb[mask] @ colour / (colour @ colour)  # how much of the background's light each pixel has
    alike = np.abs(rgb[mask] - light[:, None] * colour).max(axis=1) <= HUE
    shaded = alike & (light > SHADE[0]) & (light < SHADE[1])
    rows, shade = np.nonzero(mask)[0], shaded.sum() / size
    low = shaded.any() and (rows[shaded].mean() - rows.min()) / (np.ptp(rows) + 1) > FOOT
    return (
        f", of which {shade:.0%} may be a shadow: --show shows it, --mask helps" if low and SHADED < shade < 0.9 else ""
    )
