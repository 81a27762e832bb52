from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("trimesh")
pytest.importorskip("pytorch3d")

import trimesh
from pytorch3d.renderer import MeshRasterizer, MeshRendererWithFragments, RasterizationSettings
from pytorch3d.renderer.mesh.rasterizer import Fragments
from pytorch3d.structures import Meshes

from pipeline import render, synthesize
from pipeline.families.registry import FAMILIES
from pipeline.geometry import meshes, renderer
from pipeline.geometry.looks.appearance import GRAY, Looks, Painted, flat
from pipeline.geometry.meshes import Mesh
from tests.meshes import joined, normalised, stool

PARAMS = render.Params(
    seed=0,
    views=5,
    height=48,
    width=64,
    fov_deg=(30.0, 30.0),
    elevation_deg=(-5.0, 50.0),
    distance=(1.0, 1.25),
    depth=False,
    normals=False,
)


def by_pytorch3d(mesh: Mesh, drawn: np.ndarray, height: int, width: int) -> tuple[np.ndarray, Fragments]:
    """The stage's shader on PyTorch3D's own rasterizer: gray in [0, 1], (V, H, W), and what was rasterized."""
    cameras, lights = renderer.make_cameras(drawn), renderer.make_lights(renderer.make_cameras(drawn), drawn)
    rasterizer = MeshRasterizer(raster_settings=RasterizationSettings(image_size=(height, width)))
    scene = Meshes([torch.tensor(mesh.vertices, dtype=torch.float32)], [torch.tensor(mesh.faces)]).extend(len(drawn))
    own = MeshRendererWithFragments(rasterizer, renderer.GrayscaleShader())
    picture, fragments = own(scene, cameras=cameras, lights=lights)
    return picture[..., 0].numpy(), fragments


def agree(mesh: Mesh, height: int, width: int, views: int) -> None:
    drawn = render.draw_cameras("x", np.linalg.norm(mesh.vertices, axis=1).max(), PARAMS)[:views]
    gray, mask, depth = renderer.render(mesh, drawn, height, width, maps=["depth"])
    expected, fragments = by_pytorch3d(mesh, drawn, height, width)
    assert (mask != (fragments.pix_to_face[..., 0].numpy() >= 0)).mean() <= 1e-4
    assert np.abs(gray / 255 - expected).mean() <= 1 / 255
    zbuf = fragments.zbuf[..., 0].numpy()
    both = mask & (zbuf > 0)
    # Faces that meet edge on in a pixel may differ; else half a step of float16.
    assert (np.abs(depth[both] - zbuf[both]) > 2**-10 + 1e-4).mean() < 1e-3 and (depth[~mask] == 0).all()


@pytest.mark.parametrize("size", [(48, 64), (64, 48)])
def test_same_picture_as_pytorch3ds_rasterizer(size: tuple[int, int]) -> None:
    agree(stool(), *size, views=5)


@pytest.mark.parametrize("synset", sorted(FAMILIES))
def test_same_picture_on_embedded_meshes(synset: str) -> None:
    model = synthesize.build(synset, 0, synthesize.Params(0, 1, doubled=1.0, flipped=1.0, opened=1.0))
    agree(meshes.normalise(Mesh(model.vertices, model.faces))[0], 96, 128, views=2)


@pytest.mark.skipif("ONEVIEW_REAL_ROOT" not in os.environ, reason="ONEVIEW_REAL_ROOT names no folder of real meshes")
def test_same_picture_on_real_meshes() -> None:
    for path in sorted(Path(os.environ["ONEVIEW_REAL_ROOT"]).glob("*.zip"))[::4]:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".obj"))
            mesh, _ = meshes.normalise(meshes.read(archive.read(name), "obj"))
        agree(mesh, 96, 128, views=2)


@pytest.mark.cuda
def test_cuda_gives_the_cpus_picture() -> None:
    mesh = stool()
    drawn = render.draw_cameras("x", 0.8, PARAMS)
    cpu, gpu = (renderer.render(mesh, drawn, 96, 128, device, list(renderer.MAPS)) for device in ("cpu", "cuda"))
    (gray, mask, depth, normals, color), (gray_gpu, mask_gpu, depth_gpu, normals_gpu, color_gpu) = cpu, gpu
    assert (mask != mask_gpu).mean() <= 1e-3 and np.abs(gray.astype(int) - gray_gpu).mean() <= 1
    assert np.abs(depth.astype(float) - depth_gpu).mean() <= 1e-3
    assert np.abs(normals.astype(int) - normals_gpu).mean() <= 1 and np.abs(color.astype(int) - color_gpu).mean() <= 1


@pytest.mark.cuda
def test_no_bin_overflows_on_a_gpu() -> None:
    """A million faces, most of them in one bin of the rasterizer: the picture without bins is the truth."""
    ball = trimesh.creation.icosphere(8, 0.4)
    grain = trimesh.creation.icosphere(7, 0.01).apply_translation([0.42, 0, 0])
    mesh = normalised(joined(ball, grain))
    assert len(mesh.faces) > 1_000_000
    drawn = render.draw_cameras("x", 0.6, PARAMS)[:2]
    _, mask, depth = renderer.render(mesh, drawn, 96, 128, "cuda", ["depth"])
    cameras = renderer.make_cameras(drawn, "cuda")
    unbinned = MeshRasterizer(cameras, RasterizationSettings((96, 128), bin_size=0))
    scene = Meshes([torch.tensor(mesh.vertices, dtype=torch.float32)], [torch.tensor(mesh.faces)]).to("cuda")
    zbuf = unbinned(scene.extend(2)).zbuf[..., 0].cpu().numpy()
    assert np.array_equal(mask, zbuf > 0) and np.allclose(depth, zbuf.clip(0), atol=2e-3)


def test_any_number_of_views_is_rendered_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh, drawn = stool(), render.draw_cameras("x", 0.7, PARAMS)
    whole = renderer.render(mesh, drawn, 48, 64, maps=list(renderer.MAPS))
    monkeypatch.setattr(renderer, "CAST_AT_ONCE", 2)
    for array, same in zip(whole, renderer.render(mesh, drawn, 48, 64, maps=list(renderer.MAPS)), strict=True):
        assert array.shape[0] == 5 and np.array_equal(array, same)


def test_maps_of_a_ball_are_its_formula() -> None:
    """Where a ray meets a ball of radius r about the origin, the depth is known and the normal is the point over r."""
    mesh = normalised(trimesh.creation.icosphere(6))
    radius, drawn = 15 / 32, np.array([[30, 20, 2.5, 30], [200, -60, 3, 30]], np.float32)
    _, masks, depth, normals = renderer.render(mesh, drawn, 96, 128, maps=["depth", "normals"])
    focal = 48 / np.tan(np.radians(15))
    ys, xs = np.mgrid[0:96, 0:128]
    rays = np.stack([(63.5 - xs) / focal, (47.5 - ys) / focal, np.ones_like(xs)], axis=-1)  # +X left, +Y up
    for view, distance in enumerate(drawn[:, 2]):
        # t of |t ray - (0, 0, distance)| = radius, the nearer one
        a, b = (rays**2).sum(axis=-1), float(distance)
        inside = masks[view] & (b**2 - a * (b**2 - radius**2) > 0.02)  # away from the outline, where it is steep
        assert inside.sum() > 800
        t = (b - np.sqrt(b**2 - a[inside] * (b**2 - radius**2))) / a[inside]
        assert np.allclose(depth[view][inside], t, atol=2e-3)
        expected = (t[:, None] * rays[inside] - [0, 0, b]) / radius
        assert np.abs(normals[view][inside] / 127 - expected).max() < 0.03
    assert depth.dtype == np.float16 and normals.dtype == np.int8
    assert not depth[~masks].any() and not normals[~masks].any()
    assert np.abs(np.linalg.norm(normals[masks] / 127.0, axis=-1) - 1).max() < 0.01


def test_azimuth_and_elevation_are_where_the_docs_say() -> None:
    """A ball at the front (-Z) hides the one behind it from azimuth 180; seen from +X it is on the right."""
    front = trimesh.creation.icosphere(2, 0.1).apply_translation([0, 0, -0.5])
    behind = trimesh.creation.icosphere(2, 0.05).apply_translation([0, 0, 0.5])
    mesh = normalised(joined(front, behind))
    drawn = np.array([[180, 0, 3, 30], [90, 0, 3, 30], [0, 0, 3, 30]], np.float32)
    _, masks = renderer.render(mesh, drawn, 96, 128)
    assert masks[0].sum() > masks[2].sum()
    left, right = masks[1][:, :64].sum(), masks[1][:, 64:].sum()
    assert right > 2 * left > 0


def test_the_whole_model_is_in_every_picture() -> None:
    mesh = normalised(trimesh.creation.box((1, 1, 1)))
    drawn = render.draw_cameras("s/m", np.sqrt(3) / 2 * 15 / 16, PARAMS)
    _, masks = renderer.render(mesh, drawn, 48, 64)
    edge = np.ones((48, 64), bool)
    edge[1:-1, 1:-1] = False
    assert masks.any(axis=(1, 2)).all() and not masks[:, edge].any()


def test_both_sides_of_a_face_are_lit_alike() -> None:
    mesh = stool()
    drawn = render.draw_cameras("s/m", 0.7, PARAMS)
    views, masks = renderer.render(mesh, drawn, 48, 64)
    flipped, _ = renderer.render(Mesh(mesh.vertices, mesh.faces[:, ::-1]), drawn, 48, 64)
    assert np.abs(views.astype(int) - flipped)[masks].max() <= 1
    assert (views[~masks] == 255).all() and views[masks].max() <= round(255 * renderer.ALBEDO)
    assert views[masks].min() >= int(255 * renderer.ALBEDO * renderer.AMBIENT)


def test_what_has_no_colour_is_as_bright_as_in_grayscale() -> None:
    assert GRAY == renderer.ALBEDO


def test_brightness_by_hand() -> None:
    """A face square to the camera: n.l is the light's share along the view axis."""
    mesh = Mesh(
        np.array([[-0.4, -0.4, 0.0], [0.4, -0.4, 0], [0.4, 0.4, 0], [-0.4, 0.4, 0]]),
        np.array([[0, 1, 2], [0, 2, 3]]),
    )
    views, masks = renderer.render(mesh, np.array([[0, 0, 3, 30]], np.float32), 33, 33)
    to_light = np.array(renderer.LIGHT_TO_VIEW)
    cosine = -to_light[2] / np.linalg.norm(to_light)
    expected = 255 * renderer.ALBEDO * (renderer.AMBIENT + (1 - renderer.AMBIENT) * cosine)
    assert np.abs(views[masks] - expected).max() <= 1


SQUARE = Mesh(
    np.array([[-0.4, -0.4, 0.0], [0.4, -0.4, 0], [0.4, 0.4, 0], [-0.4, 0.4, 0]]), np.array([[0, 1, 2], [0, 2, 3]])
)


def painted_square(behind: Sequence[int]) -> Painted:
    """A texture of four colours on a square that looks to +Z, and green and blue on its faces' other side."""
    four = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [250, 250, 0]]], np.uint8)
    corner = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)[SQUARE.faces]
    sides = flat(np.array([0, 0, 1, 2]), np.array([[1, 1, 1], [0, 1, 0], [0, 0, 1]], np.float32))
    uv = np.concatenate([0.25 + 0.5 * corner, 0 * corner])  # from texel to texel
    textures = (four, *sides.textures[1:])
    looks = Looks(sides.material, uv, sides.shade, sides.colours, textures, np.array(behind))
    return Painted(SQUARE.vertices, SQUARE.faces, looks)


@pytest.mark.parametrize("device", ["cpu", "pytorch3d", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_colours_by_hand(device: str) -> None:
    """The corners of a square that is square to the camera; from behind it is mirrored, or shows its other side."""

    def colours(azimuth: float, behind: Sequence[int]) -> np.ndarray:
        scene = (painted_square(behind), np.array([[azimuth, 0, 3, 30]], np.float32))
        if device == "pytorch3d":
            ((_, masks, color),) = renderer.rasterize([scene], 65, 65, "cpu", ["color"])
        else:
            _, masks, color = renderer.render(*scene, 65, 65, device, ["color"])
        rows, columns = np.flatnonzero(masks[0].any(axis=1)), np.flatnonzero(masks[0].any(axis=0))
        assert (color[0][~masks[0]] == 255).all()
        return color[0][np.ix_(rows[[1, -2]], columns[[2, -3]])]

    to_light = np.array(renderer.LIGHT_TO_VIEW)
    light = renderer.AMBIENT + (1 - renderer.AMBIENT) * -to_light[2] / np.linalg.norm(to_light)
    four = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [250, 250, 0]]])
    assert np.abs(colours(0, [0, 1]) - light * four).max() < 22  # two pixels and a half from the corners
    assert np.abs(colours(180, [0, 1]) - light * four[:, ::-1]).max() < 22
    other = colours(180, [2, 3])  # of the first face, which is the lower left one from behind, and of the second
    assert np.abs(other[1, 0] - light * np.array([0, 255, 0])).max() <= 1
    assert np.abs(other[0, 1] - light * np.array([0, 0, 255])).max() <= 1


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_colours_of_what_has_none_are_the_grayscale_views(device: str) -> None:
    mesh, drawn = stool(), render.draw_cameras("x", 0.7, PARAMS)
    views, masks, color = renderer.render(mesh, drawn, 48, 64, device, ["color"])
    plain, silhouettes = renderer.render(mesh, drawn, 48, 64, device)
    assert np.array_equal(views, plain) and np.array_equal(masks, silhouettes)
    assert color.shape == (5, 48, 64, 3) and color.dtype == np.uint8
    assert np.array_equal(color, np.repeat(views[..., None], 3, axis=-1))


def test_each_mesh_of_a_batch_has_its_own_colours() -> None:
    """Rays and PyTorch3D's rasterizer, by the same shader."""
    scenes = []
    shapes = trimesh.creation.icosphere(2), trimesh.creation.box((1, 2, 3))
    for n, mesh in enumerate((tetrahedron(), *map(normalised, shapes))):
        material = np.arange(len(mesh.faces)) % 3
        looks = flat(material, np.random.default_rng(n).random((3, 3)).astype(np.float32))
        scenes.append((Painted(mesh.vertices, mesh.faces, looks), render.draw_cameras(str(n), 0.8, PARAMS)[: 1 + n]))
    together = renderer.rasterize(scenes, 48, 64, "cpu", ["color"])
    for (mesh, drawn), (_, masks, color) in zip(scenes, together, strict=True):
        _, silhouettes, by_rays = renderer.render(mesh, drawn, 48, 64, "cpu", ["color"])
        assert (masks != silhouettes).mean() < 2e-3
        both = masks & silhouettes
        assert (np.abs(color[both].astype(int) - by_rays[both]).max(axis=-1) > 2).mean() < 0.02


def tetrahedron() -> Mesh:
    return Mesh(
        np.array([[0, 0, 0], [0.4, 0, 0], [0, 0.4, 0], [0, 0, 0.4]]), np.array([[0, 1, 2], [0, 1, 3], [1, 2, 3]])
    )


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("room", [1, 2, 5, 100])
def test_meshes_that_share_batches_look_as_each_by_itself(
    device: str, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch3D's rasterizer, on a CPU too: meshes of 3, 376 and 12 faces in batches that end within their views."""
    monkeypatch.setattr(renderer, "RASTERIZED_AT_ONCE", room)
    scenes = [
        (mesh, render.draw_cameras(name, 0.8, PARAMS)[:views])
        for name, mesh, views in (
            ("a", tetrahedron(), 3),
            ("b", stool(), 2),
            ("c", normalised(trimesh.creation.box((1, 2, 3))), 4),
        )
    ]
    maps = list(renderer.MAPS)
    for (mesh, drawn), together in zip(scenes, renderer.rasterize(scenes, 24, 32, device, maps), strict=True):
        ((alone),) = renderer.rasterize([(mesh, drawn)], 24, 32, device, maps)
        for one, same in zip(alone, together, strict=True):
            assert len(one) == len(drawn) and np.array_equal(one, same)
        by_rays = renderer.cast(mesh, drawn, 24, 32, maps)
        assert (by_rays[1] != together[1]).mean() <= 1e-3 and np.abs(by_rays[0].astype(int) - together[0]).mean() <= 1


def test_as_many_views_at_once_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each view has room for as many faces as the largest mesh among them; a view that has no room is alone."""
    monkeypatch.setattr(renderer, "BIN_ROOM", 100)
    monkeypatch.setattr(renderer, "RASTERIZED_AT_ONCE", 4)
    faces = [10] * 5 + [40, 60, 200, 1, 1]
    spans = [faces[span] for span in renderer._spans(faces)]
    assert spans == [[10] * 4, [10, 40], [60], [200], [1, 1]]
