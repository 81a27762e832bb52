"""Textures: pictures that lie on triangles. What is transparent in them shows the usual gray."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.geometry.looks.appearance import GRAY
from pipeline.geometry.looks.levels import eight_bits

Beside = Callable[[str], bytes | None]  # the file of a name, as a model says it, beside the model's own; None: none
FARTHEST = 1e9  # textures away, from where on a coordinate is none
LARGEST = 1024  # pixels a side; larger ones are averaged down


def read(data: bytes | None, opaque: bool = False) -> np.ndarray | None:
    """A texture (h, w, 3) uint8 of an image file, None where it is no picture that Pillow reads.

    Args:
        opaque: whether all of it counts as opaque.
    """
    from PIL import Image

    if data is None:
        return None
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.draft(None, (LARGEST, LARGEST))
            return texture(image, opaque)
    except MemoryError:
        raise
    except Exception:  # Pillow's readers raise whatever their parsers raise
        return None


def texture(image: Any, opaque: bool = False) -> np.ndarray:
    """A texture of Pillow's image: averaged down, and what is transparent gray, unless all counts as opaque."""
    from PIL import Image

    image = eight_bits(image)
    clear = not opaque and image.has_transparency_data
    image = image.convert("RGBA" if clear else "RGB")
    if (factor := -(-max(image.size) // LARGEST)) > 1:
        image = image.reduce(factor)
    if clear:
        image = Image.alpha_composite(Image.new("RGBA", image.size, (round(255 * GRAY),) * 3 + (255,)), image)
    return np.asarray(image.convert("RGB"))


def sound(uv: np.ndarray) -> np.ndarray:
    """(..., 2) -> (...) bool: which coordinates are places in a texture that repeats, and not damaged."""
    with np.errstate(invalid="ignore"):
        return (np.abs(uv) < FARTHEST).all(axis=-1)


def wrapped(uv: np.ndarray) -> np.ndarray:
    """(N, 3, 2) float32, each triangle moved by whole textures to where single precision is fine."""
    return (uv - np.floor(uv.min(axis=1, keepdims=True))).astype(np.float32)
