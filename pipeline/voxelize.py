"""Stage voxelize: the solid grid and surface points of every model of a category, in parallel.

    python -m pipeline.voxelize 03001627
    python -m pipeline.voxelize 03001627 --rank 3 --world-size 16

Reads data/catalog/<category>.csv and the meshes, writes data/voxels/<category>.zip (see `records/records.py`), or
of a job of several its part of the records into the cache.

A record has `occupancy` (R*R*R/8,) uint8 packed, `points` (P, 3) float32 on the outer surface, `affine` (4, 4) float64
from the normalised frame to the source's, `notes` (5,) float32, a `Note` of `geometry/solid.py`. Models without a mesh
have the grid that their data set brings (see `records/ready.py`).
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pipeline.runtime.command import CATEGORY, PART, run

    run("pipeline.voxelize", CATEGORY, *PART)

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.geometry.meshes import Mesh, MeshError
from pipeline.geometry.points import outer_points
from pipeline.records import ready, records
from pipeline.records.catalogue import CATALOG, read_table
from pipeline.runtime.params import Dataset, load
from pipeline.sources.survey import root_of

GRIDS = ("computed", "ready")
MODES = ("solid", "surface")
UNCOVERED = (
    0.01  # share of the surface that may have no cell: past it a computed grid is a reject, a ready one is named
)
MODULES = (
    "pipeline.geometry.solid",
    "pipeline.geometry.cut",
    "pipeline.geometry.open3d",
    "pipeline.geometry.patches",
    "pipeline.geometry.mouths",
    *ready.MODULES,
    "pipeline.voxelize",
)


@dataclass(frozen=True)
class Params:
    """Section `voxelize`.

    Attributes:
        seed: of the surface points.
        resolution: R, cells a side.
        points: P, surface points a model.
        grids: `computed` from the meshes where there are any, or `ready`: those that the data set brings.
        mode: `solid`, or `surface`: of computed grids, only the cells that a triangle touches.
    """

    seed: int
    resolution: int
    points: int
    grids: str = "computed"
    mode: str = "solid"

    def __post_init__(self) -> None:
        if not 2 <= self.resolution <= 512:
            raise ValueError(f"resolution: expected 2 to 512 cells a side, got {self.resolution}")
        if self.points < 1:
            raise ValueError(f"points: expected at least 1, got {self.points}")
        if self.grids not in GRIDS:
            raise ValueError(f"grids: expected {' or '.join(GRIDS)}, got '{self.grids}'")
        if self.mode not in MODES:
            raise ValueError(f"mode: expected {' or '.join(MODES)}, got '{self.mode}'")


def compute(model: str, mesh: Mesh, affine: np.ndarray, params: Params) -> records.Record:
    """The record of one model; `model` is its synset/id.

    Raises:
        MeshError: `uncovered`: cells are missing at more than UNCOVERED of the surface.
    """
    from pipeline.geometry import solid  # Open3D and SciPy, for which nobody waits who needs no record

    if params.mode == "surface":
        grid = solid.surface(mesh.vertices, mesh.faces, params.resolution)
        note = solid.noted(grid)
    else:
        grid, note = solid.solid(mesh.vertices, mesh.faces, params.resolution)
    points, uncovered = outer_points(mesh, grid, params.points, records.seeded(params.seed, model, "points"))
    if uncovered > UNCOVERED:
        raise MeshError("uncovered", f"expected cells all along the surface, got none at {uncovered:.2%} of it")
    return {
        "occupancy": np.packbits(grid),
        "points": points,
        "affine": affine,
        "notes": replace(note, uncovered=uncovered).row(),
    }


def job(params: Params) -> records.Job:
    """How this stage makes a record."""
    return records.Job("voxelize", compute, params, MODULES, ready.grid)


def main(category: str, rank: int | None = None, world_size: int | None = None) -> None:
    part = records.part_of(rank, world_size)
    dataset = load("dataset", Dataset)
    entries = read_table(CATALOG / f"{category}.csv")
    out = records.VOXELS / f"{category}.zip"
    params = load("voxelize", Params)
    records.make(job(params), root_of(dataset), entries, out, dataset.max_rejected, part=part)
    if params.grids == "ready" and not part:
        warn_of_thin(out)


def warn_of_thin(path: Path) -> None:
    """Prints which grids of an archive lack cells at more than UNCOVERED of their mesh's surface, if any do."""
    with records.Archive(path) as archive:
        bare = {name: float(archive[name]["notes"][-1]) for name in archive.model_ids}
    thin = sorted((name for name in bare if bare[name] > UNCOVERED), key=lambda name: (-bare[name], name))
    if thin:
        print(
            f"voxelize {path.stem}: warning: {len(thin)} of {len(bare)} ready-made grids have no cell at more than "
            f"{UNCOVERED:.0%} of their mesh's surface ({thin[0]}: {bare[thin[0]]:.1%}); voxelize.grids: computed has",
            flush=True,
        )
