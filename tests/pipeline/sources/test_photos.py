from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.sources import photos
from pipeline.sources.cutting import guesses
from tests.photos import photo, scene, seat


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


def test_a_busy_background_is_left_to_grabcut(tmp_path: Path) -> None:
    pixels, ball = scene()
    Image.fromarray(pixels).save(tmp_path / "a.png")
    read = photos.read_photo(tmp_path / "a.png")
    assert read.how == "GrabCut, which guesses"
    found = guesses.by_grabcut(pixels)
    assert (found & ball).sum() / (found | ball).sum() > 0.95
    assert np.array_equal(found, guesses.by_grabcut(pixels))
    assert np.array_equal(read.mask, found[np.ix_(found.any(1), found.any(0))])
    with pytest.raises(ValueError, match="a.png: expected an object on a uniform background, got .*; a plain backgr"):
        photos.read_photo(tmp_path / "a.png", "uniform")
    with pytest.raises(ValueError, match="a.png: expected an alpha channel that cuts the object out, got a picture op"):
        photos.read_photo(tmp_path / "a.png", "alpha")


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


def test_what_is_around_the_object_is_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    pixels, ball = scene()
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(255 * ball.astype(np.uint8)).save(tmp_path / "m.png")
    read = photos.read_photo(tmp_path / "a.png", mask=tmp_path / "m.png", keep=True)
    assert read.kept and np.array_equal(read.mask, ball) and np.array_equal(read.color, pixels)
    assert np.array_equal(read.gray, np.asarray(Image.fromarray(pixels).convert("L")))
    assert read.how == f"the mask {tmp_path / 'm.png'}, its surroundings kept"
    Image.fromarray(np.dstack([pixels, 255 * ball.astype(np.uint8)])).save(tmp_path / "b.png")
    clear = photos.read_photo(tmp_path / "b.png", keep=True)  # whose surroundings nobody sees
    assert np.array_equal(clear.color[ball], pixels[ball]) and not clear.color[~ball].any()
    large = Image.fromarray(pixels).resize((1200, 900), Image.Resampling.NEAREST)
    large.save(tmp_path / "c.png")
    Image.fromarray(255 * ball.astype(np.uint8)).resize(large.size, Image.Resampling.NEAREST).save(tmp_path / "n.png")
    small = photos.read_photo(tmp_path / "c.png", mask=tmp_path / "n.png", keep=True)
    assert small.color.shape == (450, 600, 3) and small.mask.shape == small.gray.shape == (450, 600)
    assert np.array_equal(small.color[2::5, 2::5], pixels)  # five pixels for one


def test_a_large_photo_and_its_mask_are_averaged_together(tmp_path: Path) -> None:
    pixels = np.full((1500, 2100, 3), 40, np.uint8)
    mask = np.zeros((1500, 2100), np.uint8)
    pixels[300:900, 600:1500], mask[300:900, 600:1500] = 200, 255
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(mask).save(tmp_path / "m.png")
    read = photos.read_photo(tmp_path / "a.jpg", mask=tmp_path / "m.png")
    assert read.mask.all() and read.mask.shape == (200, 300)
    assert np.abs(read.gray[1:-1, 1:-1].astype(int) - 200).max() <= 2


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
