"""Pictures of data sets -> views and masks of their objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from pipeline.sources.cutting.uniform import foreground


def stacked(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """(V, H, W, 4) from pictures of one size; ValueError where they have others."""
    sizes = sorted({picture.shape[:2] for picture in pictures})
    if len(sizes) != 1:
        raise ValueError(f"expected pictures of one size, got {sizes}")
    return np.stack(pictures)


def colour(rgba: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """(V, H, W, 3) uint8, from (V, H, W, 4) uint8: white outside of masks (V, H, W)."""
    return np.where(masks[..., None], rgba[..., :3], np.uint8(255))


def object_mask(rgba: np.ndarray) -> np.ndarray:
    """Mask (H, W) bool of the object in (H, W, 4) uint8: by the alpha channel, or else by `foreground`.

    Raises:
        ValueError: no pixel is opaque; as `foreground` where all are.
    """
    if rgba[..., 3].min() == 255:
        return foreground(rgba[..., :3])
    mask = rgba[..., 3] >= 128
    if not mask.any():
        raise ValueError("expected an object, got a fully transparent picture")
    return mask


def letterbox(gray: np.ndarray, mask: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, float]:
    """A whole picture on white, and its mask, at another size.

    The scale is the same along both axes and the centre stays the centre, to the last digit, so that a camera whose
    axis goes through the centre has only its focal length changed.

    Args:
        gray, mask: (H, W) uint8 and bool.
        size: (H', W').

    Returns:
        (H', W') uint8, (H', W') bool, and output pixels for one of the input.
    """
    scale = min(size[0] / gray.shape[0], size[1] / gray.shape[1])
    window = [length / scale for length in size]  # in pixels of the input
    pads = [int(np.ceil(max(0.0, wide - have) / 2)) for wide, have in zip(window, gray.shape, strict=True)]
    low = [pad + (have - wide) / 2 for pad, have, wide in zip(pads, gray.shape, window, strict=True)]
    high = [start + wide for start, wide in zip(low, window, strict=True)]
    padded = [(pad, pad) for pad in pads]

    def resized(values: np.ndarray, background: float) -> np.ndarray:
        image = Image.fromarray(np.pad(values.astype(np.float32), padded, constant_values=background))
        # The last digit of a sum may lie outside of the image, which Pillow refuses.
        box = (max(low[1], 0), max(low[0], 0), min(high[1], image.width), min(high[0], image.height))
        return np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR, box))

    return resized(gray, 255).round().clip(0, 255).astype(np.uint8), resized(mask, 0) >= 0.5, scale
