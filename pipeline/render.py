"""Stage render: grayscale views of every model of a category, with PyTorch3D.

    python -m pipeline.render 03001627

Reads data/catalog/<synset>.csv and the meshes, writes data/renders/<synset>.zip (see `records/records.py`). A record
has `views` (V, H, W) uint8 on white, `masks` (V, H, W/8) uint8 packed, `cameras` (V, 4) float32 (azimuth_deg,
elevation_deg, distance, fov_deg) and `world_to_view` (V, 4, 4) float32 for column vectors. Where asked for, also
`depth` (V, H, W) float16, along the view axis in units of the normalised frame (in steps of 1/512 from 2 to 4), and
`normals` (V, H, W, 3) int8, 127 x the unit geometric normal, turned to the camera, in the view frame (+X left, +Y up,
+Z inward); both are 0 on the background.

A camera looks at the origin of the normalised frame (drawn in `geometry/meshes.py`) from azimuth and elevation in
degrees, as PyTorch3D's `look_at_view_transform` has them: azimuth 0 is on +Z, behind the object, 180 in front of it, 90
on +X. The light comes over the camera's left shoulder. Both sides of a face are lit alike, by its geometric normal, as
the windings and normals of CAD models are not to be trusted; materials and textures are left out.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pipeline.runtime.command import CATEGORY, run

    run("pipeline.render", CATEGORY)

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pytorch3d.renderer import (
    DirectionalLights,
    FoVPerspectiveCameras,
    MeshRasterizer,
    MeshRendererWithFragments,
    RasterizationSettings,
    look_at_view_transform,
)
from pytorch3d.renderer.cameras import CamerasBase
from pytorch3d.renderer.mesh.rasterizer import Fragments
from pytorch3d.structures import Meshes
from torch import Tensor, nn

from pipeline import catalog
from pipeline.geometry import rays
from pipeline.geometry.meshes import Mesh
from pipeline.records import ready, records
from pipeline.runtime import machine
from pipeline.runtime.params import Dataset, load

ALBEDO, AMBIENT = 0.85, 0.35  # brightness of the object in full light, and the share of it that shade keeps
LIGHT_TO_VIEW = (0.5, 0.7, -1.0)  # towards the light in the view frame (+X left, +Y up, +Z inward)
VIEWS_AT_ONCE = 12  # more would cost memory and save no time
BIN_ROOM = 12 * 200_000  # faces x views a batch on a GPU, for which there is memory in coarse bins: 2 GB


@dataclass(frozen=True)
class Params:
    """Section `render`.

    Attributes:
        seed: of the cameras.
        views: V, views a model.
        height, width: of a view, in pixels.
        fov_deg: field of view along the shorter side.
        elevation_deg: range from which a view's is drawn uniformly; azimuth is drawn from the full circle.
        distance: range of the distance from the origin, where 1 is the least at which the whole model is surely in the
            picture: its bounding sphere about the origin just fits.
        depth, normals: whether these maps are made as well.
    """

    seed: int
    views: int
    height: int
    width: int
    fov_deg: float
    elevation_deg: tuple[float, float]
    distance: tuple[float, float]
    depth: bool
    normals: bool

    def __post_init__(self) -> None:
        if min(self.views, self.height, self.width) < 1:
            raise ValueError(f"views: expected sizes of at least 1, got {self.views} of {self.height}x{self.width}")
        if not 0 < self.fov_deg < 180:
            raise ValueError(f"fov_deg: expected degrees between 0 and 180, got {self.fov_deg}")
        if not -90 < self.elevation_deg[0] <= self.elevation_deg[1] < 90:
            raise ValueError(f"elevation_deg: expected a range within (-90, 90), got {list(self.elevation_deg)}")
        if not 1 <= self.distance[0] <= self.distance[1]:
            raise ValueError(f"distance: expected a range from 1 up, got {list(self.distance)}")


def draw_cameras(model: str, radius: float, params: Params) -> np.ndarray:
    """(V, 4) float32 azimuth_deg, elevation_deg, distance, fov_deg of the views of a model.

    Drawn by the seed and the model's synset/id, so that no model's views depend on another's. `radius` is that of its
    bounding sphere about the origin; distances come out in the units of the normalised frame.
    """
    rng = records.seeded(params.seed, model, "cameras")
    azimuth = rng.uniform(0, 360, params.views)
    elevation = rng.uniform(*params.elevation_deg, params.views)
    nearest = radius / np.sin(np.radians(params.fov_deg) / 2)
    distance = rng.uniform(*params.distance, params.views) * nearest
    fov = np.full(params.views, params.fov_deg)
    return np.stack([azimuth, elevation, distance, fov], axis=1).astype(np.float32)


def make_cameras(drawn: np.ndarray, device: str = "cpu") -> FoVPerspectiveCameras:
    """PyTorch3D's cameras from rows of `draw_cameras`."""
    azimuth, elevation, distance, fov = torch.from_numpy(drawn).T
    rotation, translation = look_at_view_transform(distance, elevation, azimuth)
    return FoVPerspectiveCameras(R=rotation, T=translation, fov=fov, device=device)


def make_lights(cameras: CamerasBase) -> DirectionalLights:
    """A light a camera, that goes with it."""
    to_light = torch.tensor(LIGHT_TO_VIEW, device=cameras.device)
    # PyTorch3D's R is for row vectors, world to view, so its transpose brings the light into the world.
    return DirectionalLights(direction=to_light @ cameras.R.transpose(1, 2), device=cameras.device)


class GrayscaleShader(nn.Module):
    """Constant colour in PyTorch3D's directional light, two-sided, by the faces' geometric normals.

    Gives (N, H, W, 1) float32, gray in [0, 1] on white. Each face is shaded once a view, then looked up.
    """

    def forward(
        self, fragments: Fragments, meshes_world: Meshes, cameras: CamerasBase, lights: DirectionalLights
    ) -> Tensor:
        directions = nn.functional.normalize(lights.direction)
        picture = torch.empty_like(fragments.pix_to_face, dtype=torch.float32)
        for n, (normals, turn, shown) in enumerate(_faces_shown(fragments, meshes_world, cameras)):
            cosine = (normals @ directions[n] * turn).clamp(min=0)
            picture[n, ..., 0] = _look_up(ALBEDO * (AMBIENT + (1 - AMBIENT) * cosine), shown, 1.0)
        return picture


def normal_maps(fragments: Fragments, meshes_world: Meshes, cameras: CamerasBase) -> Tensor:
    """(N, H, W, 3) int8 normals, as the head of this file has them."""
    maps = [
        _look_up((127 * turn[:, None] * normals @ cameras.R[n]).round().to(torch.int8), shown, 0)
        for n, (normals, turn, shown) in enumerate(_faces_shown(fragments, meshes_world, cameras))
    ]
    return torch.stack(maps)


def depth_maps(fragments: Fragments, meshes_world: Meshes, cameras: CamerasBase) -> Tensor:
    """(N, H, W) float16 depth, as the head of this file has it."""
    return fragments.zbuf[..., 0].clamp(min=0).half()


MAPS: dict[str, Callable[[Fragments, Meshes, CamerasBase], Tensor]] = {"depth": depth_maps, "normals": normal_maps}


def _faces_shown(
    fragments: Fragments, meshes_world: Meshes, cameras: CamerasBase
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """For each view the normals of its mesh's faces (F, 3), their signs (F,) towards the camera, and which is where.

    The last is (H, W) int64 in 0..F-1, and -1 on the background.
    """
    starts = meshes_world.mesh_to_faces_packed_first_idx()
    counts = meshes_world.num_faces_per_mesh()
    normals = nn.functional.normalize(
        meshes_world.faces_normals_packed()
    )  # PyTorch3D leaves tiny faces' shorter than 1
    planes = (normals * meshes_world.verts_packed()[meshes_world.faces_packed()[:, 0]]).sum(dim=1)
    for n, centre in enumerate(cameras.get_camera_center()):
        mesh = n % len(meshes_world)
        own = slice(starts[mesh], starts[mesh] + counts[mesh])
        turn = torch.where(normals[own] @ centre < planes[own], -1.0, 1.0)
        shown = fragments.pix_to_face[n, ..., 0]
        yield normals[own], turn, (shown - starts[mesh]).clamp(min=-1) if mesh else shown


def _look_up(values: Tensor, shown: Tensor, background: float) -> Tensor:
    """(H, W, ...): the value (F, ...) of the face that each pixel of (H, W) shows, or the background's at -1."""
    return torch.cat([values, torch.full_like(values[:1], background)])[shown]


def make_renderer(
    device: str, height: int, width: int, face_count: int, depth: bool = False
) -> MeshRendererWithFragments:
    """The renderer of the stage: Embree's rays on a CPU, PyTorch3D's rasterizer on CUDA.

    It is called with meshes, `cameras` and their `lights`. The rasterizer's bins can't overflow (and lose faces): each
    has room for every face, and meshes too large for that are rasterized without bins.
    """
    binned = face_count <= BIN_ROOM
    settings = RasterizationSettings(
        (height, width), bin_size=None if binned else 0, max_faces_per_bin=face_count if binned else None
    )
    rasterizer: nn.Module = MeshRasterizer(raster_settings=settings)
    if device == "cpu":
        rasterizer = rays.RayRasterizer(None, settings, threads=1, faces_only=not depth)
    return MeshRendererWithFragments(rasterizer, GrayscaleShader())


def render(
    mesh: Mesh, drawn: np.ndarray, height: int, width: int, device: str = "cpu", maps: Sequence[str] = ()
) -> tuple[np.ndarray, ...]:
    """Pictures of a normalised mesh from the cameras of `draw_cameras`, a few at a time.

    Returns:
        Views (V, H, W) uint8, masks (V, H, W) bool, and each of `maps` in turn: `depth`, `normals`, as the head of this
        file has them.
    """
    scene = Meshes(
        [torch.from_numpy(mesh.vertices.astype(np.float32))],
        [torch.from_numpy(np.ascontiguousarray(mesh.faces))],
    ).to(device)
    renderer = make_renderer(device, height, width, len(mesh.faces), "depth" in maps)
    at_once = VIEWS_AT_ONCE if device == "cpu" else max(1, min(VIEWS_AT_ONCE, BIN_ROOM // len(mesh.faces)))
    whole: list[np.ndarray] = []
    for first in range(0, len(drawn), at_once):
        cameras = make_cameras(drawn[first : first + at_once], device)
        # PyTorch3D's own rasterizer wants a mesh a camera.
        meshes = scene if device == "cpu" else scene.extend(len(cameras.R))
        picture, fragments = renderer(meshes, cameras=cameras, lights=make_lights(cameras))
        made = [picture[..., 0].mul_(255).round_().to(torch.uint8), fragments.pix_to_face[..., 0] >= 0]
        made += [MAPS[name](fragments, meshes, cameras) for name in maps]
        parts = [part.cpu().numpy() for part in made]
        whole = whole or [np.empty((len(drawn), *part.shape[1:]), part.dtype) for part in parts]
        for array, part in zip(whole, parts, strict=True):
            array[first : first + at_once] = part
    return tuple(whole)


def compute(model: str, mesh: Mesh, affine: np.ndarray, params: Params) -> records.Record:
    """The record of one model; `model` is its synset/id."""
    drawn = draw_cameras(model, np.linalg.norm(mesh.vertices, axis=1).max(), params)
    maps = [name for name in MAPS if getattr(params, name)]
    views, masks, *extra = render(mesh, drawn, params.height, params.width, machine.device(), maps)
    matrix = make_cameras(drawn).get_world_to_view_transform().get_matrix()
    return {
        "views": views,
        "masks": np.packbits(masks, axis=-1),
        "cameras": drawn,
        "world_to_view": matrix.transpose(1, 2).numpy(),
        **dict(zip(maps, extra, strict=True)),
    }


def main(category: str) -> None:
    dataset = load("dataset", Dataset)
    gpu = machine.device() == "cuda"
    code = records.code_sha256(rays, *ready.MODULES, sys.modules[__name__])
    job = records.Job("render", compute, load("render", Params), code, ready.views)
    entries = catalog.read_table(catalog.CATALOG / f"{category}.csv")
    records.make(job, Path(dataset.root), entries, records.RENDERS / f"{category}.zip", dataset.max_rejected, gpu)
