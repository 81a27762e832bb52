from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pipeline.sources import photos
from tests.photos import photo


def test_alpha_cuts_the_object_out(tmp_path: Path) -> None:
    ring = photo(tmp_path / "a.png", (9, 9, 9, 0), "RGBA")
    read = photos.read_photo(tmp_path / "a.png")
    gray = read.gray
    assert np.array_equal(read.mask, ring) and read.how == "its alpha channel"
    # ITU-R 601 luma: 0.299 R + 0.587 G + 0.114 B.
    assert np.abs(gray[ring].astype(int) - round(0.299 * 200 + 0.587 * 30 + 0.114 * 30)).max() <= 1


@pytest.mark.parametrize("background", [(255, 255, 255), (20, 90, 160)])
def test_uniform_background_is_removed_also_where_it_is_enclosed(tmp_path: Path, background: tuple[int, ...]) -> None:
    ring = photo(tmp_path / "a.png", background)
    assert np.array_equal(photos.read_photo(tmp_path / "a.png").mask, ring)


def test_a_speck_in_the_backgrounds_colour_is_the_objects(tmp_path: Path) -> None:
    pixels = np.full((100, 100, 3), 255, np.uint8)
    pixels[20:80, 20:80] = 90
    pixels[50, 50] = 255  # a highlight
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert photos.read_photo(tmp_path / "a.png").mask.all()


def test_a_noisy_background_is_still_uniform(tmp_path: Path) -> None:
    ring = photo(tmp_path / "a.png", (128, 128, 128))
    pixels = np.asarray(Image.open(tmp_path / "a.png")).astype(int)
    noisy = np.clip(pixels + np.random.default_rng(0).integers(-10, 11, pixels.shape), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(tmp_path / "b.png")
    assert np.array_equal(photos.read_photo(tmp_path / "b.png").mask, ring)


def test_large_photos_are_averaged_not_sampled(tmp_path: Path) -> None:
    fine = np.indices((1500, 2000)).sum(axis=0) % 2 * 200  # a checkerboard of single pixels averages to 100
    rgba = np.stack([fine] * 3 + [np.full_like(fine, 255)], axis=-1).astype(np.uint8)
    rgba[:, :100, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "a.png")
    read = photos.read_photo(tmp_path / "a.png")
    gray, mask = read.gray, read.mask
    assert mask.all() and max(gray.shape) <= photos.LONGEST and np.abs(gray.astype(int) - 100).max() <= 1


def test_sixteen_bits_are_brought_to_eight(tmp_path: Path) -> None:
    pixels = np.full((12, 12), 65535, np.uint16)
    pixels[2:10, 2:10] = 40000
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.abs(photos.read_photo(tmp_path / "a.png").gray.astype(int) - 40000 / 257).max() <= 1


def scene(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A red ball before stripes of green, blue and both, with noise, (90, 120, 3) uint8; and its mask."""
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[:90, :120]
    ball = (ys - 50) ** 2 + (xs - 55) ** 2 < 25**2
    pixels = np.array([[60, 150, 60], [40, 60, 170], [60, 150, 170]])[(xs + ys) // 7 % 3]
    pixels[ball] = [200, 60, 40]
    return (pixels + rng.integers(-12, 13, pixels.shape)).clip(0, 255).astype(np.uint8), ball


def test_a_busy_background_is_left_to_grabcut(tmp_path: Path) -> None:
    pixels, ball = scene()
    Image.fromarray(pixels).save(tmp_path / "a.png")
    read = photos.read_photo(tmp_path / "a.png")
    assert read.how == "GrabCut, which guesses"
    found = photos.by_grabcut(pixels)
    assert (found & ball).sum() / (found | ball).sum() > 0.95
    assert np.array_equal(found, photos.by_grabcut(pixels))
    assert np.array_equal(read.mask, found[np.ix_(found.any(1), found.any(0))])
    with pytest.raises(ValueError, match="a.png: expected an object on a uniform background, got .*; a plain backgr"):
        photos.read_photo(tmp_path / "a.png", "uniform")
    with pytest.raises(ValueError, match="a.png: expected an alpha channel that cuts the object out, got a picture op"):
        photos.read_photo(tmp_path / "a.png", "alpha")


def test_a_table_before_a_white_wall_is_not_the_object(tmp_path: Path) -> None:
    pixels = np.full((100, 100, 3), 250, np.uint8)
    pixels[75:] = [150, 110, 70]
    pixels[30:90, 35:65] = [40, 40, 160]
    assert photos.foreground(pixels)[80].all()
    mask, how = photos.cut(np.dstack([pixels, np.full((100, 100), 255, np.uint8)]))
    assert how == "GrabCut, which guesses"
    assert np.array_equal(mask, np.pad(np.ones((60, 30), bool), ((30, 10), (35, 35))))


def test_an_object_may_fill_its_picture_where_the_corners_show_the_background() -> None:
    ys, xs = np.mgrid[:80, :80] - 39.5
    disc = np.hypot(ys, xs) < 42  # beyond the middle of every side
    pixels = np.where(disc[..., None], [60, 90, 160], 250).astype(np.uint8)
    assert np.array_equal(photos.foreground(pixels, sure=True), disc)


def seat(background: int = 255, height: int = 120, width: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """A bluish chair on a background, (H, W, 4) uint8, and its mask."""
    mask = np.zeros((height, width), bool)
    mask[20:60, 50:65] = mask[60:72, 50:100] = mask[72:105, 52:58] = mask[72:105, 92:98] = True
    pixels = np.full((height, width, 4), (*3 * [background], 255), np.uint8)
    pixels[mask, :3] = (70, 80, 110)
    return pixels, mask


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
    found, how = photos.cut(pixels)
    assert (found & wanted).sum() / (found | wanted).sum() > (0.9 if "busy" in name else 0.999), how
    framed = name not in ("all a little clear", "half clear", "hazy")
    assert how.endswith("as its alpha channel cuts nothing out") == framed
    if framed:
        assert photos.cut(pixels, "alpha")[1] == "its alpha channel"


@pytest.mark.parametrize("inner", [(90, 90, 90), (150, 60, 60)])
def test_a_rectangle_on_a_clear_canvas_may_be_the_object(inner: tuple[int, int, int]) -> None:
    """The front of a box, of one colour, and of one with a small handle."""
    pixels = np.zeros((100, 120, 4), np.uint8)
    pixels[20:80, 30:90] = (90, 90, 90, 255)
    pixels[48:52, 50:54, :3] = inner
    found, how = photos.cut(pixels)
    assert np.array_equal(found, pixels[..., 3] > 0) and how == "its alpha channel, which is a rectangle"


@pytest.mark.filterwarnings("error")
def test_a_hazy_picture_within_a_frame_is_cut_out_as_any() -> None:
    pixels = np.zeros((100, 120, 4), np.uint8)
    pixels[20:80] = (250, 250, 250, 100)
    pixels[40:60, 50:70, :3] = 20
    pixels[20, 0, 3] = 0
    found, how = photos.cut(pixels)
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
    found, how = photos.cut(pixels)
    assert (found & mask).sum() / (found | mask).sum() > 0.95, how


def test_a_box_that_is_cut_out_is_no_frame() -> None:
    """Seen at an angle, it fills 96 % of the picture that it takes, with a door of another colour in it."""
    ys, xs = np.mgrid[:120, :160]
    box = (ys >= 20 + xs // 30) & (ys < 100 - xs // 40) & (xs >= 30) & (xs < 130)
    pixels = np.where(box[..., None], [140, 100, 60, 255], 0).astype(np.uint8)
    pixels[40:80, 50:110, :3] = (90, 60, 40)
    rows, columns = np.flatnonzero(box.any(1)), np.flatnonzero(box.any(0))
    assert 0.95 < box.sum() / (np.ptp(rows) + 1) / (np.ptp(columns) + 1) < 0.98
    found, how = photos.cut(pixels)
    assert np.array_equal(found, box) and how == "its alpha channel"


def test_a_shadow_is_warned_of() -> None:
    pixels, mask = seat()
    assert photos.cut(pixels) == (pytest.approx(mask), "its uniform background")
    ys, xs = np.mgrid[:120, :160]
    shadow = ((ys - 105) / 8) ** 2 + ((xs - 80) / 45) ** 2 < 1
    pixels[shadow & ~mask, :3] = 200
    share = (shadow & ~mask).sum() / (shadow | mask).sum()
    assert f"of which {share:.0%} may be a shadow" in photos.cut(pixels)[1]


def test_a_gray_object_is_not_taken_for_its_shadow() -> None:
    pixels, mask = seat()
    pixels[mask, :3] = 217  # as bright faces of a rendered view
    pixels[mask & (np.arange(120) > 90)[:, None], :3] = 120
    assert photos.cut(pixels) == (pytest.approx(mask), "its uniform background")


def test_the_noise_around_the_edges_of_a_jpeg_is_not_the_objects(tmp_path: Path) -> None:
    pixels, mask = seat()
    Image.fromarray(pixels[..., :3]).save(tmp_path / "a.jpg", quality=25)
    read = photos.read_photo(tmp_path / "a.jpg")
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    assert np.abs(np.array(read.mask.shape) - [np.ptp(rows) + 1, np.ptp(columns) + 1]).max() <= 4


def test_of_several_frames_the_first_is_taken_and_said_to_be(tmp_path: Path) -> None:
    ring = photo(tmp_path / "a.png", (255, 255, 255))
    first = Image.open(tmp_path / "a.png")
    first.save(
        tmp_path / "a.gif", save_all=True, append_images=[Image.new("RGB", first.size, c) for c in ("red", "blue")]
    )
    read = photos.read_photo(tmp_path / "a.gif")
    assert read.how == "its uniform background, in the first of 3 frames" and np.array_equal(read.mask, ring)


def test_the_line_between_wall_and_floor_is_not_the_objects() -> None:
    rng = np.random.default_rng(0)
    pixels = np.full((180, 240, 3), [200, 190, 170])
    pixels[110:] = [140, 110, 80]
    pixels[110:112] = [90, 60, 60]
    pixels[60:150, 90:150] = [40, 70, 140]
    noisy = (pixels + rng.normal(0, 6, pixels.shape)).clip(0, 255).astype(np.uint8)
    assert np.array_equal(photos.by_grabcut(noisy), np.pad(np.ones((90, 60), bool), ((60, 30), (90, 90))))


def test_a_black_object_is_refused_as_networks_see_it_on_black(tmp_path: Path) -> None:
    picture = Image.new("L", (60, 60), "white")
    picture.paste(5, (20, 20, 40, 40))
    picture.save(tmp_path / "a.png")
    with pytest.raises(
        ValueError, match="expected an object with light and shade, got one that is all black, by its u"
    ):
        photos.read_photo(tmp_path / "a.png")
    picture.putpixel((30, 30), 80)
    picture.save(tmp_path / "a.png")
    assert photos.read_photo(tmp_path / "a.png").mask.shape == (20, 20)


def test_a_large_photo_is_cut_out_alike(tmp_path: Path) -> None:
    large = Image.fromarray(scene()[0]).resize((1800, 1350), Image.Resampling.BICUBIC)
    large.save(tmp_path / "a.jpg", quality=90)
    read = photos.read_photo(tmp_path / "a.jpg")
    assert max(read.mask.shape) <= photos.LONGEST
    assert read.mask.mean() == pytest.approx(np.pi / 4, abs=0.04)  # a disc in its square
    assert read.gray[read.mask].mean() == pytest.approx(0.299 * 200 + 0.587 * 60 + 0.114 * 40, abs=3)


NOTHING = {
    "white": np.full((60, 80, 3), 255, np.uint8),
    "black": np.zeros((60, 80, 3), np.uint8),
    "one pixel": np.full((1, 1, 3), 90, np.uint8),
    "transparent": np.zeros((60, 80, 4), np.uint8),
    "opaque noise": np.random.default_rng(0).integers(0, 256, (60, 80, 4), np.uint8)
    | np.array([0, 0, 0, 255], np.uint8),
    "a speck": np.pad(np.zeros((2, 2, 3), np.uint8), ((30, 30), (40, 40), (0, 0)), constant_values=255),
}


@pytest.mark.parametrize("name", NOTHING)
def test_what_shows_nothing_is_refused_with_what_helps(tmp_path: Path, name: str) -> None:
    Image.fromarray(NOTHING[name]).save(tmp_path / "a.png")
    with pytest.raises(
        ValueError, match="a.png: expected an object.*, got .*; a plain background, an alpha channel or -"
    ):
        photos.read_photo(tmp_path / "a.png")


def test_a_mask_is_taken_whatever_the_photo(tmp_path: Path) -> None:
    pixels, ball = scene()
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(255 * ball.astype(np.uint8)).save(tmp_path / "m.png")
    read = photos.read_photo(tmp_path / "a.png", mask=tmp_path / "m.png")
    assert np.array_equal(read.mask, ball[26:75, 31:80]) and read.how == f"the mask {tmp_path / 'm.png'}"
    gray = np.asarray(Image.fromarray(pixels).convert("L"))[26:75, 31:80]
    assert np.array_equal(read.gray[read.mask], gray[read.mask])
    Image.new("L", (120, 91)).save(tmp_path / "n.png")
    with pytest.raises(ValueError, match="n.png: expected a mask of the size of .*a.png, got 120 x 90 and 120 x 91$"):
        photos.read_photo(tmp_path / "a.png", mask=tmp_path / "n.png")
    Image.new("L", (120, 90)).save(tmp_path / "n.png")
    with pytest.raises(ValueError, match="a.png: expected an object, got 0 of 10800 pixels by the mask .*n.png; "):
        photos.read_photo(tmp_path / "a.png", mask=tmp_path / "n.png")
    with pytest.raises(ValueError, match="none.png: expected a picture that can be read"):
        photos.read_photo(tmp_path / "a.png", mask=tmp_path / "none.png")


def test_a_large_photo_and_its_mask_are_averaged_together(tmp_path: Path) -> None:
    pixels = np.full((1500, 2100, 3), 40, np.uint8)
    mask = np.zeros((1500, 2100), np.uint8)
    pixels[300:900, 600:1500], mask[300:900, 600:1500] = 200, 255
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(mask).save(tmp_path / "m.png")
    read = photos.read_photo(tmp_path / "a.jpg", mask=tmp_path / "m.png")
    assert read.mask.all() and read.mask.shape == (200, 300)
    assert np.abs(read.gray[1:-1, 1:-1].astype(int) - 200).max() <= 2


def test_rembg_is_asked_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rembg", None)
    rgba = np.dstack([scene()[0], np.full((90, 120), 255, np.uint8)])
    with pytest.raises(ValueError, match=r"--cut-out: expected rembg to be installed \(pip install rembg\), got"):
        photos.cut(rgba, "rembg")
    fake = SimpleNamespace(remove=lambda image, only_mask: image.convert("L").point(lambda v: 255 * (v > 80)))
    monkeypatch.setitem(sys.modules, "rembg", fake)
    mask, how = photos.cut(rgba, "rembg")
    assert how == "rembg" and np.array_equal(mask, photos.grayscale(rgba) > 80)
    with pytest.raises(
        ValueError, match="--cut-out: expected one of auto, alpha, uniform, grabcut, rembg, got 'magic'"
    ):
        photos.cut(rgba, "magic")


def test_photos_are_turned_as_their_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by a quarter
    picture = Image.new("RGB", (80, 60), "white")
    picture.paste("red", (10, 25, 70, 35))
    picture.save(tmp_path / "a.jpg", exif=exif)
    height, width = photos.read_photo(tmp_path / "a.jpg").gray.shape
    assert height > 50 and width < 20


def test_refuses_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(ValueError, match="a.png: expected a picture, got [0-9]+ bytes that Pillow can't identify$"):
        photos.read_photo(tmp_path / "a.png")
    with pytest.raises(ValueError, match="none.png: expected a picture that can be read: No such file or directory$"):
        photos.read_photo(tmp_path / "none.png")
    Image.new("RGBA", (5, 5)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match="b.png: expected an object, got a fully transparent picture"):
        photos.read_photo(tmp_path / "b.png")


def test_a_background_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match="expected an object on a uniform background, got nothing else"):
        photos.foreground(np.full((9, 9, 3), 7, np.uint8))
    with pytest.raises(ValueError, match="expected an object, got a fully transparent picture"):
        photos.object_mask(np.zeros((9, 9, 4), np.uint8))


@pytest.mark.parametrize("shape", [(300, 401), (401, 300), (200, 600), (24, 32), (25, 20)])
def test_a_letterboxed_point_is_where_its_camera_puts_it(shape: tuple[int, int]) -> None:
    """Darkness around a point keeps its place, measured from the centre, times the scale."""
    ys, xs = np.mgrid[: shape[0], : shape[1]] + 0.5
    centre = np.array(shape) * [0.6, 0.3]
    blob = np.exp(-((ys - centre[0]) ** 2 + (xs - centre[1]) ** 2) / (min(shape) / 8) ** 2)
    size = (48, 64)
    gray, mask, scale = photos.letterbox((255 - 255 * blob).round().astype(np.uint8), blob > 0.5, size)
    assert gray.shape == mask.shape == size and scale == min(48 / shape[0], 64 / shape[1])
    ys, xs = np.mgrid[:48, :64] + 0.5
    weight = 255.0 - gray
    found = np.array([(weight * ys).sum(), (weight * xs).sum()]) / weight.sum()
    assert np.allclose(found - np.array(size) / 2, (centre - np.array(shape) / 2) * scale, atol=0.15)
    assert mask.sum() / scale**2 == pytest.approx((blob > 0.5).sum(), rel=0.2)


def test_pictures_of_one_size_are_stacked() -> None:
    one = np.zeros((4, 5, 4), np.uint8)
    assert photos.stacked([one, one]).shape == (2, 4, 5, 4)
    with pytest.raises(ValueError, match=r"expected pictures of one size, got \[\(4, 5\), \(6, 5\)\]"):
        photos.stacked([one, np.zeros((6, 5, 4), np.uint8)])
