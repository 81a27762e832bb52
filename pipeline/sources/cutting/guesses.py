"""What differs from its surroundings, guessed: by GrabCut, or by the network of rembg."""

from __future__ import annotations

import numpy as np
from PIL import Image

CUT_AT, FRAME = 256, 0.03  # GrabCut's picture, pixels a side, and the share of the shorter one that frames it
PIECE, LEAST, MOST = 0.1, 0.005, 0.97  # of the largest piece what is kept; of what the frame holds what is an object
BRUSH = np.ones((3, 3), np.uint8)


def by_grabcut(rgb: np.ndarray) -> np.ndarray:
    """Mask (H, W) bool of what differs in colour from a frame along the picture's edge, from (H, W, 3) uint8.

    Rother, Kolmogorov and Blake, "GrabCut", SIGGRAPH 2004, as OpenCV has it, on a picture of at most CUT_AT pixels a
    side. Lines thinner than BRUSH, as where a wall meets the floor, and pieces much smaller than the largest are left
    out.

    Raises:
        ValueError: nothing stands out from what is in the frame, or nearly everything, or a scatter of pieces.
    """
    import cv2

    height, width = rgb.shape[:2]
    scale = max(1.0, max(height, width) / CUT_AT)
    size = max(1, round(width / scale)), max(1, round(height / scale))
    frame = max(1, round(FRAME * min(size)))
    inside = (frame, frame, size[0] - 2 * frame, size[1] - 2 * frame)
    if min(inside) < 1:
        raise ValueError(f"expected an object inside of a frame, got a picture of {width} x {height} pixels")
    small = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX))[..., ::-1].copy()
    labels = np.zeros(size[::-1], np.uint8)
    cv2.setRNGSeed(0)  # the same photo, the same mask
    cv2.grabCut(small, labels, inside, np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_RECT)
    found = labels & 1
    found &= cv2.dilate(cv2.morphologyEx(found, cv2.MORPH_OPEN, BRUSH), BRUSH).astype(np.uint8)
    _, piece, about, _ = cv2.connectedComponentsWithStats(found, connectivity=8)
    areas = about[:, cv2.CC_STAT_AREA] * (np.arange(len(about)) > 0)
    mask = (areas >= max(1, PIECE * areas.max()))[piece]
    share = mask.sum() / (inside[2] * inside[3])
    if not LEAST < share < MOST or areas.max() < areas.sum() / 2:
        raise ValueError("expected an object, got a picture that GrabCut can't tell from its background")
    whole = Image.fromarray(mask.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(whole) >= 0.5


def by_rembg(rgb: np.ndarray) -> np.ndarray:
    """Mask (H, W) bool by rembg, from (H, W, 3) uint8; ValueError where that is not installed."""
    try:
        from rembg import remove
    except ImportError as error:
        raise ValueError(f"--cut-out: expected rembg to be installed (pip install rembg), got {error}") from error
    return np.asarray(remove(Image.fromarray(rgb), only_mask=True).convert("L")) >= 128
