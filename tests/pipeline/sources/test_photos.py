from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.sources import photos
from tests.photos import photo


def test_alpha_cuts_the_object_out(tmp_path: Path) -> None:
    ring = photo(tmp_path / "a.png", (9, 9, 9, 0), "RGBA")
    gray, mask = photos.read_photo(tmp_path / "a.png")
    assert np.array_equal(mask, ring)
    # ITU-R 601 luma: 0.299 R + 0.587 G + 0.114 B.
    assert np.abs(gray[ring].astype(int) - round(0.299 * 200 + 0.587 * 30 + 0.114 * 30)).max() <= 1


@pytest.mark.parametrize("background", [(255, 255, 255), (20, 90, 160)])
def test_uniform_background_is_removed_also_where_it_is_enclosed(tmp_path: Path, background: tuple[int, ...]) -> None:
    ring = photo(tmp_path / "a.png", background)
    assert np.array_equal(photos.read_photo(tmp_path / "a.png")[1], ring)


def test_a_speck_in_the_backgrounds_colour_is_the_objects(tmp_path: Path) -> None:
    pixels = np.full((100, 100, 3), 255, np.uint8)
    pixels[20:80, 20:80] = 90
    pixels[50, 50] = 255  # a highlight
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert photos.read_photo(tmp_path / "a.png")[1].all()


def test_a_noisy_background_is_still_uniform(tmp_path: Path) -> None:
    ring = photo(tmp_path / "a.png", (128, 128, 128))
    pixels = np.asarray(Image.open(tmp_path / "a.png")).astype(int)
    noisy = np.clip(pixels + np.random.default_rng(0).integers(-10, 11, pixels.shape), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(tmp_path / "b.png")
    assert np.array_equal(photos.read_photo(tmp_path / "b.png")[1], ring)


def test_large_photos_are_averaged_not_sampled(tmp_path: Path) -> None:
    fine = np.indices((1500, 2000)).sum(axis=0) % 2 * 200  # a checkerboard of single pixels averages to 100
    rgba = np.stack([fine] * 3 + [np.full_like(fine, 255)], axis=-1).astype(np.uint8)
    rgba[:, :100, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "a.png")
    gray, mask = photos.read_photo(tmp_path / "a.png")
    assert mask.all() and max(gray.shape) <= photos.LONGEST and np.abs(gray.astype(int) - 100).max() <= 1


def test_sixteen_bits_are_brought_to_eight(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(tmp_path / "a.png")
    assert np.abs(photos.read_photo(tmp_path / "a.png")[0].astype(int) - 40000 / 257).max() <= 1


def test_a_busy_background_is_kept_with_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    assert photos.read_photo(tmp_path / "a.png")[1].all()
    assert "warning: expected an object on a uniform background" in capsys.readouterr().err
    Image.new("RGB", (10, 10), "white").save(tmp_path / "b.png")
    assert photos.read_photo(tmp_path / "b.png")[1].all()
    assert "got nothing else" in capsys.readouterr().err


def test_photos_are_turned_as_their_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by a quarter
    Image.new("RGB", (80, 60), "red").save(tmp_path / "a.jpg", exif=exif)
    assert photos.read_photo(tmp_path / "a.jpg")[0].shape == (80, 60)


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


def test_as_stored_or_as_the_camera_was_held() -> None:
    content, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 60), "red").save(content, "JPEG", exif=exif)
    assert photos.decode(content.getvalue()).shape == (80, 60, 4)
    assert photos.decode(content.getvalue(), upright=False).shape == (60, 80, 4)


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
