"""A photo whose object is known to the pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def photo(path: Path, background: tuple[int, ...], mode: str = "RGB") -> np.ndarray:
    """A 60x80 picture of a red ring, rows 16 to 44 and columns 31 to 59; returns its mask, cropped to it."""
    ys, xs = np.mgrid[0:60, 0:80]
    distance = (ys - 30) ** 2 + (xs - 45) ** 2
    ring = (distance < 15**2) & (distance >= 5**2)
    pixels = np.empty((60, 80, len(background)), np.uint8)
    pixels[:] = background
    pixels[ring] = (200, 30, 30, 255)[: len(background)]
    Image.fromarray(pixels, mode).save(path)
    return ring[16:45, 31:60]


def scene(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A red ball before stripes of green, blue and both, with noise, (90, 120, 3) uint8; and its mask."""
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[:90, :120]
    ball = (ys - 50) ** 2 + (xs - 55) ** 2 < 25**2
    pixels = np.array([[60, 150, 60], [40, 60, 170], [60, 150, 170]])[(xs + ys) // 7 % 3]
    pixels[ball] = [200, 60, 40]
    return (pixels + rng.integers(-12, 13, pixels.shape)).clip(0, 255).astype(np.uint8), ball


def seat(background: int = 255, height: int = 120, width: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """A bluish chair on a background, (H, W, 4) uint8, and its mask."""
    mask = np.zeros((height, width), bool)
    mask[20:60, 50:65] = mask[60:72, 50:100] = mask[72:105, 52:58] = mask[72:105, 92:98] = True
    pixels = np.full((height, width, 4), (*3 * [background], 255), np.uint8)
    pixels[mask, :3] = (70, 80, 110)
    return pixels, mask
