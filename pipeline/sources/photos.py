"""Photos: image files -> a grayscale picture, cropped to its object, and the mask of that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.sources.cutting.methods import box, cut
from pipeline.sources.cutting.uniform import SPECK
from pipeline.sources.pictures import decode, frames, grayscale

WIDE = 1024  # pixels a side to which a photo is averaged before its object is cut out
LONGEST = 512  # pixels along the object to which larger photos are averaged; about twice a training view
SMALLEST, BLACK = 9, 12  # pixels of an object, and levels of 256 up to which all of it is black
HELP = "a plain background, an alpha channel or --mask tells the object"


@dataclass(frozen=True)
class Photo:
    """A photo cropped to its object, or, where what is around that is kept, whole.

    Attributes:
        gray: (H, W) uint8.
        mask: (H, W) bool, True on the object.
        color: (H, W, 3) uint8.
        how: in words, by what the object was cut out.
        kept: whether what is around the object belongs to the picture.
    """

    gray: np.ndarray
    mask: np.ndarray
    color: np.ndarray
    how: str
    kept: bool = False


def read_photo(path: Path, cut_out: str = "auto", mask: Path | None = None, keep: bool = False) -> Photo:
    """A photo's object, from an image file, turned upright as its camera says.

    Args:
        cut_out: one of CUT_OUTS. `auto` takes the alpha channel where that cuts something out, or else a uniform
            background, or else GrabCut.
        mask: a picture of the photo's size, white on the object, which is taken instead.
        keep: whether what is around the object is kept, as far as it is opaque.

    Raises:
        ValueError: photo or mask is no image that Pillow reads, or they differ in size, or no object is found.
    """
    rgba, count = _opened(path, WIDE if mask is None else None)
    whole = rgba
    if mask is not None:
        white = grayscale(_opened(mask)[0]) >= 128
        if white.shape != rgba.shape[:2]:
            sizes = " and ".join(f"{w} x {h}" for h, w in (rgba.shape[:2], white.shape))
            raise ValueError(f"{mask}: expected a mask of the size of {path}, got {sizes}")
        rgba = np.dstack([rgba[..., :3], 255 * white.astype(np.uint8)])
    rgba = _averaged(rgba)
    try:
        if mask is None:
            found, how = cut(rgba, cut_out)
        else:
            found, how = rgba[..., 3] >= 128, f"the mask {mask}"
        gray = grayscale(rgba)
        if (size := int(found.sum())) < max(SMALLEST, SPECK * found.size):
            raise ValueError(f"expected an object, got {size} of {found.size} pixels by {how}")
        if gray[found].max() <= BLACK:
            raise ValueError(f"expected an object with light and shade, got one that is all black, by {how}")
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {HELP}") from error
    how += f", in the first of {count} frames" * (count > 1)
    if keep:
        return Photo(*_surrounded(_averaged(whole), found), how + ", its surroundings kept", kept=True)
    return Photo(*_reduced(gray, rgba[..., :3], found), how)


def _opened(path: Path, longest: int | None = None) -> tuple[np.ndarray, int]:
    """Pixels of a file, and how many frames it has."""
    try:
        data = path.read_bytes()
        return decode(data, longest=longest), frames(data)
    except OSError as error:
        raise ValueError(f"{path}: expected a picture that can be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _averaged(rgba: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8 averaged down to at most WIDE pixels a side, what is transparent left out of the means."""
    factor = -(-max(rgba.shape[:2]) // WIDE)
    if factor < 2:
        return rgba
    if rgba[..., 3].min() == 255:
        return np.asarray(Image.fromarray(rgba).reduce(factor))
    return np.asarray(Image.fromarray(rgba).convert("RGBa").reduce(factor).convert("RGBA"))


def _reduced(gray: np.ndarray, rgb: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture, mask and picture in colour, cropped to the mask, and averaged down to at most LONGEST pixels a side.

    The background is left out of the means.
    """
    gray, rgb, mask = (part[box(mask)] for part in (gray, rgb, mask))
    factor = -(-max(gray.shape) // LONGEST)
    if factor == 1:
        return gray, mask, rgb
    share = np.asarray(Image.fromarray(mask.astype(np.float32)).reduce(factor))

    def averaged(values: np.ndarray) -> np.ndarray:
        light = np.asarray(Image.fromarray((values * mask).astype(np.float32)).reduce(factor))
        return (light / np.maximum(share, 1e-6)).round().clip(0, 255).astype(np.uint8)

    return averaged(gray), share >= 0.5, np.stack([averaged(rgb[..., channel]) for channel in range(3)], axis=-1)


def _surrounded(rgba: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `_reduced`, but the whole picture, black where it is transparent."""
    factor = -(-max(mask[box(mask)].shape) // LONGEST)
    seen = Image.fromarray(np.where(rgba[..., 3:] >= 128, rgba[..., :3], np.uint8(0))).reduce(factor)
    share = np.asarray(Image.fromarray(mask.astype(np.float32)).reduce(factor))
    return np.asarray(seen.convert("L")), share >= 0.5, np.asarray(seen)
