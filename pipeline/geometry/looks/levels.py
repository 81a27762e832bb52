"""Pictures of more than 8 bits a channel, which Pillow would clip, brought to 8."""

from __future__ import annotations

from typing import Any

import numpy as np

DEPTHS = (8, 10, 12, 14, 16)  # bits of a pixel, be they kept in 16 or 32


def eight_bits(image: Any) -> Any:
    """Pillow's image; one of deep gray levels in 8 bits, with the place of white as its brightest pixel tells it."""
    from PIL import Image

    deep = image.mode.startswith("I") or image.mode == "F"
    return Image.fromarray(_bytes(np.asarray(image))) if deep else image


def _bytes(values: np.ndarray) -> np.ndarray:
    """Gray levels as uint8: fractions up to 1, or integers of the least of DEPTHS that has room for all of them."""
    brightest = np.max(values, where=np.isfinite(values), initial=0)
    if values.dtype.kind == "f" and brightest <= 1:
        white = 1
    else:
        white = next((2**bits - 1 for bits in DEPTHS if brightest < 2**bits), brightest)
    return np.nan_to_num(255.0 * values / white).clip(0, 255).astype(np.uint8)
