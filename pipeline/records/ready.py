"""What a data set brings ready-made, as the records that `render` and `voxelize` would make.

Views are taken wherever there are any, with their cameras brought into the normalised frame. Grids are taken where
there is no mesh, cell for cell, and otherwise if `voxelize.grids` says so, brought into the normalised frame of the
mesh. A model without a mesh is in the frame of its grid: the unit cube is the cube of the grid.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.geometry import meshes
from pipeline.geometry.isosurface import marching_cubes
from pipeline.geometry.meshes import Mesh, MeshError
from pipeline.geometry.points import outer_points
from pipeline.records.records import Record, seeded
from pipeline.sources.layout import Grid, ModelRef, Views
from pipeline.sources.registry import LAYOUTS, rotation

MODULES = (
    "pipeline.sources.binvox",
    "pipeline.geometry.isosurface",
    "pipeline.sources.layout",
    "pipeline.geometry.looks.levels",
    "pipeline.sources.mat",
    "pipeline.sources.cutting.uniform",
    "pipeline.sources.renderings",
    "pipeline.sources.pictures",
    "pipeline.geometry.points",
    __name__,
)  # code that has a say in these records


def views(root: Path, ref: ModelRef, params: Any) -> Record | None:
    """The views of a model that brings some, None for one that has to be rendered; `params` are section `render`.

    `views` and `masks` are as `render` has them. So are `cameras` and `world_to_view`, but that these cameras may look
    past the origin; NaN where the data set tells no cameras. Where colours are asked for, `color` has them of the very
    pictures.

    Raises:
        MeshError: `no_views` (nor a mesh), `no_maps` (depth or normals were asked for, or colours that they do not
            have), `bad_view`.
    """
    source = LAYOUTS[ref.layout]
    if not (ref.views and source.views):
        if ref.mesh:
            return None
        raise MeshError("no_views", "expected views, or a mesh to render, found neither")
    if params.depth or params.normals:
        raise MeshError("no_maps", "expected render.depth and render.normals off for ready-made views")
    try:
        made = source.views(root, ref, (params.height, params.width))
    except MeshError:
        raise
    except ValueError as error:
        raise MeshError("bad_view", str(error)) from error
    if params.color and made.color is None:
        raise MeshError("no_maps", "expected render.color off for ready-made views without colours")
    known = np.isfinite(made.source_to_view).any()
    matrix = world_to_view(made.source_to_view, _affine(root, ref)) if known else made.source_to_view
    return {
        "views": made.views,
        "masks": np.packbits(made.masks, axis=-1),
        "cameras": cameras(matrix, made),
        "world_to_view": matrix.astype(np.float32),
        **({"color": made.color()} if params.color and made.color else {}),
    }


def world_to_view(source_to_view: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """(V, 4, 4) from the normalised frame to view frames in its units, for an `affine` from it to the source's.

    Raises:
        MeshError: `bad_view`: a pose is no rotation with a scale.
    """
    matrix = source_to_view @ affine
    volume = np.linalg.det(matrix[:, :3, :3])
    if not (volume > 0).all():
        raise MeshError("bad_view", f"expected poses without mirroring, got determinants from {volume.min():.3g}")
    matrix[:, :3] /= np.cbrt(volume)[:, None, None]
    turn = matrix[:, :3, :3]
    error = np.abs(turn @ turn.transpose(0, 2, 1) - np.eye(3)).max()
    if error > 1e-3:
        raise MeshError("bad_view", f"expected rotations in the poses, got matrices off by {error:.3g}")
    return matrix


def cameras(matrix: np.ndarray, made: Views) -> np.ndarray:
    """(V, 4) float32 azimuth_deg, elevation_deg, distance, fov_deg: PyTorch3D's angles of the cameras' centres."""
    x, y, z = -np.einsum("vij,vi->jv", matrix[:, :3, :3], matrix[:, :3, 3])
    distance = np.linalg.norm([x, y, z], axis=0)
    azimuth = np.degrees(np.arctan2(x, z)) % 360
    elevation = np.degrees(np.arcsin(np.clip(y / distance, -1, 1)))
    return np.stack([azimuth, elevation, distance, made.fov_deg], axis=1).astype(np.float32)


def grid(root: Path, ref: ModelRef, params: Any) -> Record | None:
    """The grid and surface points of a model that brings a grid, None for one that has to be voxelized.

    `params` are section `voxelize`.

    Raises:
        MeshError: `no_grid` (nor a mesh, or although grids should be ready), `resolution`, `empty_grid`, `bad_grid`.
    """
    if ref.mesh and params.grids == "computed":
        return None
    from pipeline.geometry import solid  # Open3D and SciPy

    source = LAYOUTS[ref.layout]
    if not (ref.grid and source.grid):
        raise MeshError("no_grid", "expected a ready-made grid, found none")
    found = source.grid(root, ref)
    if ref.mesh:
        mesh, affine = _normalised(root, ref)
        occupancy = resampled(found, affine, params.resolution)
    else:
        occupancy, affine = pooled(found.occupancy, params.resolution), found.affine
        mesh = Mesh(*marching_cubes(occupancy))
    if not occupancy.any():
        raise MeshError("empty_grid", "expected full cells in the ready-made grid, found none")
    rng = seeded(params.seed, f"{ref.synset}/{ref.model_id}", "points")
    points, uncovered = outer_points(mesh, occupancy, params.points, rng)
    return {
        "occupancy": np.packbits(occupancy),
        "points": points,
        "affine": affine,
        "notes": replace(solid.noted(occupancy), uncovered=uncovered).row(),
    }


def pooled(occupancy: np.ndarray, resolution: int) -> np.ndarray:
    """(S, S, S) bool -> (R, R, R) bool, S a multiple of R: a cell is full where any of its parts is.

    Raises:
        MeshError: `resolution`: it is none; the message says which resolutions fit.
    """
    side = len(occupancy)
    if side % resolution:
        fits = ", ".join(str(n) for n in range(2, side + 1) if side % n == 0)
        raise MeshError(
            "resolution", f"expected voxelize.resolution to divide a grid of {side}^3 ({fits}), got {resolution}"
        )
    parts = occupancy.reshape([n for _ in range(3) for n in (resolution, side // resolution)])
    return np.logical_or.reduce(parts, axis=(1, 3, 5))


def resampled(source: Grid, affine: np.ndarray, resolution: int) -> np.ndarray:
    """A grid in the normalised frame of a mesh, (R, R, R) bool; `affine` is from there to the frame of the data set.

    A cell is full where one of the evenly spread points in it lies in a full cell of the source; there is at least a
    point for every such cell.
    """
    move = np.linalg.inv(source.affine) @ affine
    side, step = len(source.occupancy), np.diag(move)[:3]
    count = resolution * max(1, int(np.ceil(step.max() * side / resolution - 1e-9)))
    samples = (np.arange(count) + 0.5) / count - 0.5
    places = np.floor((samples[:, None] * step + move[:3, 3] + 0.5) * side).clip(-1, side).astype(int) + 1
    return pooled(np.pad(source.occupancy, 1)[np.ix_(*places.T)], resolution)


def _affine(root: Path, ref: ModelRef) -> np.ndarray:
    """(4, 4) from the normalised frame of a model to the frame of its source."""
    source = LAYOUTS[ref.layout]
    if ref.mesh:
        return _normalised(root, ref)[1]
    if ref.grid and source.grid:
        return source.grid(root, ref).affine
    return np.block([[rotation(ref).T, np.zeros((3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]])


def _normalised(root: Path, ref: ModelRef) -> tuple[Mesh, np.ndarray]:
    return meshes.normalise(meshes.read(ref.read(root), ref.extension), rotation(ref))
