from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from pipeline import meshes, photos, predict, render, synthesize
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


@pytest.mark.parametrize("synset", ["03001627", "04379243"])
def test_a_rendered_view_on_white_reaches_the_network_as_in_training(tmp_path: Path, synset: str) -> None:
    model = synthesize.build(synset, 3, synthesize.Params(0, 4, doubled=1.0, flipped=1.0, opened=0.0))
    mesh, _ = meshes.normalise(meshes.Mesh(model.vertices, model.faces))
    drawn = np.array([[150, 20, 3, 30], [240, 5, 3, 30]], np.float32)
    for view, alpha in zip(*render.render(mesh, drawn, 192, 256), strict=True):
        Image.fromarray(view).save(tmp_path / "a.png")
        gray, mask = photos.read_photo(tmp_path / "a.png")
        seen = prepare(torch.from_numpy(gray.copy())[None], torch.from_numpy(mask)[None], (48, 64))
        trained = prepare(torch.from_numpy(view)[None], torch.from_numpy(alpha)[None], (48, 64))
        assert (seen - trained).abs().max() < 0.2 and (seen - trained).abs().mean() < 0.002


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
