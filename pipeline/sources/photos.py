"""Photos: bytes -> a grayscale picture and the mask of its object, which is cut out of it one way or another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.sources.pictures import decode, frames

TOLERANCE = 24  # levels of 256 by which a background may vary in each channel
SPECK = 1 / 5000  # share of the picture up to which an enclosed patch in the background's colour is the object's
WIDE = 1024  # pixels a side to which a photo is averaged before its object is cut out
MOSTLY, SURE = 0.6, 0.85  # of the border in the background's colour
CUT_AT, FRAME = 256, 0.03  # GrabCut's picture, pixels a side, and the share of the shorter one that frames it
PIECE, LEAST, MOST = 0.1, 0.005, 0.97  # of the largest piece what is kept; of what the frame holds what is an object
FILLED = 0.95  # of its box is opaque where an alpha channel cuts nothing out
SHADE, HUE, SHADED = (0.6, 0.95), 8, 0.1  # light and levels of 256 of a shadow; share of an object worth a warning
FOOT = 0.75  # of the way down from an object's top is a shadow's middle, at least
BRUSH = np.ones((3, 3), np.uint8)
SMALLEST, BLACK = 9, 12  # pixels of an object, and levels of 256 up to which all of it is black
CUT_OUTS = "auto", "alpha", "uniform", "grabcut", "rembg"
HELP = "a plain background, an alpha channel or --mask tells the object"
LONGEST = 512  # pixels along the object to which larger photos are averaged; about twice a training view


@dataclass(frozen=True)
class Photo:
    """A photo cropped to its object.

    Attributes:
        gray: (H, W) uint8.
        mask: (H, W) bool, True on the object.
        color: (H, W, 3) uint8.
        how: in words, by what the object was cut out.
    """

    gray: np.ndarray
    mask: np.ndarray
    color: np.ndarray
    how: str


def read_photo(path: Path, cut_out: str = "auto", mask: Path | None = None) -> Photo:
    """A photo's object, from an image file, turned upright as its camera says.

    Args:
        cut_out: one of CUT_OUTS. `auto` takes the alpha channel where that cuts something out, or else a uniform
            background, or else GrabCut.
        mask: a picture of the photo's size, white on the object, which is taken instead.

    Raises:
        ValueError: photo or mask is no image that Pillow reads, or they differ in size, or no object is found.
    """
    rgba, count = _opened(path, WIDE if mask is None else None)
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
    return Photo(*_reduced(gray, rgba[..., :3], found), how + f", in the first of {count} frames" * (count > 1))


def _opened(path: Path, longest: int | None = None) -> tuple[np.ndarray, int]:
    """Pixels of a file, and how many frames it has."""
    try:
        data = path.read_bytes()
        return decode(data, longest=longest), frames(data)
    except OSError as error:
        raise ValueError(f"{path}: expected a picture that can be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def cut(rgba: np.ndarray, method: str = "auto") -> tuple[np.ndarray, str]:
    """Mask (H, W) bool of the object in (H, W, 4) uint8, and in words by what it was cut out.

    Raises:
        ValueError: the method, one of CUT_OUTS, finds no object; or it is none of them, or not installed.
    """
    if method not in CUT_OUTS:
        raise ValueError(f"--cut-out: expected one of {', '.join(CUT_OUTS)}, got '{method}'")
    highest = int(rgba[..., 3].max())
    opaque = rgba[..., 3] >= min(128, highest / 2)  # of what is hazy all over, the densest
    if not highest:
        raise ValueError("expected an object, got a fully transparent picture")
    if not opaque.all() and (method == "alpha" or (method == "auto" and not framing(opaque))):
        return opaque, "its alpha channel"
    if method == "alpha":
        raise ValueError("expected an alpha channel that cuts the object out, got a picture opaque all over")
    if method == "auto" and not opaque.all():
        return _framed(rgba, opaque)
    rgb = np.where(opaque[..., None], rgba[..., :3], np.uint8(255))
    if np.ptp(rgb, axis=(0, 1)).max() <= TOLERANCE:
        raise ValueError("expected an object, got a picture in one colour")
    if method in ("auto", "uniform"):
        try:
            mask = foreground(rgb, sure=method == "auto")
            return mask, "its uniform background" + _shadowed(rgb, mask)
        except ValueError:
            if method == "uniform":
                raise
    return (by_rembg(rgb), "rembg") if method == "rembg" else (by_grabcut(rgb), "GrabCut, which guesses")


def framing(opaque: np.ndarray) -> bool:
    """Whether an alpha channel (H, W) bool cuts nothing out: a rectangle, but for round corners or specks.

    Its sides are straight, as those of a box that is cut out are not but from the very front.
    """
    inside = opaque[_box(opaque)]
    sides = [line[len(line) // 4 : -(len(line) // 4) or None] for side in (inside, inside.T) for line in side[[0, -1]]]
    return bool(inside.mean() >= FILLED and min(side.mean() for side in sides) >= FILLED)


def _framed(rgba: np.ndarray, opaque: np.ndarray) -> tuple[np.ndarray, str]:
    """As `cut`, of a picture whose alpha channel frames it; or the frame, where that seems to be the object itself.

    What GrabCut guesses is taken only where the frame reaches from side to side, or from top to bottom: what is busy
    all over and stands in the middle is rather the front of a cabinet than a photo.
    """
    box = _box(opaque)
    inside, clear = rgba[box], ~opaque[box]
    border = ~clear
    border[1:-1, 1:-1] = False
    filled = np.where(clear[..., None], np.median(inside[border], axis=0).astype(np.uint8), inside)
    filled[..., 3] = 255
    wide = any(span.stop - span.start == length for span, length in zip(box, opaque.shape, strict=True))
    try:
        found, how = cut(filled, "auto" if wide else "uniform")
    except ValueError:
        return opaque, "its alpha channel, which is a rectangle"
    if found.mean() < PIECE**2:
        return opaque, "its alpha channel, which is a rectangle"
    mask = np.zeros_like(opaque)
    mask[box] = found & ~clear
    return mask, f"{how}, as its alpha channel cuts nothing out"


def _shadowed(rgb: np.ndarray, mask: np.ndarray) -> str:
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


def stacked(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """(V, H, W, 4) from pictures of one size; ValueError where they have others."""
    sizes = sorted({picture.shape[:2] for picture in pictures})
    if len(sizes) != 1:
        raise ValueError(f"expected pictures of one size, got {sizes}")
    return np.stack(pictures)


def grayscale(rgba: np.ndarray) -> np.ndarray:
    """(H, W) uint8 by ITU-R 601's luma, from (H, W, 4) uint8; alpha is left out."""
    return np.asarray(Image.fromarray(rgba[..., :3]).convert("L"))


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
    gray, rgb, mask = (part[_box(mask)] for part in (gray, rgb, mask))
    factor = -(-max(gray.shape) // LONGEST)
    if factor == 1:
        return gray, mask, rgb
    share = np.asarray(Image.fromarray(mask.astype(np.float32)).reduce(factor))

    def averaged(values: np.ndarray) -> np.ndarray:
        light = np.asarray(Image.fromarray((values * mask).astype(np.float32)).reduce(factor))
        return (light / np.maximum(share, 1e-6)).round().clip(0, 255).astype(np.uint8)

    return averaged(gray), share >= 0.5, np.stack([averaged(rgb[..., channel]) for channel in range(3)], axis=-1)


def _box(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns in which a mask (H, W) bool has something."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
