from __future__ import annotations

import io

import numpy as np
from PIL import Image

from pipeline.geometry.looks import textures
from pipeline.geometry.looks.levels import eight_bits
from pipeline.sources import pictures


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    whole = io.BytesIO()
    Image.fromarray(pixels).save(whole, kind)
    return whole.getvalue()


def test_pictures_of_any_kind_become_red_green_and_blue() -> None:
    rgb = np.array([[[10, 20, 30], [200, 100, 0]]], np.uint8)
    for kind in ("PNG", "BMP", "TGA"):
        got = textures.read(encoded(rgb, kind))
        assert got is not None and np.array_equal(got, rgb), kind
    for gray in (np.array([[0, 255]], np.uint8), np.array([[0, 65535]], np.uint16)):
        got = textures.read(encoded(gray))
        assert got is not None and got.tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_deep_ones_are_read_as_photos_are() -> None:
    for white, kind, type_ in ((4095, "PNG", "u2"), (65535, "TIFF", "u2"), (1.0, "TIFF", "f4")):
        data = encoded((np.linspace(0, 1, 256)[None] * white).astype(type_), kind)
        got = textures.read(data)
        assert got is not None and np.array_equal(got, pictures.decode(data)[..., :3])
        assert np.abs(got[0, :, 0] - np.arange(256)).max() <= 1


def test_what_is_transparent_is_gray() -> None:
    rgba = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [255, 0, 0, 128]]], np.uint8)
    got = textures.read(encoded(rgba))
    assert got is not None and got[0, :2].tolist() == [[255, 0, 0], [217, 217, 217]]
    assert np.abs(got[0, 2] - np.array([236, 108, 108])).max() <= 1  # half of each
    assert textures.texture(Image.fromarray(rgba), opaque=True)[0, 1].tolist() == [255, 0, 0]


def test_large_ones_are_averaged_down() -> None:
    board = np.kron(np.indices((1, 2500)).sum(axis=0)[..., None] % 2, np.ones((4, 1, 3))).astype(np.uint8) * 200
    got = textures.read(encoded(board))
    assert got is not None and max(got.shape) <= textures.LARGEST and abs(got.mean() - 100) < 5


def test_what_is_none_is_passed_over() -> None:
    assert textures.read(None) is None and textures.read(b"no picture") is None
    assert textures.read(encoded(np.zeros((50, 50, 3), np.uint8))[:60]) is None


def test_coordinates_far_out_are_brought_near_by_whole_textures() -> None:
    uv = np.array([[[4000.25, -7.5], [4001.5, -7.25], [4000.5, -6.5]]])
    got = textures.wrapped(uv)
    assert got.dtype == np.float32 and got.min() >= 0 and got.max() < 2.5
    assert np.array_equal((uv - got) % 1, np.zeros((1, 3, 2)))
    assert len({tuple(each) for each in (uv - got)[0].tolist()}) == 1


def test_infinities_do_not_darken_the_rest() -> None:
    values = np.array([[np.inf, np.nan, 0.5]], np.float32)
    assert np.asarray(eight_bits(Image.fromarray(values))).tolist() == [[255, 0, 127]]
