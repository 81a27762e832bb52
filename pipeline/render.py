"""Stage render: grayscale views of every model of a category, with PyTorch3D.

    python -m pipeline.render 03001627

Reads data/catalog/<synset>.csv and the meshes, writes data/renders/<synset>.zip (see `records.py`). A record has
`views` (V, H, W) uint8 on white, `masks` (V, H, W/8) uint8 packed, `cameras` (V, 4) float32 (azimuth_deg,
elevation_deg, distance, fov_deg) and `world_to_view` (V, 4, 4) float32 for column vectors.

A camera looks at the origin of the normalised frame (drawn in `meshes.py`) from azimuth and elevation in degrees, as
PyTorch3D's `look_at_view_transform` has them: azimuth 0 is on +Z, behind the object, 180 in front of it, 90 on +X.
The light comes over the camera's left shoulder. Both sides of a face are lit alike, by its geometric normal, as the
windings and normals of CAD models are not to be trusted; materials and textures are left out.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pytorch3d.renderer import (
    DirectionalLights,
    FoVPerspectiveCameras,
    MeshRasterizer,
    MeshRenderer,
    RasterizationSettings,
    look_at_view_transform,
)
from pytorch3d.renderer.cameras import CamerasBase
from pytorch3d.renderer.mesh.rasterizer import Fragments
from pytorch3d.structures import Meshes
from torch import Tensor, nn

from pipeline import catalog, machine, rays, records
from pipeline.command import run
from pipeline.meshes import Mesh
from pipeline.params import Dataset, load

ALBEDO, AMBIENT = 0.85, 0.35  # brightness of the object in full light, and the share of it that shade keeps
LIGHT_TO_VIEW = (0.5, 0.7, -1.0)  # towards the light in the view frame (+X left, +Y up, +Z inward)
BIN_LIMIT = 200_000  # faces past which coarse bins on a GPU would take more memory than they save time


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
    """

    seed: int
    views: int
    height: int
    width: int
    fov_deg: float
    elevation_deg: tuple[float, float]
    distance: tuple[float, float]

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


class GrayscaleShader(nn.Module):
    """Constant colour in PyTorch3D's directional light, two-sided, by the faces' geometric normals.

    Only pixels that show a face are shaded. Gives (N, H, W, 2) float32: gray in [0, 1] on white, and alpha.
    """

    def __init__(self, cameras: CamerasBase, lights: DirectionalLights):
        super().__init__()
        self.cameras, self.lights = cameras, lights

    def forward(self, fragments: Fragments, meshes_world: Meshes) -> Tensor:
        faces = fragments.pix_to_face[..., 0]
        picture = faces.new_ones((*faces.shape, 2), dtype=torch.float32)
        picture[..., 1] = faces >= 0
        normals = meshes_world.faces_normals_packed()
        first = meshes_world.verts_packed()[meshes_world.faces_packed()[:, 0]]
        centres, directions = self.cameras.get_camera_center(), self.lights.direction
        for n in range(len(faces)):
            hit = faces[n] >= 0
            shown, inverse = torch.unique(faces[n][hit], return_inverse=True)
            normal = normals[shown]
            away = ((centres[n] - first[shown]) * normal).sum(dim=1) < 0
            normal = torch.where(away[:, None], -normal, normal)
            light = DirectionalLights(
                ambient_color=((AMBIENT,) * 3,),
                diffuse_color=((1 - AMBIENT,) * 3,),
                direction=directions[n : n + 1],
                device=normal.device,
            )
            brightness = AMBIENT + light.diffuse(normals=normal, points=None)[:, 0]
            picture[n, ..., 0][hit] = ALBEDO * brightness[inverse]
        return picture


def make_renderer(cameras: CamerasBase, height: int, width: int, face_count: int) -> MeshRenderer:
    """The renderer of the stage: Embree's rays on a CPU, PyTorch3D's rasterizer on CUDA.

    Its bins can't overflow (and lose faces): each has room for every face, and meshes too large for that are rasterized
    without bins.
    """
    if cameras.device.type == "cpu":
        settings = RasterizationSettings(image_size=(height, width))
        rasterizer: nn.Module = rays.RayRasterizer(cameras, settings, threads=1)
    else:
        binned = {"max_faces_per_bin": face_count} if face_count <= BIN_LIMIT else {"bin_size": 0}
        rasterizer = MeshRasterizer(cameras, RasterizationSettings(image_size=(height, width), **binned))
    to_light = torch.tensor(LIGHT_TO_VIEW, device=cameras.device)
    # PyTorch3D's R is for row vectors, world to view, so its transpose brings the light into the world.
    lights = DirectionalLights(direction=to_light @ cameras.R.transpose(1, 2), device=cameras.device)
    return MeshRenderer(rasterizer, GrayscaleShader(cameras, lights))


def render(
    mesh: Mesh, drawn: np.ndarray, height: int, width: int, device: str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """Views (V, H, W) uint8 and masks (V, H, W) bool of a normalised mesh from the cameras of `draw_cameras`."""
    cameras = make_cameras(drawn, device)
    scene = Meshes(
        [torch.from_numpy(mesh.vertices.astype(np.float32))],
        [torch.from_numpy(np.ascontiguousarray(mesh.faces))],
    ).to(device)
    renderer = make_renderer(cameras, height, width, len(mesh.faces))
    if device != "cpu":  # PyTorch3D's own rasterizer wants a mesh a camera
        scene = scene.extend(len(drawn))
    picture = renderer(scene).cpu()
    views = (picture[..., 0] * 255).round().to(torch.uint8).numpy()
    return views, picture[..., 1].numpy() > 0


def compute(model: str, mesh: Mesh, affine: np.ndarray, params: Params) -> records.Record:
    """The record of one model; `model` is its synset/id."""
    drawn = draw_cameras(model, np.linalg.norm(mesh.vertices, axis=1).max(), params)
    views, masks = render(mesh, drawn, params.height, params.width, machine.device())
    matrix = make_cameras(drawn).get_world_to_view_transform().get_matrix()
    return {
        "views": views,
        "masks": np.packbits(masks, axis=-1),
        "cameras": drawn,
        "world_to_view": matrix.transpose(1, 2).numpy(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("synset")
    synset = parser.parse_args().synset
    dataset = load("dataset", Dataset)
    alone = 1 if machine.device() == "cuda" else None  # processes would only compete for the memory of one GPU
    code = records.code_sha256(rays, sys.modules[__name__])
    job = records.Job("render", compute, load("render", Params), code)
    entries = catalog.read_table(catalog.CATALOG / f"{synset}.csv")
    records.make(job, Path(dataset.root), entries, records.RENDERS / f"{synset}.zip", dataset.max_rejected, alone)


if __name__ == "__main__":
    run("pipeline.render")
