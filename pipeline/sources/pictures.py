"""Image files: bytes -> pixels, whatever the file says of itself."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from pipeline.geometry.looks.levels import eight_bits

ORIENTATION = 0x0112  # EXIF's tag, and how a picture is turned upright by its value
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
APPLE = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # brands of HEIC


def decode(data: bytes, upright: bool = True, longest: int | None = None) -> np.ndarray:
    """Pixels (H, W, 4) uint8, red, green, blue, alpha, of an image file; of several frames the first.

    Args:
        upright: whether they are turned as its camera says. EXIF that can't be read says nothing.
        longest: a JPEG much larger than that may be read at a half, a quarter or an eighth, but not below it.

    Raises:
        ValueError: it is no image that Pillow reads.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            if longest:
                image.draft(None, (longest, longest))
            turn = _turn(image) if upright else None
            turned: Image.Image = image if turn is None else image.transpose(turn)
            return np.asarray(eight_bits(turned).convert("RGBA"))
    except UnidentifiedImageError as error:
        if data[4:8] == b"ftyp" and data[8:12] in APPLE:
            raise ValueError("expected a picture, got HEIC, which Pillow can't read; convert it to JPEG") from error
        raise ValueError(f"expected a picture, got {len(data)} bytes that Pillow can't identify") from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise whatever their parsers raise
        raise ValueError(f"expected a picture, got {error or type(error).__name__}") from error


def frames(data: bytes) -> int:
    """Frames of an animation, pages of a TIFF; the further pictures in a telephone's JPEG are none."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return 1 if image.format in ("MPO", "JPEG") else getattr(image, "n_frames", 1)
    except Exception:  # as above; `decode` says it
        return 1


def grayscale(rgba: np.ndarray) -> np.ndarray:
    """(H, W) uint8 by ITU-R 601's luma, from (H, W, 4) uint8; alpha is left out."""
    return np.asarray(Image.fromarray(rgba[..., :3]).convert("L"))


def _turn(image: Image.Image) -> Image.Transpose | None:
    # ImageOps.exif_transpose writes all of the EXIF anew, and fails with what can't be written.
    try:
        return UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # as above
        return None
