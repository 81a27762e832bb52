"""Photos: bytes -> a grayscale picture and the mask of its object, cut out by alpha channel or by background."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

TOLERANCE = 24  # levels of 256 by which a background may vary in each channel
SPECK = 1 / 5000  # share of the picture up to which an enclosed patch in the background's colour is the object's
LONGEST = 512  # pixels along the object to which larger photos are averaged; about twice a training view


def read_photo(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Grayscale picture (H, W) uint8 and mask of the object (H, W) bool of an image file, cropped to the object.

    The whole picture is taken, with a warning, where no object can be told from its background.

    Raises:
        ValueError: it is no image that Pillow reads, or fully transparent.
    """
    try:
        rgba = decode(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: expected a picture that can be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if rgba[..., 3].max() < 128:
        raise ValueError(f"{path}: expected an object, got a fully transparent picture")
    try:
        mask = object_mask(rgba)
    except ValueError as error:
        hint = "Cut the object out (alpha channel) for a better mesh."
        print(f"warning: {error}; taking the whole picture. {hint}", file=sys.stderr)
        mask = np.ones(rgba.shape[:2], bool)
    return _reduced(grayscale(rgba), mask)


def decode(data: bytes, upright: bool = True) -> np.ndarray:
    """Pixels (H, W, 4) uint8, red, green, blue, alpha, of an image file; `upright` turns them as its camera says.

    Raises:
        ValueError: it is no image that Pillow reads.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            turned = ImageOps.exif_transpose(image) if upright else image
            if turned.mode.startswith("I"):  # 16 bits, which Pillow would clip to 8
                turned = Image.fromarray((np.asarray(turned) / 257).clip(0, 255).astype(np.uint8))
            return np.asarray(turned.convert("RGBA"))
    except UnidentifiedImageError as error:
        raise ValueError(f"expected a picture, got {len(data)} bytes that Pillow can't identify") from error
    except (Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise ValueError(f"expected a picture, got {error}") from error


def stacked(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """(V, H, W, 4) from pictures of one size; ValueError where they have others."""
    sizes = sorted({picture.shape[:2] for picture in pictures})
    if len(sizes) != 1:
        raise ValueError(f"expected pictures of one size, got {sizes}")
    return np.stack(pictures)


def grayscale(rgba: np.ndarray) -> np.ndarray:
    """(H, W) uint8 by ITU-R 601's luma, from (H, W, 4) uint8; alpha is left out."""
    return np.asarray(Image.fromarray(rgba[..., :3]).convert("L"))


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


def foreground(rgb: np.ndarray) -> np.ndarray:
    """Mask (H, W) bool of what stands on a uniform background, from (H, W, 3) uint8.

    Background has the border's median colour, within TOLERANCE, and is connected with the border or larger than a
    SPECK: what is seen between a chair's legs is background too.

    Raises:
        ValueError: most of the border has other colours, or nothing but background is found.
    """
    from scipy import ndimage

    border = np.concatenate([rgb[0], rgb[-1], rgb[:, 0], rgb[:, -1]]).astype(int)
    colour = np.median(border, axis=0)
    alike = np.abs(rgb.astype(int) - colour).max(axis=-1) <= TOLERANCE
    uniform = (np.abs(border - colour).max(axis=-1) <= TOLERANCE).mean()
    regions, _ = ndimage.label(alike)
    behind = np.bincount(regions.ravel()) > SPECK * alike.size
    for edge in (regions[0], regions[-1], regions[:, 0], regions[:, -1]):
        behind[edge] = True
    behind[0] = False  # no region: whatever has another colour
    mask = ~behind[regions]
    if uniform < 0.6 or not mask.any():
        found = "nothing else" if uniform >= 0.6 else f"{uniform:.0%} of the border in one colour"
        raise ValueError(f"expected an object on a uniform background, got {found}")
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


def _reduced(gray: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cropped to the mask, and averaged down to at most LONGEST pixels a side, background left out of the means."""
    box = tuple(slice(hit[0], hit[-1] + 1) for hit in (np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))))
    gray, mask = gray[box], mask[box]
    factor = -(-max(gray.shape) // LONGEST)
    if factor > 1:
        share = np.asarray(Image.fromarray(mask.astype(np.float32)).reduce(factor))
        light = np.asarray(Image.fromarray((gray * mask).astype(np.float32)).reduce(factor))
        gray, mask = (light / np.maximum(share, 1e-6)).round().clip(0, 255).astype(np.uint8), share >= 0.5
    return gray, mask
