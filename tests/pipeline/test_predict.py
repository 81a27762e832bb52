from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import predict


def photo(path: Path, background: tuple[int, ...], mode: str = "RGB") -> np.ndarray:
    """A 60x80 picture of a red disc with a hole; returns the disc's mask, hole included."""
    ys, xs = np.mgrid[0:60, 0:80]
    disc = (ys - 30) ** 2 + (xs - 45) ** 2 < 15**2
    hole = (ys - 30) ** 2 + (xs - 45) ** 2 < 5**2
    pixels = np.empty((60, 80, len(background)), np.uint8)
    pixels[:] = background
    pixels[disc & ~hole] = (200, 30, 30, 255)[: len(background)]
    Image.fromarray(pixels, mode).save(path)
    return disc & ~hole if len(background) == 4 else disc


def test_alpha_cuts_the_object_out(tmp_path: Path) -> None:
    disc = photo(tmp_path / "a.png", (9, 9, 9, 0), "RGBA")
    gray, mask = predict.read_photo(tmp_path / "a.png")
    assert np.array_equal(mask, disc)
    # ITU-R 601 luma: 0.299 R + 0.587 G + 0.114 B.
    assert np.abs(gray[disc].astype(int) - round(0.299 * 200 + 0.587 * 30 + 0.114 * 30)).max() <= 1


@pytest.mark.parametrize("background", [(255, 255, 255), (20, 90, 160)])
def test_uniform_background_is_removed_and_holes_stay(tmp_path: Path, background: tuple[int, int, int]) -> None:
    disc = photo(tmp_path / "a.png", background)
    assert np.array_equal(predict.read_photo(tmp_path / "a.png")[1], disc)


def test_a_noisy_background_is_still_uniform(tmp_path: Path) -> None:
    disc = photo(tmp_path / "a.png", (128, 128, 128))
    pixels = np.asarray(Image.open(tmp_path / "a.png")).astype(int)
    noisy = np.clip(pixels + np.random.default_rng(0).integers(-10, 11, pixels.shape), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(tmp_path / "b.png")
    assert np.array_equal(predict.read_photo(tmp_path / "b.png")[1], disc)


def test_a_busy_background_is_kept_with_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    assert predict.read_photo(tmp_path / "a.png")[1].all()
    assert "warning: expected an object on a uniform background" in capsys.readouterr().err
    Image.new("RGB", (10, 10), "white").save(tmp_path / "b.png")
    assert predict.read_photo(tmp_path / "b.png")[1].all()
    assert "got nothing else" in capsys.readouterr().err


def test_photos_are_turned_as_their_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by a quarter
    Image.new("RGB", (80, 60), "red").save(tmp_path / "a.jpg", exif=exif)
    assert predict.read_photo(tmp_path / "a.jpg")[0].shape == (80, 60)


def test_refuses_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(ValueError, match="a.png: expected a picture, got cannot identify image file"):
        predict.read_photo(tmp_path / "a.png")
    with pytest.raises(ValueError, match="none.png: expected a picture"):
        predict.read_photo(tmp_path / "none.png")
    Image.new("RGBA", (5, 5)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match="b.png: expected an object, got a fully transparent picture"):
        predict.read_photo(tmp_path / "b.png")
