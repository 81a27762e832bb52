from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.sources import pictures
from pipeline.sources.cutting import guesses, methods
from tests.photos import scene


def test_the_line_between_wall_and_floor_is_not_the_objects() -> None:
    rng = np.random.default_rng(0)
    pixels = np.full((180, 240, 3), [200, 190, 170])
    pixels[110:] = [140, 110, 80]
    pixels[110:112] = [90, 60, 60]
    pixels[60:150, 90:150] = [40, 70, 140]
    noisy = (pixels + rng.normal(0, 6, pixels.shape)).clip(0, 255).astype(np.uint8)
    assert np.array_equal(guesses.by_grabcut(noisy), np.pad(np.ones((90, 60), bool), ((60, 30), (90, 90))))


def test_rembg_is_asked_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rembg", None)
    rgba = np.dstack([scene()[0], np.full((90, 120), 255, np.uint8)])
    with pytest.raises(ValueError, match=r"--cut-out: expected rembg to be installed \(pip install rembg\), got"):
        methods.cut(rgba, "rembg")
    fake = SimpleNamespace(remove=lambda image, only_mask: image.convert("L").point(lambda v: 255 * (v > 80)))
    monkeypatch.setitem(sys.modules, "rembg", fake)
    mask, how = methods.cut(rgba, "rembg")
    assert how == "rembg" and np.array_equal(mask, pictures.grayscale(rgba) > 80)
    with pytest.raises(
        ValueError, match="--cut-out: expected one of auto, alpha, uniform, grabcut, rembg, got 'magic'"
    ):
        methods.cut(rgba, "magic")
