from __future__ import annotations

import numpy as np
import pytest

from pipeline.sources.cutting import methods
from tests.photos import seat


def alphas(name: str) -> np.ndarray:
    """(H, W, 4) uint8 pictures of `seat` whose alpha channel cuts nothing out."""
    pixels, mask = seat(40 if "dark" in name else 255)
    if name == "one clear pixel":
        pixels[5, 7, 3] = 0
    elif name == "one clear pixel amid the object":
        pixels[65, 70, 3] = 0
    elif name == "all a little clear":
        pixels[..., 3] = 254
    elif name == "half clear":
        pixels[..., 3] = 100
    elif name == "hazy":
        pixels[..., 3] = np.where(mask, 255, 140)
    elif name == "busy behind":
        stripes = np.array([[60, 150, 60], [200, 60, 70], [200, 150, 70]])[np.indices(mask.shape).sum(axis=0) // 7 % 3]
        noise = np.random.default_rng(0).integers(-12, 13, stripes.shape)
        pixels[..., :3] = np.where(mask[..., None], pixels[..., :3], stripes) + noise
        pixels[:6, :, 3] = pixels[-6:, :, 3] = 0
    elif "canvas" in name:
        clear = np.zeros((150, 200, 4), np.uint8)
        clear[15:135, 20:180] = pixels
        return clear
    else:
        ys, xs = (np.minimum(n, n[::-1]) for n in map(np.arange, mask.shape))  # rows and columns from the nearest edge
        far = np.hypot(np.maximum(15 - ys, 0)[:, None], np.maximum(15 - xs, 0)[None]) > 15
        pixels[far] = 0
    return pixels


@pytest.mark.parametrize(
    "name",
    [
        "one clear pixel",
        "one clear pixel amid the object",
        "all a little clear",
        "half clear",
        "hazy",
        "busy behind",
        "pasted on a clear canvas",
        "dark, pasted on a clear canvas",
        "round corners",
        "dark, round corners",
    ],
)
def test_an_alpha_channel_that_cuts_nothing_out_is_passed_over(name: str) -> None:
    pixels = alphas(name)
    wanted = seat()[1]
    if pixels.shape[0] > 120:
        wanted = np.pad(wanted, ((15, 15), (20, 20)))
    found, how = methods.cut(pixels)
    assert (found & wanted).sum() / (found | wanted).sum() > (0.9 if "busy" in name else 0.999), how
    framed = name not in ("all a little clear", "half clear", "hazy")
    assert how.endswith("as its alpha channel cuts nothing out") == framed
    if framed:
        assert methods.cut(pixels, "alpha")[1] == "its alpha channel"


@pytest.mark.parametrize("inner", [(90, 90, 90), (150, 60, 60)])
def test_a_rectangle_on_a_clear_canvas_may_be_the_object(inner: tuple[int, int, int]) -> None:
    """The front of a box, of one colour, and of one with a small handle."""
    pixels = np.zeros((100, 120, 4), np.uint8)
    pixels[20:80, 30:90] = (90, 90, 90, 255)
    pixels[48:52, 50:54, :3] = inner
    found, how = methods.cut(pixels)
    assert np.array_equal(found, pixels[..., 3] > 0) and how == "its alpha channel, which is a rectangle"


@pytest.mark.filterwarnings("error")
def test_a_hazy_picture_within_a_frame_is_cut_out_as_any() -> None:
    pixels = np.zeros((100, 120, 4), np.uint8)
    pixels[20:80] = (250, 250, 250, 100)
    pixels[40:60, 50:70, :3] = 20
    pixels[20, 0, 3] = 0
    found, how = methods.cut(pixels)
    assert np.array_equal(found, pixels[..., 0] == 20) and how.startswith("its uniform background")


@pytest.mark.parametrize("behind", ["gradient", "noise", "checkerboard", "green screen"])
def test_a_chair_is_cut_out_whatever_is_behind(behind: str) -> None:
    pixels, mask = seat()
    ys, xs = np.indices(mask.shape)
    noise = np.random.default_rng(0).normal(245, 6, (*mask.shape, 1)).clip(0, 255)
    backgrounds = {
        "gradient": (255 - 65 * ys / mask.shape[0])[..., None],
        "noise": noise,
        "checkerboard": np.where((ys // 8 + xs // 8) % 2, 255, 204)[..., None],
        "green screen": np.array([0, 177, 64]),
    }
    pixels[..., :3] = np.where(mask[..., None], pixels[..., :3], backgrounds[behind])
    found, how = methods.cut(pixels)
    assert (found & mask).sum() / (found | mask).sum() > 0.95, how


def test_a_box_that_is_cut_out_is_no_frame() -> None:
    """Seen at an angle, it fills 96 % of the picture that it takes, with a door of another colour in it."""
    ys, xs = np.mgrid[:120, :160]
    box = (ys >= 20 + xs // 30) & (ys < 100 - xs // 40) & (xs >= 30) & (xs < 130)
    pixels = np.where(box[..., None], [140, 100, 60, 255], 0).astype(np.uint8)
    pixels[40:80, 50:110, :3] = (90, 60, 40)
    rows, columns = np.flatnonzero(box.any(1)), np.flatnonzero(box.any(0))
    assert 0.95 < box.sum() / (np.ptp(rows) + 1) / (np.ptp(columns) + 1) < 0.98
    found, how = methods.cut(pixels)
    assert np.array_equal(found, box) and how == "its alpha channel"
