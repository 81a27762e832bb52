"""A rasterizer for PyTorch3D that casts rays with Embree, for machines without a GPU.

On a CPU, PyTorch3D's own rasterizer compares every pixel with every face, which takes seconds a view. Rays through an
acceleration structure give the same fragments in one or two milliseconds. `RayRasterizer` takes the place of
`MeshRasterizer` in any `MeshRenderer` with cameras that `unproject_points` (perspective or orthographic), one face a
pixel and no blur.
"""

from __future__ import annotations

import numpy as np
import torch
from pytorch3d.renderer import RasterizationSettings
from pytorch3d.renderer.cameras import CamerasBase
from pytorch3d.renderer.mesh.rasterizer import Fragments
from pytorch3d.structures import Meshes
from torch import Tensor, nn

from pipeline.geometry.open3d import o3d, scene

Box = tuple[slice, slice]  # rows and columns of a picture
WHOLE: Box = (slice(None), slice(None))
Target = tuple[np.ndarray, o3d.t.geometry.RaycastingScene]  # the vertices (V, 3) of a mesh, and its structure


class RayRasterizer(nn.Module):
    """Fills PyTorch3D's `Fragments` from Open3D's RaycastingScene; nothing is differentiable.

    The acceleration structures of the meshes seen last are kept: called again with the same `Meshes` and other cameras,
    it renders any number of views in the memory of a few.

    Args:
        cameras: N cameras; those given to `forward` come before them, and None leaves it to them.
        raster_settings: `image_size` is used; `faces_per_pixel` must be 1, `blur_radius` 0, no culling.
        threads: threads of Embree, 0 for all cores.
        faces_only: leave out all fragments but `pix_to_face`, which saves a fifth of the time.

    Raises:
        ValueError: settings that rays can't fulfil.
    """

    def __init__(
        self,
        cameras: CamerasBase | None,
        raster_settings: RasterizationSettings,
        threads: int = 0,
        faces_only: bool = False,
    ):
        super().__init__()
        if raster_settings.faces_per_pixel != 1 or raster_settings.blur_radius or raster_settings.cull_backfaces:
            raise ValueError(
                "RayRasterizer: expected faces_per_pixel 1, blur_radius 0 and no culling, got "
                f"{raster_settings.faces_per_pixel}, {raster_settings.blur_radius}, {raster_settings.cull_backfaces}"
            )
        self.cameras, self.raster_settings = cameras, raster_settings
        self.threads, self.faces_only = threads, faces_only
        self._seen: tuple[list[Tensor], list[Target]] = ([], [])

    def forward(self, meshes_world: Meshes, **kwargs: CamerasBase) -> Fragments:
        """Nearest face of each pixel.

        Args:
            meshes_world: N meshes, one a camera, or a single mesh that all cameras see: faces are then numbered
                0..F-1 in every view, and its acceleration structure is built once.

        Returns:
            Fragments with `pix_to_face` (N, H, W, 1) int64, -1 where nothing was hit; `zbuf` (N, H, W, 1) depth along
            the view axis; `bary_coords` (N, H, W, 1, 3) in space (perspective-correct); `dists` (N, H, W, 1), 0 on a
            face (rays have no distance to an edge). The last three are -1 where nothing was hit, and None
            with `faces_only`.
        """
        cameras: CamerasBase = kwargs.get("cameras", self.cameras)
        count = cameras.R.shape[0]
        if len(meshes_world) not in (1, count):
            raise ValueError(f"RayRasterizer: expected 1 or {count} meshes, got {len(meshes_world)}")
        size = self.raster_settings.image_size
        height, width = (size, size) if isinstance(size, int) else size
        targets, offsets = self._targets(meshes_world), meshes_world.mesh_to_faces_packed_first_idx().tolist()
        bases, projections = ray_bases(cameras).cpu().numpy(), _projections(cameras).cpu().numpy()
        faces = np.full((count, height, width), -1, np.int64)
        rest = None if self.faces_only else np.full((count, height, width, 5), -1, np.float32)
        for n in range(count):
            mesh = n % len(targets)
            vertices, structure = targets[mesh]
            box = picture_box(vertices, projections[n], height, width)
            rays = rays_through(bases[n], height, width, box)
            hits = structure.cast_rays(o3d.core.Tensor.from_numpy(rays), nthreads=self.threads)
            found = hits["primitive_ids"].numpy().view(np.int32)  # a miss has all bits set
            faces[(n, *box)] = np.where(found < 0, -1, found + np.int64(offsets[mesh]))
            if rest is not None:
                u, v = np.moveaxis(hits["primitive_uvs"].numpy(), -1, 0)
                hit = np.stack([hits["t_hit"].numpy(), 1 - u - v, u, v, np.zeros_like(u)], axis=-1)
                rest[(n, *box)] = np.where(found[..., None] < 0, -1, hit)
        device = meshes_world.device
        pix_to_face = torch.from_numpy(faces)[..., None].to(device)
        if rest is None:
            return Fragments(pix_to_face, None, None, None)
        depth, bary, dists = torch.from_numpy(rest).to(device)[..., None, :].split([1, 3, 1], dim=-1)
        return Fragments(pix_to_face, depth[..., 0], bary, dists[..., 0])

    def _targets(self, meshes_world: Meshes) -> list[Target]:
        key = meshes_world.verts_list()  # another list in other meshes, and where vertices were moved
        if self._seen[0] is not key:
            pairs = zip(key, meshes_world.faces_list(), strict=True)
            arrays = [(vertices.detach().cpu().numpy(), faces.cpu().numpy()) for vertices, faces in pairs]
            self._seen = key, [(vertices, scene(vertices, faces, self.threads)) for vertices, faces in arrays]
        return self._seen[1]


def ray_bases(cameras: CamerasBase) -> Tensor:
    """(N, 3, 6) float32: the rays of a camera are the first row + x times the second + y times the third, for NDC x, y.

    A ray is its origin and its direction, which has depth 1.
    """
    # At one depth the scene is affine in NDC: three points stand for all pixels.
    points = torch.tensor([[x, y, depth] for depth in (1.0, 2.0) for x, y in ((0, 0), (1, 0), (0, 1))])
    points = points.to(cameras.device).expand(cameras.R.shape[0], -1, -1)
    near, far = cameras.unproject_points(points, from_ndc=True).split(3, dim=1)
    directions = far - near
    # Back from depth 1 to depth 0: the camera's centre, or its image plane where it is orthographic.
    rays = torch.cat([near - directions, directions], dim=2)
    return torch.cat([rays[:, :1], rays[:, 1:] - rays[:, :1]], dim=1)


def rays_through(basis: np.ndarray, height: int, width: int, box: Box = WHOLE) -> np.ndarray:
    """Rays of one camera, (h, w, 6) float32, through the centres of a box of pixels; `basis` as of `ray_bases`.

    NDC as PyTorch3D has it for pictures that are not square: the shorter side spans [-1, 1], +X left, +Y up.
    """
    shorter = np.float32(min(height, width))
    ys, xs = (
        (size - 2 * np.arange(size, dtype=np.float32)[part] - 1)[:, None] / shorter
        for size, part in zip((height, width), box, strict=True)
    )
    centre, right, up = basis
    row = (centre + xs * right).reshape(-1)
    return (row + np.tile(ys * up, len(xs))).reshape(len(ys), len(xs), 6)


def _projections(cameras: CamerasBase) -> Tensor:
    """(N, 4, 4) from the world to NDC, for row vectors."""
    projection = cameras.get_full_projection_transform()
    if not cameras.in_ndc():
        projection = projection.compose(cameras.get_ndc_camera_transform())
    return projection.get_matrix()


def picture_box(vertices: np.ndarray, projection: np.ndarray, height: int, width: int) -> Box:
    """Rows and columns outside of which a camera sees nothing of the mesh with these (V, 3) vertices."""
    x, y, _, w = projection[:3].T @ vertices.T + projection[3, :, None]
    if w.min() <= 0:  # it reaches behind the camera
        return WHOLE
    shorter, box = min(height, width), []
    for size, ndc in ((height, y / w), (width, x / w)):  # rows run down +Y, columns down +X
        first, last = ((size - 1 - shorter * float(end)) / 2 for end in (ndc.max(), ndc.min()))
        box.append(slice(int(min(max(first, 0), size)), int(min(max(last, -1), size)) + 2))
    return box[0], box[1]
