from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.sources import pictures

ROWS = np.arange(60)[:, None] * np.ones(80)
PATTERN = np.dstack([3 * ROWS, 2 * np.arange(80) * np.ones((60, 1)), 200 * (ROWS < 20)]).astype(np.uint8)


def written(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind, **options)
    return content.getvalue()


def exif(*entries: tuple[int, int, int, bytes], count: int | None = None) -> bytes:
    """EXIF by hand, little-endian: (tag, type, count, four bytes of value), of which a header may announce more."""
    body = b"".join(struct.pack("<HHI4s", *entry) for entry in entries)
    head = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries) if count is None else count)
    return head + body + b"\0\0\0\0"


SHORT, TEXT, RATIONAL, SIGNED = 3, 2, 5, 10
SIDEWAYS = (pictures.ORIENTATION, SHORT, 1, b"\6\0\0\0")
EXIFS = {
    "as it should be": (exif(SIDEWAYS), 6),
    "a date": (exif((0x0132, TEXT, 4, b"now\0"), SIDEWAYS), 6),
    "a fraction that has no room": (exif(SIDEWAYS, (0x011A, RATIONAL, 1, b"\x26\0\0\0")) + b"\xff" * 8, 6),
    "a negative fraction": (exif(SIDEWAYS, (0x011A, SIGNED, 1, b"\x26\0\0\0")) + b"\xff\xff\xff\xff\1\0\0\0", 6),
    "an unknown type": (exif(SIDEWAYS, (0x011A, 99, 1, b"\0\0\0\0")), 6),
    "more entries than there are": (exif(SIDEWAYS, count=40), 6),
    "no entries": (exif(), 1),
    "orientation 0": (exif((pictures.ORIENTATION, SHORT, 1, b"\0\0\0\0")), 1),
    "orientation 77": (exif((pictures.ORIENTATION, SHORT, 1, b"\x4d\0\0\0")), 1),
    "orientation in words": (exif((pictures.ORIENTATION, TEXT, 4, b"top\0")), 1),
    "two orientations": (exif((pictures.ORIENTATION, SHORT, 2, b"\6\0\6\0")), 6),
    "no header": (b"Exif\0\0", 1),
    "noise": (b"Exif\0\0" + bytes(range(200)), 1),
}


@pytest.mark.parametrize("name", EXIFS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_camera_may_say_of_itself_what_it_will(name: str) -> None:
    block, orientation = EXIFS[name]
    found = pictures.decode(written(PATTERN, "JPEG", exif=block, quality=98))[..., :3]
    expected = PATTERN if orientation == 1 else np.rot90(PATTERN, -1)
    assert found.shape == expected.shape and np.abs(found.astype(int) - expected).mean() < 5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_is_as_pillow_has_it(orientation: int) -> None:
    tags = Image.Exif()
    tags[pictures.ORIENTATION] = orientation
    data = written(PATTERN, "PNG", exif=tags)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGBA")
    assert np.array_equal(pictures.decode(data), np.asarray(upright))
    assert np.array_equal(pictures.decode(data, upright=False)[..., :3], PATTERN)


@pytest.mark.parametrize(
    ("white", "kind", "type_"),
    [(1.0, "TIFF", "f4"), (65535, "PNG", "u2"), (4095, "PNG", "u2"), (1023, "TIFF", "u2"), (65535, "TIFF", "i4")],
)
def test_deep_pictures_are_brought_to_eight_bits_by_what_they_use(white: float, kind: str, type_: str) -> None:
    levels = np.linspace(0, 1, 4800).reshape(60, 80)
    found = pictures.decode(written((levels * white).astype(type_), kind))
    assert (
        np.abs(found[..., 0] - 255 * levels).max() <= 1.01 + 255 / white * (white > 1) and (found[..., 3] == 255).all()
    )


def test_frames_are_counted() -> None:
    content = io.BytesIO()
    pages = [Image.fromarray(np.roll(PATTERN, 9 * n, axis=0)) for n in range(3)]
    for kind, count in (("WEBP", 3), ("TIFF", 3), ("MPO", 1)):
        content = io.BytesIO()
        pages[0].save(content, kind, save_all=True, append_images=pages[1:])
        assert pictures.frames(content.getvalue()) == count
        first = pictures.decode(content.getvalue())[..., :3].astype(int)
        assert np.abs(first - PATTERN).mean() < 6
    assert pictures.frames(b"no picture") == 1


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"hevc"])
def test_heic_is_named_whatever_the_file_is_called(brand: bytes) -> None:
    with pytest.raises(ValueError, match="^expected a picture, got HEIC, which Pillow can't read; convert it to JPEG$"):
        pictures.decode(b"\0\0\0\x18ftyp" + brand + bytes(60))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_what_is_cut_short_is_refused_in_words(kind: str) -> None:
    data = written(PATTERN, kind)
    for share in (0.02, 0.3, 0.6):
        with pytest.raises(ValueError, match="^expected a picture, got "):
            pictures.decode(data[: int(share * len(data))])
