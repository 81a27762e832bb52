from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from pipeline import meshes, predict, render, synthesize
from pipeline.views import prepare
from tests.constant_system import write_checkpoint


def photo(path: Path, background: tuple[int, ...], mode: str = "RGB") -> np.ndarray:
    """A 60x80 picture of a red ring, rows 16 to 44 and columns 31 to 59; returns its mask, cropped to it."""
    ys, xs = np.mgrid[0:60, 0:80]
    distance = (ys - 30) ** 2 + (xs - 45) ** 2
    ring = (distance < 15**2) & (distance >= 5**2)
    pixels = np.empty((60, 80, len(background)), np.uint8)
    pixels[:] = background
    pixels[ring] = (200, 30, 30, 255)[: len(background)]
    Image.fromarray(pixels, mode).save(path)
    return ring[16:45, 31:60]


def test_alpha_cuts_the_object_out(tmp_path: Path) -> None:
    ring = photo(tmp_path / "a.png", (9, 9, 9, 0), "RGBA")
    gray, mask = predict.read_photo(tmp_path / "a.png")
    assert np.array_equal(mask, ring)
    # ITU-R 601 luma: 0.299 R + 0.587 G + 0.114 B.
    assert np.abs(gray[ring].astype(int) - round(0.299 * 200 + 0.587 * 30 + 0.114 * 30)).max() <= 1


@pytest.mark.parametrize("background", [(255, 255, 255), (20, 90, 160)])
def test_uniform_background_is_removed_also_where_it_is_enclosed(tmp_path: Path, background: tuple[int, ...]) -> None:
    ring = photo(tmp_path / "a.png", background)
    assert np.array_equal(predict.read_photo(tmp_path / "a.png")[1], ring)


def test_a_speck_in_the_backgrounds_colour_is_the_objects(tmp_path: Path) -> None:
    pixels = np.full((100, 100, 3), 255, np.uint8)
    pixels[20:80, 20:80] = 90
    pixels[50, 50] = 255  # a highlight
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert predict.read_photo(tmp_path / "a.png")[1].all()


def test_a_noisy_background_is_still_uniform(tmp_path: Path) -> None:
    ring = photo(tmp_path / "a.png", (128, 128, 128))
    pixels = np.asarray(Image.open(tmp_path / "a.png")).astype(int)
    noisy = np.clip(pixels + np.random.default_rng(0).integers(-10, 11, pixels.shape), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(tmp_path / "b.png")
    assert np.array_equal(predict.read_photo(tmp_path / "b.png")[1], ring)


@pytest.mark.parametrize("synset", ["03001627", "04379243"])
def test_a_rendered_view_on_white_reaches_the_network_as_in_training(tmp_path: Path, synset: str) -> None:
    model = synthesize.build(synset, 3, synthesize.Params(0, 4, doubled=1.0, flipped=1.0, opened=0.0))
    mesh, _ = meshes.normalise(meshes.Mesh(model.vertices, model.faces))
    drawn = np.array([[150, 20, 3, 30], [240, 5, 3, 30]], np.float32)
    for view, alpha in zip(*render.render(mesh, drawn, 192, 256), strict=True):
        Image.fromarray(view).save(tmp_path / "a.png")
        gray, mask = predict.read_photo(tmp_path / "a.png")
        seen = prepare(torch.from_numpy(gray.copy())[None], torch.from_numpy(mask)[None], (48, 64))
        trained = prepare(torch.from_numpy(view)[None], torch.from_numpy(alpha)[None], (48, 64))
        assert (seen - trained).abs().max() < 0.2 and (seen - trained).abs().mean() < 0.002


def test_large_photos_are_averaged_not_sampled(tmp_path: Path) -> None:
    fine = np.indices((1500, 2000)).sum(axis=0) % 2 * 200  # a checkerboard of single pixels averages to 100
    rgba = np.stack([fine] * 3 + [np.full_like(fine, 255)], axis=-1).astype(np.uint8)
    rgba[:, :100, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "a.png")
    gray, mask = predict.read_photo(tmp_path / "a.png")
    assert mask.all() and max(gray.shape) <= predict.LONGEST and np.abs(gray.astype(int) - 100).max() <= 1


def test_sixteen_bits_are_brought_to_eight(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(tmp_path / "a.png")
    assert np.abs(predict.read_photo(tmp_path / "a.png")[0].astype(int) - 40000 / 257).max() <= 1


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


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trained system that answers every photo with a box, 8 of 16 cells wide, 4 high and 12 deep."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    probabilities = torch.full((16, 16, 16), 0.01)
    probabilities[4:12, 6:10, 2:14] = 0.6
    write_checkpoint(predict.CHECKPOINTS / "constant.pt", probabilities)
    photo(tmp_path / "a.png", (255, 255, 255))
    return tmp_path


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["predict", "a.png", "--system", "constant", *arguments])
    predict.main()


@pytest.mark.parametrize("suffix", predict.FORMATS)
def test_a_photo_becomes_a_mesh_in_the_normalised_frame(
    project: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    (project / "data/metrics/constant").mkdir(parents=True)
    (project / "data/metrics/constant/overall.json").write_text('{"threshold": 0.305}')
    command(monkeypatch, "--out", f"out/mesh{suffix}")
    mesh = trimesh.load_mesh(project / "out" / f"mesh{suffix}")
    assert mesh.is_watertight
    # At half of the way from 0.01 to 0.6 the surface lies half-way between cell centres: on the box's cell faces.
    assert np.allclose(mesh.bounds, np.array([[-4, -2, -6], [4, 2, 6]]) / 16, atol=1e-4)


def test_nothing_over_the_threshold_is_said(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="a.png: expected cells of occupancy over 0.9, got at most 0.600"):
        command(monkeypatch, "--out", "mesh.glb", "--threshold", "0.9")
    with pytest.raises(ValueError, match="--out: expected a file ending in .glb, .*, got 'mesh.doc'"):
        command(monkeypatch, "--out", "mesh.doc")
    assert not list(project.glob("mesh*"))
