from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh
from pytorch3d.renderer import (
    FoVOrthographicCameras,
    FoVPerspectiveCameras,
    MeshRasterizer,
    PerspectiveCameras,
    RasterizationSettings,
    look_at_view_transform,
)
from pytorch3d.structures import Meshes

from pipeline.geometry.open3d import o3d, scene
from pipeline.geometry.rays import RayRasterizer, ray_bases, rays_through

R, T = look_at_view_transform([2.5, 2.5, 3.0], [20.0, -10.0, 60.0], [30.0, 200.0, 110.0])
CAMERAS = [
    FoVPerspectiveCameras(R=R, T=T, fov=40.0),
    FoVOrthographicCameras(R=R, T=T),
    PerspectiveCameras(R=R, T=T, focal_length=2.2),
]


def solids() -> Meshes:
    made = [
        trimesh.creation.torus(0.5, 0.2, 12, 8),
        trimesh.creation.box((0.9, 0.5, 0.7)),
        trimesh.creation.icosphere(1),
    ]
    vertices = [torch.tensor(m.vertices, dtype=torch.float32) for m in made]
    return Meshes(vertices, [torch.tensor(m.faces) for m in made])


@pytest.mark.parametrize("cameras", CAMERAS, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("size", [(40, 56), (56, 40)])
def test_fragments_are_those_of_pytorch3d(cameras: FoVPerspectiveCameras, size: tuple[int, int]) -> None:
    settings = RasterizationSettings(image_size=size)
    expected = MeshRasterizer(cameras, settings)(solids())
    got = RayRasterizer(cameras, settings)(solids())
    same = expected.pix_to_face == got.pix_to_face
    # A pixel whose centre lies on an edge may go to either face.
    assert same.float().mean() > 0.999
    hit = same & (got.pix_to_face >= 0)
    assert hit.float().mean() > 0.1
    assert torch.allclose(expected.zbuf[hit], got.zbuf[hit], atol=1e-4)
    assert torch.allclose(expected.bary_coords[hit], got.bary_coords[hit], atol=2e-3)
    missed = same & (got.pix_to_face < 0)
    for name in ("zbuf", "bary_coords", "dists"):
        assert (getattr(got, name)[missed] == -1).all() and (getattr(expected, name)[missed] == -1).all()


def test_one_mesh_for_all_cameras_is_the_mesh_repeated() -> None:
    one = solids()[0]
    rasterizer = RayRasterizer(CAMERAS[0], RasterizationSettings(image_size=(30, 40)))
    shared, repeated = rasterizer(one), rasterizer(one.extend(3))
    faces = len(one.faces_packed())
    hit = shared.pix_to_face >= 0
    assert torch.equal(shared.zbuf, repeated.zbuf) and hit.any()
    assert torch.equal((repeated.pix_to_face % faces)[hit], shared.pix_to_face[hit])


def test_faces_alone_are_the_same_faces() -> None:
    settings = RasterizationSettings(image_size=(30, 40))
    whole = RayRasterizer(CAMERAS[0], settings)(solids())
    alone = RayRasterizer(None, settings, faces_only=True)(solids(), cameras=CAMERAS[0])
    assert torch.equal(whole.pix_to_face, alone.pix_to_face)
    assert alone.zbuf is alone.bary_coords is alone.dists is None


def test_meshes_that_moved_are_seen_where_they_are() -> None:
    one, rasterizer = solids()[0], RayRasterizer(CAMERAS[0], RasterizationSettings(image_size=(30, 40)))
    before = rasterizer(one)
    assert torch.equal(rasterizer(one).zbuf, before.zbuf)
    one.offset_verts_(torch.tensor([0.1, 0.0, 0.2]))
    assert torch.equal(rasterizer(one).zbuf, RayRasterizer(CAMERAS[0], rasterizer.raster_settings)(one).zbuf)
    assert not torch.equal(rasterizer(one).zbuf, before.zbuf)


@pytest.mark.parametrize("offset", [[0.0, 0.0, 0.0], [0.9, 0.3, 0.0], [9.0, 0.0, 0.0], [0.0, 0.0, 2.7]])
def test_parts_out_of_the_picture_and_behind_the_camera(offset: list[float]) -> None:
    """Only rays that may meet the mesh are cast; cut off, out of sight or all round the camera, nothing is lost."""
    cameras = FoVPerspectiveCameras(T=torch.tensor([[0.0, 0.0, 2.5]]), fov=40.0)
    moved = solids()[0].offset_verts(torch.tensor(offset))
    rasterizer = RayRasterizer(cameras, RasterizationSettings(image_size=(40, 56)))
    (basis,) = ray_bases(cameras).numpy()
    whole = scene(moved.verts_packed().numpy(), moved.faces_packed().numpy())
    expected = whole.test_occlusions(o3d.core.Tensor(rays_through(basis, 40, 56))).numpy()
    assert np.array_equal(rasterizer(moved).pix_to_face[0, ..., 0].numpy() >= 0, expected)
    assert expected.any() == (offset[0] < 9)


def test_rays_start_at_the_camera_and_have_unit_depth() -> None:
    rays = torch.from_numpy(np.stack([rays_through(basis, 6, 8) for basis in ray_bases(CAMERAS[0]).numpy()]))
    centres = CAMERAS[0].get_camera_center()
    assert torch.allclose(rays[..., :3], centres[:, None, None].expand(3, 6, 8, 3), atol=1e-5)
    depth = CAMERAS[0].get_world_to_view_transform().transform_normals(rays[..., 3:].reshape(3, -1, 3))[..., 2]
    assert torch.allclose(depth, torch.ones_like(depth), atol=1e-5)
    # The middle of the picture looks at the origin.
    middle = rays[:, 2:4, 3:5, 3:].mean(dim=(1, 2))
    assert np.allclose(torch.cross(middle, centres, dim=1).norm(dim=1), 0, atol=1e-5)


def test_refuses_what_rays_can_not_do() -> None:
    for setting in ({"faces_per_pixel": 2}, {"blur_radius": 0.1}, {"cull_backfaces": True}):
        with pytest.raises(ValueError, match="RayRasterizer: expected faces_per_pixel 1, blur_radius 0 and no culling"):
            RayRasterizer(CAMERAS[0], RasterizationSettings(**setting))
    with pytest.raises(ValueError, match="expected 1 or 3 meshes, got 2"):
        RayRasterizer(CAMERAS[0], RasterizationSettings())(solids()[:2])


def test_three_vertices_are_a_triangle_where_no_faces_say_it() -> None:
    ball = trimesh.creation.icosphere(1)
    rays = o3d.core.Tensor(np.tile([[0.1, 0.2, 5, 0, 0, -1]], (3, 1)).astype(np.float32))
    structures = (
        scene(ball.vertices, ball.faces),
        scene(np.asarray(ball.triangles)),
        scene(ball.vertices, ball.faces, 0),
    )
    hits = [structure.cast_rays(rays)["primitive_ids"].numpy() for structure in structures]
    assert (hits[0] == hits[1]).all() and (hits[0] == hits[2]).all() and hits[0].max() < len(ball.faces)
