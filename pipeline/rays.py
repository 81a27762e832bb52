"""A rasterizer for PyTorch3D that casts rays with Embree, for machines without a GPU.

On a CPU, PyTorch3D's own rasterizer compares every pixel with every face, which takes seconds a view. Rays through an
acceleration structure give the same fragments in milliseconds. `RayRasterizer` takes the place of
`MeshRasterizer` in any `MeshRenderer` with cameras that `unproject_points` (perspective or orthographic), one face a
pixel and no blur.
"""

from __future__ import annotations

import numpy as np
import open3d as o3d
import torch
from pytorch3d.renderer import RasterizationSettings
from pytorch3d.renderer.cameras import CamerasBase
from pytorch3d.renderer.mesh.rasterizer import Fragments
from pytorch3d.structures import Meshes
from torch import Tensor, nn

_MISS = o3d.t.geometry.RaycastingScene.INVALID_ID


class RayRasterizer(nn.Module):
    """Fills PyTorch3D's `Fragments` from Open3D's RaycastingScene; nothing is differentiable.

    Args:
        cameras: N cameras; those given to `forward` come before them.
        raster_settings: `image_size` is used; `faces_per_pixel` must be 1, `blur_radius` 0, no culling.
        threads: threads of Embree, 0 for all cores.

    Raises:
        ValueError: settings that rays can't fulfil.
    """

    def __init__(self, cameras: CamerasBase, raster_settings: RasterizationSettings, threads: int = 0):
        super().__init__()
        if raster_settings.faces_per_pixel != 1 or raster_settings.blur_radius or raster_settings.cull_backfaces:
            raise ValueError(
                "RayRasterizer: expected faces_per_pixel 1, blur_radius 0 and no culling, got "
                f"{raster_settings.faces_per_pixel}, {raster_settings.blur_radius}, {raster_settings.cull_backfaces}"
            )
        self.cameras, self.raster_settings, self.threads = cameras, raster_settings, threads

    def forward(self, meshes_world: Meshes, **kwargs: CamerasBase) -> Fragments:
        """Nearest face of each pixel.

        Args:
            meshes_world: N meshes, one a camera, or a single mesh that all cameras see: faces are then numbered
                0..F-1 in every view, and its acceleration structure is built once.

        Returns:
            Fragments with `pix_to_face` (N, H, W, 1) int64, -1 where nothing was hit; `zbuf` (N, H, W, 1) depth along
            the view axis; `bary_coords` (N, H, W, 1, 3) in space (perspective-correct); `dists` (N, H, W, 1), 0 on a
            face (rays have no distance to an edge). The last three are -1 where nothing was hit.
        """
        cameras = kwargs.get("cameras", self.cameras)
        count = cameras.R.shape[0]
        if len(meshes_world) not in (1, count):
            raise ValueError(f"RayRasterizer: expected 1 or {count} meshes, got {len(meshes_world)}")
        size = self.raster_settings.image_size
        height, width = (size, size) if isinstance(size, int) else size
        rays = camera_rays(cameras, height, width).cpu().numpy()
        scenes = [scene(v.numpy(), f.numpy(), self.threads) for v, f in _lists(meshes_world)]
        offsets = meshes_world.mesh_to_faces_packed_first_idx().tolist()
        views = [_cast(scenes[n % len(scenes)], rays[n], offsets[n % len(scenes)], self.threads) for n in range(count)]
        device = meshes_world.device
        faces, depth, bary = (torch.from_numpy(np.stack(part)).to(device) for part in zip(*views, strict=True))
        dists = torch.where(faces < 0, -1.0, 0.0)
        return Fragments(faces[..., None], depth[..., None], bary[..., None, :], dists[..., None])


def camera_rays(cameras: CamerasBase, height: int, width: int) -> Tensor:
    """(N, H, W, 6) float32 origins and directions through the pixels' centres; a direction has depth 1.

    NDC as PyTorch3D has it for pictures that are not square: the shorter side spans [-1, 1], +X left, +Y up.
    """
    shorter = min(height, width)
    ys = (height - 2 * torch.arange(height, device=cameras.device) - 1)[:, None, None] / shorter
    xs = (width - 2 * torch.arange(width, device=cameras.device) - 1)[None, :, None] / shorter
    # At one depth the scene is affine in NDC: three points stand for all pixels.
    ndc = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], device=cameras.device)
    near, far = (
        cameras.unproject_points(
            torch.cat([ndc, torch.full_like(ndc[:, :1], depth)], dim=1).expand(cameras.R.shape[0], -1, -1),
            from_ndc=True,
        )
        for depth in (1.0, 2.0)
    )
    directions = far - near
    # Back from depth 1 to depth 0: the camera's centre, or its image plane where it is orthographic.
    rays = torch.cat([near - directions, directions], dim=2)[:, :, None, None]
    centre, right, up = rays[:, 0], rays[:, 1] - rays[:, 0], rays[:, 2] - rays[:, 0]
    return centre + xs * right + ys * up


def scene(vertices: np.ndarray, faces: np.ndarray, threads: int) -> o3d.t.geometry.RaycastingScene:
    """Acceleration structure over triangles, vertices (N, 3) and faces (M, 3)."""
    made = o3d.t.geometry.RaycastingScene(nthreads=threads)
    made.add_triangles(
        o3d.core.Tensor(np.ascontiguousarray(vertices, np.float32)),
        o3d.core.Tensor(np.ascontiguousarray(faces, np.uint32)),
    )
    return made


def _lists(meshes_world: Meshes) -> list[tuple[Tensor, Tensor]]:
    pairs = zip(meshes_world.verts_list(), meshes_world.faces_list(), strict=True)
    return [(vertices.detach().cpu(), faces.cpu()) for vertices, faces in pairs]


def _cast(
    target: o3d.t.geometry.RaycastingScene, rays: np.ndarray, offset: int, threads: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Face index (H, W), depth (H, W) and barycentric coordinates (H, W, 3) of one view."""
    hits = target.cast_rays(o3d.core.Tensor(rays), nthreads=threads)
    faces = hits["primitive_ids"].numpy()
    missed = faces == _MISS
    uv = hits["primitive_uvs"].numpy()
    bary = np.concatenate([1 - uv.sum(axis=-1, keepdims=True), uv], axis=-1)
    bary[missed] = -1
    depth = hits["t_hit"].numpy()
    depth[missed] = -1
    return np.where(missed, -1, faces.astype(np.int64) + offset), depth, bary
