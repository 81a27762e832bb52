"""Stage render: grayscale views of every model of a category, and colour pictures, with PyTorch3D.

    python -m pipeline.render 03001627
    python -m pipeline.render 03001627 --rank 3 --world-size 16

Reads data/catalog/<category>.csv and the meshes, writes data/renders/<category>.zip (see `records/records.py`), or
of a job of several its part of the records into the cache.

A record has `views` (V, H, W) uint8 on white, `masks` (V, H, W/8) uint8 packed, `cameras` (V, 4) float32 (azimuth_deg,
elevation_deg, distance, fov_deg) and `world_to_view` (V, 4, 4) float32 for column vectors. Where asked for, also
`depth` (V, H, W) float16, along the view axis in units of the normalised frame (in steps of 1/512 from 2 to 4), and
`normals` (V, H, W, 3) int8, 127 x the unit geometric normal, turned to the camera, in the view frame (+X left, +Y up,
+Z inward); both are 0 on the background. And `color` (V, H, W, 3) uint8 on white: the very views in the colours of the
model's materials, textures and vertices (`geometry/looks/appearance.py`), in the same light; what has none is gray.
Where some of these are damaged, the model is drawn without them, and `remark` () str says so.

A camera looks at the origin of the normalised frame (drawn in `geometry/meshes.py`) from azimuth and elevation in
degrees, as PyTorch3D's `look_at_view_transform` has them: azimuth 0 is on +Z, behind the object, 180 in front of it, 90
on +X. The light comes over the camera's left shoulder, or from about there (`light_deg`). Both sides of a face are lit
alike, by its geometric normal, as the windings and normals of CAD models are not to be trusted.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pipeline.runtime.command import CATEGORY, PART, run

    run("pipeline.render", CATEGORY, *PART)

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.geometry.looks.appearance import Painted
from pipeline.geometry.meshes import Mesh
from pipeline.records import ready, records
from pipeline.records.catalogue import CATALOG, read_table
from pipeline.runtime import machine
from pipeline.runtime.params import Dataset, load
from pipeline.sources.survey import root_of

MODULES = (
    "pipeline.geometry.renderer",
    "pipeline.geometry.rays",
    "pipeline.geometry.open3d",
    *ready.MODULES,
    "pipeline.render",
)
HOW = {
    "cpu": "rays on the CPU, 370 views/s a core, where PyTorch3D's rasterizer on an H100 makes 285 in all",
    "cuda": "PyTorch3D's rasterizer on the GPU, as ONEVIEW_DEVICE says",
}


@dataclass(frozen=True)
class Params:
    """Section `render`.

    Attributes:
        seed: of the cameras.
        views: V, views a model.
        height, width: of a view, in pixels.
        fov_deg: range of the field of view along the shorter side.
        elevation_deg: range from which a view's is drawn uniformly; azimuth is drawn from the full circle.
        distance: range of the distance from the origin, where 1 is the least at which the whole model is surely in the
            picture: its bounding sphere about the origin just fits.
        depth, normals: whether these maps are made as well.
        light_deg: most by which the light of a view is turned from where it comes from otherwise, in any direction.
        color: whether colour pictures are made as well.
    """

    seed: int
    views: int
    height: int
    width: int
    fov_deg: tuple[float, float]
    elevation_deg: tuple[float, float]
    distance: tuple[float, float]
    depth: bool
    normals: bool
    light_deg: float = 0.0
    color: bool = False

    def __post_init__(self) -> None:
        if min(self.views, self.height, self.width) < 1:
            raise ValueError(f"views: expected sizes of at least 1, got {self.views} of {self.height}x{self.width}")
        if not 0 < self.fov_deg[0] <= self.fov_deg[1] < 180:
            raise ValueError(f"fov_deg: expected a range within (0, 180), got {list(self.fov_deg)}")
        if not -90 < self.elevation_deg[0] <= self.elevation_deg[1] < 90:
            raise ValueError(f"elevation_deg: expected a range within (-90, 90), got {list(self.elevation_deg)}")
        if not 1 <= self.distance[0] <= self.distance[1]:
            raise ValueError(f"distance: expected a range from 1 up, got {list(self.distance)}")
        if not 0 <= self.light_deg <= 90:
            raise ValueError(f"light_deg: expected degrees from 0 to 90, got {self.light_deg}")


def draw_cameras(model: str, radius: float, params: Params) -> np.ndarray:
    """(V, 4) float32 azimuth_deg, elevation_deg, distance, fov_deg of the views of a model.

    Drawn by the seed and the model's synset/id, so that no model's views depend on another's. `radius` is that of its
    bounding sphere about the origin; distances come out in the units of the normalised frame.
    """
    rng = records.seeded(params.seed, model, "cameras")
    azimuth = rng.uniform(0, 360, params.views)
    elevation = rng.uniform(*params.elevation_deg, params.views)
    fov = records.seeded(params.seed, model, "fields of view").uniform(*params.fov_deg, params.views)
    nearest = radius / np.sin(np.radians(fov) / 2)
    distance = rng.uniform(*params.distance, params.views) * nearest
    return np.stack([azimuth, elevation, distance, fov], axis=1).astype(np.float32)


def draw_lights(model: str, params: Params) -> np.ndarray:
    """(V, 3) float32 directions towards the light, in the view frame, drawn as the cameras are."""
    from pipeline.geometry.renderer import LIGHT_TO_VIEW

    rng, usual = records.seeded(params.seed, model, "lights"), np.array(LIGHT_TO_VIEW)
    # Evenly over the cap of the sphere: the cosine is uniform (Archimedes).
    turned = np.arccos(1 - rng.random(params.views) * (1 - np.cos(np.radians(params.light_deg))))[:, None]
    aside = rng.standard_normal((params.views, 3))
    aside -= (aside @ usual)[:, None] / (usual @ usual) * usual
    aside *= np.linalg.norm(usual) / np.linalg.norm(aside, axis=1, keepdims=True)
    return (np.cos(turned) * usual + np.sin(turned) * aside).astype(np.float32)


def compute(model: str, mesh: Mesh, affine: np.ndarray, params: Params) -> records.Record:
    """The record of one model; `model` is its synset/id."""
    return together([(model, mesh, affine)], params)[0]


def together(models: Sequence[tuple[str, Mesh, np.ndarray]], params: Params) -> list[records.Record]:
    """What `compute` gives for each of some models, whose views share batches on a GPU."""
    from pipeline.geometry import renderer  # PyTorch3D and Open3D, for which nobody waits who needs no record

    scenes = []
    for model, mesh, _ in models:
        cameras = draw_cameras(model, np.linalg.norm(mesh.vertices, axis=1).max(), params)
        scenes.append((mesh, np.concatenate([cameras, draw_lights(model, params)], axis=1)))
    maps = [name for name in renderer.MAPS if getattr(params, name)]
    pictures = renderer.render_all(scenes, params.height, params.width, device(), maps)
    lost = [mesh.looks.lost if isinstance(mesh, Painted) else "" for mesh, _ in scenes]
    return [
        {
            "views": views,
            "masks": np.packbits(masks, axis=-1),
            "cameras": drawn[:, :4],
            "world_to_view": renderer.world_to_view(drawn),
            **dict(zip(maps, extra, strict=True)),
            **({records.REMARK: np.array(remark)} if remark else {}),
        }
        for (_, drawn), (views, masks, *extra), remark in zip(scenes, pictures, lost, strict=True)
    ]


def device() -> str:
    """What the pictures are made on; a GPU only where ONEVIEW_DEVICE names it, see HOW."""
    return machine.device(auto="cpu")


def job(params: Params) -> records.Job:
    """How this stage makes a record."""
    return records.Job("render", compute, params, MODULES, ready.views, together, params.color)


def main(category: str, rank: int | None = None, world_size: int | None = None) -> None:
    part = records.part_of(rank, world_size)
    dataset = load("dataset", Dataset)
    gpu = device() == "cuda"
    print(f"render {category}: by {HOW[device()]}")
    entries = read_table(CATALOG / f"{category}.csv")
    out = records.RENDERS / f"{category}.zip"
    own = job(load("render", Params))
    records.make(own, root_of(dataset), entries, out, dataset.max_rejected, gpu, part)
