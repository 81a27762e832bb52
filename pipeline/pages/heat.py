"""What answers hang on, as pictures: maps over what a network saw, and the answer with and without a part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from pipeline.pages.pictures import (
    CELL,
    GAP,
    HEADER,
    INK,
    LINE,
    PREDICTED_COLOUR,
    Surface,
    camera_rays,
    corners,
    font,
    shaded,
)

TITLES = "what it saw", "pixels that matter", "parts that matter", "answer", "answer without the frame"
NOTE = 24  # pixels of a line of words
MOST = 99.5  # percentile that is shown as the most, as single pixels may stand out
WARM = np.array([[60, 20, 90], [200, 50, 60], [255, 150, 30], [255, 240, 130]], float)  # from a little to the most
FRAME, MARK = (70, 200, 255), (80, 255, 120)
RADIUS = 5  # of a mark
BAR = 120, 10  # width and height of the scale


@dataclass(frozen=True)
class Look:
    """What one answer hangs on; maps are (h, w) of any size, `frame` top, left and side in pixels of `seen`.

    Attributes:
        seen: (H, W) float in [0, 1].
        pixels, parts: maps.
        frame: of the part that matters most.
        answer, without: the shape, and the one where that part is painted over; maybe empty.
        words: below it.
        spots: (y, x) in shares of height and width.
        reads: of every layer with attention a map for every spot.
    """

    seen: np.ndarray
    pixels: np.ndarray
    parts: np.ndarray
    frame: tuple[int, int, int]
    answer: Surface
    without: Surface
    words: str
    spots: Sequence[tuple[float, float]]
    reads: Sequence[Sequence[np.ndarray]]


def looked_into(looks: Sequence[Look]) -> Image.Image:
    """A line of TITLES for each, its words, and below it a line for every layer with attention."""
    lines = [1 + len(look.reads) for look in looks]
    width, height = CELL[0] + GAP, CELL[1] + GAP
    sheet = Image.new("RGB", (len(TITLES) * width, HEADER + sum(lines) * (height + NOTE) + NOTE), "white")
    draw = ImageDraw.Draw(sheet)
    for place, title in enumerate(TITLES):
        draw.text(((place + 0.5) * width, HEADER / 2), title, INK, font(17), anchor="mm")
    top = HEADER
    for look in looks:
        draw.line((GAP // 2, top, sheet.width - GAP // 2, top), LINE)
        for pictures, words in [(main_line(look), look.words), *attention_lines(look)]:
            for place, picture in enumerate(pictures):
                sheet.paste(picture, (place * width + GAP // 2, top + GAP // 2))
            draw.text((GAP // 2, top + height + NOTE / 2 - 4), words, INK, font(14), anchor="lm")
            top += height + NOTE
    scale = np.broadcast_to(np.linspace(0, 1, BAR[0]), BAR[::-1])
    sheet.paste(Image.fromarray(warm(scale).round().astype(np.uint8)), (GAP // 2 + 40, top + 5))
    draw.text((GAP // 2, top + 10), "less", INK, font(14), anchor="lm")
    draw.text((GAP // 2 + 46 + BAR[0], top + 10), "more, each map by itself", INK, font(14), anchor="lm")
    return sheet


def main_line(look: Look) -> list[Image.Image]:
    """The pictures of TITLES."""
    rays = camera_rays(corners([look.answer, look.without]))
    photo = framed(heated(look.seen, np.zeros_like(look.seen)), look)
    maps = [heated(look.seen, look.pixels), framed(heated(look.seen, look.parts), look)]
    return [photo, *maps, *(shaded(surface, rays, PREDICTED_COLOUR) for surface in (look.answer, look.without))]


def attention_lines(look: Look) -> list[tuple[list[Image.Image], str]]:
    """A line for every layer: for every spot the map, with the spot marked."""
    found = []
    for number, maps in enumerate(look.reads, start=1):
        pictures = [marked(heated(look.seen, values), spot) for values, spot in zip(maps, look.spots, strict=True)]
        side, of = " x ".join(map(str, maps[0].shape)), len(look.reads)
        words = f"attention {number} of {of}, {side} positions: of what the marked one reads more than an even share"
        found.append((pictures, words))
    return found


def heated(seen: np.ndarray, values: np.ndarray) -> Image.Image:
    """A map over a dimmed picture, as large as CELL: nothing where it is 0, the lighter the more."""
    most = np.percentile(values, MOST) if values.any() else 1.0
    share = np.clip(values / (most or values.max()), 0, 1).astype(np.float32)
    wide = np.asarray(Image.fromarray(share).resize(CELL, Image.Resampling.BILINEAR)).clip(0, 1)
    gray = Image.fromarray((seen * 255).round().astype(np.uint8)).resize(CELL, Image.Resampling.NEAREST)
    strength = np.sqrt(wide)[..., None] * 0.85
    dimmed = np.asarray(gray, float)[..., None] * (0.75 if values.any() else 1)
    return Image.fromarray((dimmed * (1 - strength) + warm(wide) * strength).round().astype(np.uint8))


def warm(values: np.ndarray) -> np.ndarray:
    """(..., 3) the colours of (...) from 0 to 1."""
    places = np.linspace(0, 1, len(WARM))
    return np.stack([np.interp(values, places, WARM[:, channel]) for channel in range(3)], axis=-1)


def framed(picture: Image.Image, look: Look) -> Image.Image:
    """A picture with the frame of a look."""
    top, left, side = look.frame
    tall, wide = CELL[1] / look.seen.shape[0], CELL[0] / look.seen.shape[1]
    box = (left * wide, top * tall, (left + side) * wide - 1, (top + side) * tall - 1)
    ImageDraw.Draw(picture).rectangle(box, outline=FRAME, width=2)
    return picture


def marked(picture: Image.Image, spot: tuple[float, float]) -> Image.Image:
    """A picture with a ring at a spot."""
    y, x = spot[0] * CELL[1], spot[1] * CELL[0]
    ImageDraw.Draw(picture).ellipse((x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS), outline=MARK, width=2)
    return picture
