"""Stage voxelize: the solid grid and surface points of every model of a category, in parallel.

    python -m pipeline.voxelize 03001627

Reads data/catalog/<synset>.csv and the meshes, writes data/voxels/<synset>.zip (see `records.py`). A record has
`occupancy` (R*R*R/8,) uint8 packed, `points` (P, 3) float32 on the outer surface, `affine` (4, 4) float64 from the
normalised frame to the source's, `notes` (3,) float32 (fill ratio, components, disagreement; see `solid.py`).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import catalog, meshes, records, solid
from pipeline.command import run
from pipeline.meshes import Mesh
from pipeline.params import Dataset, load

OVERSAMPLING = 4  # points drawn for each that is kept, as inner walls are left out


@dataclass(frozen=True)
class Params:
    """Section `voxelize`.

    Attributes:
        seed: of the surface points.
        resolution: R, cells a side.
        points: P, surface points a model.
    """

    seed: int
    resolution: int
    points: int

    def __post_init__(self) -> None:
        if not 2 <= self.resolution <= 512:
            raise ValueError(f"resolution: expected 2 to 512 cells a side, got {self.resolution}")
        if self.points < 1:
            raise ValueError(f"points: expected at least 1, got {self.points}")


def compute(model: str, mesh: Mesh, affine: np.ndarray, params: Params) -> records.Record:
    """The record of one model; `model` is its synset/id."""
    grid, note = solid.solid(mesh.vertices, mesh.faces, params.resolution)
    points = outer_points(mesh, grid, params.points, records.seeded(params.seed, model, "points"))
    return {
        "occupancy": np.packbits(grid),
        "points": points,
        "affine": affine,
        "notes": np.array([note.fill_ratio, note.components, note.disagreement], np.float32),
    }


def outer_points(mesh: Mesh, grid: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Points (count, 3) on the part of the surface that is seen from outside, uniform by area.

    A CAD model's inner walls (seats in a car, a part's end inside another) are no part of its shape: a point counts
    where its cell or one of the six around it is free in the solid `grid` (R, R, R).
    """
    resolution = grid.shape[0]
    free = np.pad(~grid, 1, constant_values=True)
    near = free.copy()
    for axis in range(3):
        near |= np.roll(free, 1, axis) | np.roll(free, -1, axis)
    candidates = meshes.sample_surface(mesh.vertices, mesh.faces, count * OVERSAMPLING, rng)
    cells = np.clip(((candidates + 0.5) * resolution).astype(int), 0, resolution - 1) + 1
    outer = candidates[near[tuple(cells.T)]]
    if not len(outer):  # a body wholly inside thick surface cells, at a very low resolution
        outer = candidates
    return outer[rng.choice(len(outer), count, replace=len(outer) < count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("synset")
    synset = parser.parse_args().synset
    dataset = load("dataset", Dataset)
    code = records.code_sha256(solid, sys.modules[__name__])
    job = records.Job("voxelize", compute, load("voxelize", Params), code)
    entries = catalog.read_table(catalog.CATALOG / f"{synset}.csv")
    records.make(job, Path(dataset.root), entries, records.VOXELS / f"{synset}.zip", dataset.max_rejected)


if __name__ == "__main__":
    run("pipeline.voxelize")
