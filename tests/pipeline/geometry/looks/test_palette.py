from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("pytorch3d")

import trimesh
from pytorch3d.renderer import MeshRasterizer, RasterizationSettings, TexturesUV, TexturesVertex
from pytorch3d.renderer.mesh.textures import TexturesBase
from pytorch3d.structures import Meshes

from pipeline.geometry import renderer
from pipeline.geometry.looks.appearance import WHITE, Looks, flat
from pipeline.geometry.looks.palette import palette

RNG = np.random.default_rng(0)
MIDDLE = torch.full((1, 3), 1 / 3)


def textured(picture: np.ndarray, uv: np.ndarray) -> Looks:
    one = np.ones((1, 3), np.float32)
    shade = np.ones((len(uv), 3, 3), np.float32)
    return Looks(np.zeros(len(uv), np.int64), uv.astype(np.float32), shade, one, (picture,), np.arange(len(uv)))


def at(picture: np.ndarray, u: float, v: float) -> list[float]:
    looks = textured(picture, np.full((1, 3, 2), (u, v)))
    found = palette(looks, "cpu").colour(torch.tensor([0]), torch.tensor([False]), MIDDLE)
    return [round(value, 3) for value in (255 * found[0]).tolist()]


def test_texels_by_hand() -> None:
    """Two rows of three texels; V goes up, so that the upper row is at V 3/4. Between texels in equal parts."""
    picture = np.array([[[0, 0, 0], [60, 0, 0], [120, 0, 0]], [[0, 90, 0], [60, 90, 0], [120, 90, 0]]], np.uint8)
    assert at(picture, 1 / 6, 0.75) == [0, 0, 0] and at(picture, 5 / 6, 0.75) == [120, 0, 0]
    assert at(picture, 0.5, 0.25) == [60, 90, 0]
    assert at(picture, 2 / 6, 0.75) == [30, 0, 0] and at(picture, 0.5, 0.5) == [60, 45, 0]
    assert at(picture, 0, 0.75) == [60, 0, 0]  # half of the last column, as it repeats
    assert at(picture, 7 + 1 / 6, -2.25) == [0, 0, 0]
    assert at(picture, 0.5, 1) == [60, 45, 0]


def test_colour_texture_and_corners_are_multiplied_and_the_back_may_differ() -> None:
    looks = Looks(
        np.array([0, 1]),
        np.zeros((2, 3, 2), np.float32),
        np.stack([np.eye(3), np.ones((3, 3))]).astype(np.float32),
        np.array([[1, 0.5, 0], [0.2, 0.4, 0.6]], np.float32),
        (np.full((1, 1, 3), 51, np.uint8), WHITE),
        np.array([1]),
    )
    weights = torch.tensor([[0.5, 0.25, 0.25]])
    front, back = (
        palette(looks, "cpu").colour(torch.tensor([0]), torch.tensor([away]), weights)[0] for away in (False, True)
    )
    assert torch.allclose(front, torch.tensor([0.5 * 0.2, 0.25 * 0.5 * 0.2, 0.0]))
    assert torch.allclose(back, torch.tensor([0.2, 0.4, 0.6]))


def by_pytorch3d(textures: TexturesBase, looks: Looks) -> tuple[torch.Tensor, torch.Tensor]:
    """Colours that PyTorch3D and a palette show of a ball, (P, 3) each, at the pixels that show it."""
    ball = trimesh.creation.icosphere(2, 0.45)
    vertices, faces = torch.tensor(ball.vertices, dtype=torch.float32), torch.tensor(np.asarray(ball.faces))
    scene = Meshes([vertices], [faces], textures)
    cameras = renderer.make_cameras(np.array([[30, 20, 2.5, 30]], np.float32))
    fragments = MeshRasterizer(cameras, RasterizationSettings((48, 64)))(scene)
    hit = fragments.pix_to_face[0, ..., 0] >= 0
    shown = fragments.pix_to_face[0, ..., 0][hit]
    weights = fragments.bary_coords[0, ..., 0, :][hit]
    found = palette(looks, "cpu").colour(shown, torch.zeros_like(shown, dtype=torch.bool), weights)
    return scene.sample_textures(fragments)[0, ..., 0, :][hit], found


def test_same_colours_as_pytorch3d_s_textures() -> None:
    ball = trimesh.creation.icosphere(2, 0.45)
    faces = np.asarray(ball.faces)
    picture = RNG.integers(0, 256, (9, 14, 3), dtype=np.uint8)
    uv = RNG.uniform(0.1, 0.9, (len(ball.vertices), 2)).astype(np.float32)  # what lies past its border it has not
    maps = torch.tensor(picture, dtype=torch.float32)[None] / 255
    theirs = TexturesUV(maps, [torch.tensor(faces)], [torch.tensor(uv)], align_corners=False)
    expected, found = by_pytorch3d(theirs, textured(picture, uv[faces]))
    assert len(found) > 500 and torch.allclose(expected, found, atol=1e-5)


def test_same_colours_as_pytorch3d_s_vertices() -> None:
    ball = trimesh.creation.icosphere(2, 0.45)
    faces = np.asarray(ball.faces)
    colours = RNG.random((len(ball.vertices), 3)).astype(np.float32)
    looks = flat(np.zeros(len(faces), np.int64), np.ones((1, 3), np.float32))
    looks.shade[:] = colours[faces]
    expected, found = by_pytorch3d(TexturesVertex([torch.tensor(colours)]), looks)
    assert torch.allclose(expected, found, atol=1e-6)
