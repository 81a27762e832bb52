"""Stage voxelize: the solid grid and surface points of every model of a category, in parallel.

    python -m pipeline.voxelize 03001627

Reads data/catalog/<category>.csv and the meshes, writes data/voxels/<category>.zip (see `records/records.py`). A record
has `occupancy` (R*R*R/8,) uint8 packed, `points` (P, 3) float32 on the outer surface, `affine` (4, 4) float64 from the
normalised frame to the source's, `notes` (3,) float32 (fill ratio, components, disagreement; see `geometry/solid.py`).
Models without a mesh have the grid that their data set brings (see `records/ready.py`).
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pipeline.runtime.command import CATEGORY, run

    run("pipeline.voxelize", CATEGORY)

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import catalog
from pipeline.geometry.meshes import Mesh
from pipeline.geometry.points import outer_points
from pipeline.records import ready, records
from pipeline.runtime.params import Dataset, load

GRIDS = ("computed", "ready")
MODES = ("solid", "surface")
MODULES = ("pipeline.geometry.solid", "pipeline.geometry.patches", *ready.MODULES, "pipeline.voxelize")


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
    """The record of one model; `model` is its synset/id."""
    from pipeline.geometry import solid  # Open3D and SciPy, for which nobody waits who needs no record

    if params.mode == "surface":
        grid = solid.surface(mesh.vertices, mesh.faces, params.resolution)
        note = solid.noted(grid)
    else:
        grid, note = solid.solid(mesh.vertices, mesh.faces, params.resolution)
    points = outer_points(mesh, grid, params.points, records.seeded(params.seed, model, "points"))
    return {
        "occupancy": np.packbits(grid),
        "points": points,
        "affine": affine,
        "notes": np.array([note.fill_ratio, note.components, note.disagreement], np.float32),
    }


def job(params: Params) -> records.Job:
    """How this stage makes a record."""
    return records.Job("voxelize", compute, params, MODULES, ready.grid)


def main(category: str) -> None:
    dataset = load("dataset", Dataset)
    entries = catalog.read_table(catalog.CATALOG / f"{category}.csv")
    out = records.VOXELS / f"{category}.zip"
    records.make(job(load("voxelize", Params)), Path(dataset.root), entries, out, dataset.max_rejected)
