from __future__ import annotations

import dataclasses
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from pytorch3d.renderer import MeshRasterizer, MeshRendererWithFragments, RasterizationSettings
from pytorch3d.renderer.mesh.rasterizer import Fragments
from pytorch3d.structures import Meshes

from pipeline import render, synthesize
from pipeline.families.registry import FAMILIES
from pipeline.geometry import meshes
from pipeline.geometry.meshes import Mesh
from tests.meshes import joined

PARAMS = render.Params(
    seed=0,
    views=5,
    height=48,
    width=64,
    fov_deg=30.0,
    elevation_deg=(-5.0, 50.0),
    distance=(1.0, 1.25),
    depth=False,
    normals=False,
)


def mesh_of(made: trimesh.Trimesh) -> Mesh:
    return meshes.normalise(Mesh(np.asarray(made.vertices), np.asarray(made.faces)))[0]


def scattered() -> Mesh:
    """A stool-like thing of doubled, flipped faces, as CAD has them."""
    parts = [trimesh.creation.box((1, 0.1, 1))]
    for x, z in ((-0.4, -0.4), (0.4, -0.4), (-0.4, 0.4), (0.4, 0.4)):
        parts.append(trimesh.creation.cylinder(0.06, segment=[[x, 0, z], [1.2 * x, -0.9, z]], sections=9))
    whole = joined(*parts)
    return mesh_of(
        trimesh.Trimesh(whole.vertices, np.concatenate([whole.faces, whole.faces[::-1, ::-1]]), process=False)
    )


def by_pytorch3d(mesh: Mesh, drawn: np.ndarray, height: int, width: int) -> tuple[np.ndarray, Fragments]:
    """The stage's shader on PyTorch3D's own rasterizer: gray in [0, 1], (V, H, W), and what was rasterized."""
    cameras, lights = render.make_cameras(drawn), render.make_lights(render.make_cameras(drawn))
    rasterizer = MeshRasterizer(raster_settings=RasterizationSettings(image_size=(height, width)))
    scene = Meshes([torch.tensor(mesh.vertices, dtype=torch.float32)], [torch.tensor(mesh.faces)]).extend(len(drawn))
    renderer = MeshRendererWithFragments(rasterizer, render.GrayscaleShader())
    picture, fragments = renderer(scene, cameras=cameras, lights=lights)
    return picture[..., 0].numpy(), fragments


def agree(mesh: Mesh, height: int, width: int, views: int) -> None:
    drawn = render.draw_cameras("x", np.linalg.norm(mesh.vertices, axis=1).max(), PARAMS)[:views]
    gray, mask, depth = render.render(mesh, drawn, height, width, maps=["depth"])
    expected, fragments = by_pytorch3d(mesh, drawn, height, width)
    assert (mask != (fragments.pix_to_face[..., 0].numpy() >= 0)).mean() <= 1e-4
    assert np.abs(gray / 255 - expected).mean() <= 1 / 255
    zbuf = fragments.zbuf[..., 0].numpy()
    both = mask & (zbuf > 0)
    # Faces that meet edge on in a pixel may differ; else half a step of float16.
    assert (np.abs(depth[both] - zbuf[both]) > 2**-10 + 1e-4).mean() < 1e-3 and (depth[~mask] == 0).all()


@pytest.mark.parametrize("size", [(48, 64), (64, 48)])
def test_same_picture_as_pytorch3ds_rasterizer(size: tuple[int, int]) -> None:
    agree(scattered(), *size, views=5)


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
    mesh = scattered()
    drawn = render.draw_cameras("x", 0.8, PARAMS)
    cpu, gpu = (render.render(mesh, drawn, 96, 128, device, list(render.MAPS)) for device in ("cpu", "cuda"))
    (gray, mask, depth, normals), (gray_gpu, mask_gpu, depth_gpu, normals_gpu) = cpu, gpu
    assert (mask != mask_gpu).mean() <= 1e-3 and np.abs(gray.astype(int) - gray_gpu).mean() <= 1
    assert np.abs(depth.astype(float) - depth_gpu).mean() <= 1e-3
    assert np.abs(normals.astype(int) - normals_gpu).mean() <= 1


@pytest.mark.cuda
def test_no_bin_overflows_on_a_gpu() -> None:
    """A million faces, most of them in one bin of the rasterizer: the picture without bins is the truth."""
    ball = trimesh.creation.icosphere(8, 0.4)
    grain = trimesh.creation.icosphere(7, 0.01).apply_translation([0.42, 0, 0])
    mesh = mesh_of(joined(ball, grain))
    assert len(mesh.faces) > 1_000_000
    drawn = render.draw_cameras("x", 0.6, PARAMS)[:2]
    _, mask, depth = render.render(mesh, drawn, 96, 128, "cuda", ["depth"])
    cameras = render.make_cameras(drawn, "cuda")
    unbinned = MeshRasterizer(cameras, RasterizationSettings((96, 128), bin_size=0))
    scene = Meshes([torch.tensor(mesh.vertices, dtype=torch.float32)], [torch.tensor(mesh.faces)]).to("cuda")
    zbuf = unbinned(scene.extend(2)).zbuf[..., 0].cpu().numpy()
    assert np.array_equal(mask, zbuf > 0) and np.allclose(depth, zbuf.clip(0), atol=2e-3)


def test_any_number_of_views_is_rendered_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh, drawn = scattered(), render.draw_cameras("x", 0.7, PARAMS)
    whole = render.render(mesh, drawn, 48, 64, maps=list(render.MAPS))
    monkeypatch.setattr(render, "VIEWS_AT_ONCE", 2)
    for array, same in zip(whole, render.render(mesh, drawn, 48, 64, maps=list(render.MAPS)), strict=True):
        assert array.shape[0] == 5 and np.array_equal(array, same)


def test_maps_of_a_ball_are_its_formula() -> None:
    """Where a ray meets a ball of radius r about the origin, the depth is known and the normal is the point over r."""
    mesh = mesh_of(trimesh.creation.icosphere(6))
    radius, drawn = 15 / 32, np.array([[30, 20, 2.5, 30], [200, -60, 3, 30]], np.float32)
    _, masks, depth, normals = render.render(mesh, drawn, 96, 128, maps=["depth", "normals"])
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


def test_maps_are_in_the_record_where_asked_for() -> None:
    mesh = scattered()
    plain = render.compute("s/m", mesh, np.eye(4), PARAMS)
    both = render.compute("s/m", mesh, np.eye(4), dataclasses.replace(PARAMS, depth=True, normals=True))
    assert set(both) - set(plain) == {"depth", "normals"}
    assert both["depth"].shape == (5, 48, 64) and both["normals"].shape == (5, 48, 64, 3)
    for name, array in plain.items():
        assert np.array_equal(array, both[name]), name


def test_known_points_are_found_where_the_stored_camera_puts_them() -> None:
    corners = np.array([[0.4, 0.1, 0.0], [-0.3, 0.35, 0.2], [0.1, -0.4, -0.35], [0.0, 0.0, 0.45]])
    for n, corner in enumerate(corners):
        ball = trimesh.creation.icosphere(2, 0.04)
        mesh = Mesh(ball.vertices + corner, np.asarray(ball.faces))
        params = render.Params(n, 3, 96, 128, 30.0, (-5.0, 50.0), (1.0, 1.3), False, False)
        record = render.compute("s/m", mesh, np.eye(4), params)
        masks = np.unpackbits(record["masks"], axis=-1)[..., :128]
        for view in range(3):
            # By hand: view frame, then a pinhole whose shorter side (96 pixels) spans the field of view.
            x, y, z, _ = record["world_to_view"][view] @ [*corner, 1]
            focal = 48 / np.tan(np.radians(record["cameras"][view, 3]) / 2)
            expected = np.array([48 - focal * y / z, 64 - focal * x / z])  # +X left, +Y up
            rows, columns = np.nonzero(masks[view])
            assert len(rows) > 3
            assert np.allclose([rows.mean() + 0.5, columns.mean() + 0.5], expected, atol=0.6)


def test_azimuth_and_elevation_are_where_the_docs_say() -> None:
    """A ball at the front (-Z) hides the one behind it from azimuth 180; seen from +X it is on the right."""
    front = trimesh.creation.icosphere(2, 0.1).apply_translation([0, 0, -0.5])
    behind = trimesh.creation.icosphere(2, 0.05).apply_translation([0, 0, 0.5])
    mesh = mesh_of(joined(front, behind))
    drawn = np.array([[180, 0, 3, 30], [90, 0, 3, 30], [0, 0, 3, 30]], np.float32)
    _, masks = render.render(mesh, drawn, 96, 128)
    assert masks[0].sum() > masks[2].sum()
    left, right = masks[1][:, :64].sum(), masks[1][:, 64:].sum()
    assert right > 2 * left > 0


def test_the_whole_model_is_in_every_picture() -> None:
    mesh = mesh_of(trimesh.creation.box((1, 1, 1)))
    drawn = render.draw_cameras("s/m", np.sqrt(3) / 2 * 15 / 16, PARAMS)
    _, masks = render.render(mesh, drawn, 48, 64)
    edge = np.ones((48, 64), bool)
    edge[1:-1, 1:-1] = False
    assert masks.any(axis=(1, 2)).all() and not masks[:, edge].any()


def test_both_sides_of_a_face_are_lit_alike() -> None:
    mesh = scattered()
    drawn = render.draw_cameras("s/m", 0.7, PARAMS)
    views, masks = render.render(mesh, drawn, 48, 64)
    flipped, _ = render.render(Mesh(mesh.vertices, mesh.faces[:, ::-1]), drawn, 48, 64)
    assert np.abs(views.astype(int) - flipped)[masks].max() <= 1
    assert (views[~masks] == 255).all() and views[masks].max() <= round(255 * render.ALBEDO)
    assert views[masks].min() >= int(255 * render.ALBEDO * render.AMBIENT)


def test_brightness_by_hand() -> None:
    """A face square to the camera: n.l is the light's share along the view axis."""
    mesh = Mesh(
        np.array([[-0.4, -0.4, 0.0], [0.4, -0.4, 0], [0.4, 0.4, 0], [-0.4, 0.4, 0]]),
        np.array([[0, 1, 2], [0, 2, 3]]),
    )
    views, masks = render.render(mesh, np.array([[0, 0, 3, 30]], np.float32), 33, 33)
    to_light = np.array(render.LIGHT_TO_VIEW)
    cosine = -to_light[2] / np.linalg.norm(to_light)
    expected = 255 * render.ALBEDO * (render.AMBIENT + (1 - render.AMBIENT) * cosine)
    assert np.abs(views[masks] - expected).max() <= 1


def test_cameras_depend_on_seed_and_model_alone() -> None:
    first = render.draw_cameras("s/a", 0.5, PARAMS)
    assert np.array_equal(first, render.draw_cameras("s/a", 0.5, PARAMS))
    assert not np.array_equal(first, render.draw_cameras("s/b", 0.5, PARAMS))
    assert (first[:, 0] >= 0).all() and (first[:, 0] < 360).all()
    assert (first[:, 1] >= -5).all() and (first[:, 1] <= 50).all()
    nearest = 0.5 / np.sin(np.radians(15))
    assert (first[:, 2] >= nearest * 0.999).all() and (first[:, 2] <= nearest * 1.251).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"views": 0}, "views: expected sizes of at least 1"),
        ({"fov_deg": 180.0}, "fov_deg: expected degrees between 0 and 180, got 180.0"),
        ({"elevation_deg": (10.0, 5.0)}, "elevation_deg: expected a range within"),
        ({"distance": (0.5, 1.0)}, "distance: expected a range from 1 up"),
    ],
)
def test_refuses_impossible_cameras(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render.Params(**{**PARAMS.__dict__, **change})
