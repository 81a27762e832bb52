"""What stands on a uniform background."""

from __future__ import annotations

import numpy as np

TOLERANCE = 24  # levels of 256 by which a background may vary in each channel
SPECK = 1 / 5000  # share of the picture up to which an enclosed patch in the background's colour is the object's
MOSTLY, SURE = 0.6, 0.85  # of the border in the background's colour


def foreground(rgb: np.ndarray, sure: bool = False) -> np.ndarray:
    """Mask (H, W) bool of what stands on a uniform background, from (H, W, 3) uint8.

    Background has the border's median colour, within TOLERANCE, and is connected with the border or larger than a
    SPECK: what is seen between a chair's legs is background too. To be `sure`, it is in all corners or nearly all of
    the border, as it is not where a table stands before a wall.

    Raises:
        ValueError: most of the border has other colours, or nothing but background is found.
    """
    import cv2  # in a third of the time of SciPy

    border = np.concatenate([rgb[0], rgb[-1], rgb[:, 0], rgb[:, -1]]).astype(np.int16)
    colour = np.median(border, axis=0)
    alike = np.abs(rgb.astype(np.int16) - colour.astype(np.float32)).max(axis=-1) <= TOLERANCE
    uniform = (np.abs(border - colour).max(axis=-1) <= TOLERANCE).mean()
    corners = alike[0, 0] and alike[0, -1] and alike[-1, 0] and alike[-1, -1]
    share = SURE if sure and not corners else MOSTLY
    _, regions = cv2.connectedComponents(alike.astype(np.uint8), connectivity=4)
    behind = np.bincount(regions.ravel()) > SPECK * alike.size
    for edge in (regions[0], regions[-1], regions[:, 0], regions[:, -1]):
        behind[edge] = True
    behind[0] = False  # no region: whatever has another colour
    mask = ~behind[regions]
    _, piece, about, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    mask &= (about[:, cv2.CC_STAT_AREA] > SPECK * mask.size)[piece]  # what is smaller is noise, as around JPEG's edges
    if uniform < share or not mask.any():
        found = "nothing else" if uniform >= share else f"{uniform:.0%} of the border in one colour"
        raise ValueError(f"expected an object on a uniform background, got {found}")
    return mask
