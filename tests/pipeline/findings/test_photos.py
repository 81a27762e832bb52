from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.findings.photos import look
from tests.photos import photo


def test_a_photo_is_told_and_drawn(tmp_path: Path) -> None:
    photo(tmp_path / "a.png", (255, 255, 255))
    with Image.open(tmp_path / "a.png") as small:
        large = np.asarray(small.resize((320, 240), Image.Resampling.NEAREST)).copy()
    large[40:120, 200:] = np.where(large[40:120, 200:] == [200, 30, 30], [90, 30, 30], large[40:120, 200:])
    Image.fromarray(large).save(tmp_path / "b.png")
    finding = look(tmp_path / "b.png")
    assert finding.facts["picture"] == "320 x 240 pixels, PNG RGB, shown as it is stored" and not finding.faulty
    assert "cut out by its uniform background" in finding.facts["object"]
    assert finding.picture is not None and finding.picture().width > 600
    small_one = [check.fault for check in look(tmp_path / "a.png").checks if check.fault]
    assert small_one == ["it has 29", "it is in one gray"]


@pytest.mark.parametrize("size", [(80, 60), (60, 80), (3001, 4000)])
def test_a_photo_that_is_turned_is_told(tmp_path: Path, size: tuple[int, int]) -> None:
    image, exif = Image.new("L", size), Image.Exif()
    for orientation, words in ((1, "as it is stored"), (6, "turned as its camera says")):  # 6: the camera stood upright
        exif[0x0112] = orientation
        image.save(tmp_path / "a.jpg", exif=exif)
        assert look(tmp_path / "a.jpg").facts["picture"].endswith(f", shown {words}")


def test_an_object_that_is_cropped_and_a_photo_of_nothing_are_faults(tmp_path: Path) -> None:
    pixels = np.full((100, 120, 3), 255, np.uint8)
    pixels[30:, 40:100] = np.linspace(20, 200, 60)[None, :, None]
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (check,) = [check for check in look(tmp_path / "a.png").checks if check.fault]
    assert check.fault == "it touches the edge at the bottom"
    Image.new("RGB", (100, 100), "white").save(tmp_path / "b.png")
    finding = look(tmp_path / "b.png")
    assert finding.checks[0].fault.startswith("expected an object, got a picture in one colour")
    assert finding.picture is not None and finding.picture().width > 100


def test_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no")
    with pytest.raises(ValueError, match="a.png: expected a picture, got 2 bytes"):
        look(tmp_path / "a.png")
