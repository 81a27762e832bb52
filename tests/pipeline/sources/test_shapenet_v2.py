from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline import voxelize
from pipeline.geometry import meshes, solid
from pipeline.records import ready
from pipeline.sources.registry import find
from tests.meshes import CHAIR
from tests.pipeline.sources import trees


def test_grids_lie_beside_the_meshes(tmp_path: Path) -> None:
    trees.write_shapenet_v2(tmp_path, ["a", "b"])
    folder = tmp_path / CHAIR / "b" / "models"
    (folder / "model_normalized.solid.binvox").unlink()
    (folder / "model_normalized.surface.binvox").touch()
    a, b = (model.ref for model in find(tmp_path)[0])
    assert a.grid == f"{CHAIR}/a/models/model_normalized.solid.binvox" and b.grid == ""


def test_a_grid_without_a_mesh_is_a_model_of_its_own(tmp_path: Path) -> None:
    trees.write_shapenet_v2(tmp_path, ["a", "b"])
    (tmp_path / CHAIR / "b" / "models" / "model_normalized.obj").unlink()
    a, b = (model.ref for model in find(tmp_path)[0])
    assert a.mesh and not b.mesh and b.grid == f"{CHAIR}/b/models/model_normalized.solid.binvox"
    record = ready.grid(tmp_path, b, voxelize.Params(0, 64, 100, grids="ready"))
    assert record is not None and record["notes"][0] == np.unpackbits(record["occupancy"]).mean()


def test_what_a_ready_made_grid_lacks_of_the_surface_is_noted(tmp_path: Path) -> None:
    trees.write_shapenet_v2(tmp_path, ["a"])
    path = tmp_path / CHAIR / "a" / "models" / "model_normalized.solid.binvox"
    grid = np.roll(trees.box_grid(128, trees.HALF / 0.8), (-16, 0, -48), (0, 1, 2))
    params = voxelize.Params(0, 64, 2000, grids="ready")
    uncovered = []
    for kept in (grid, grid & (np.arange(128) < 64)[:, None]):  # all of it, and its lower half
        trees.write(path, trees.binvox(kept, tuple(-trees.HALF), 0.8))
        record = ready.grid(tmp_path, find(tmp_path)[0][0].ref, params)
        assert record is not None
        uncovered.append(record["notes"][4])
    x, y, z = trees.HALF
    upper = (2 * (x + z) * y + 2 * x * z) / (4 * (x * y + y * z + z * x))
    assert uncovered[0] == 0 and uncovered[1] == np.float32(uncovered[1]) and abs(uncovered[1] - upper) < 0.05


def test_the_ready_made_grid_is_where_the_mesh_is(tmp_path: Path) -> None:
    trees.write_shapenet_v2(tmp_path, ["a"])
    (model,) = find(tmp_path).models
    mesh, affine = meshes.normalise(meshes.read(model.ref.read(tmp_path), "obj"))
    for resolution in (32, 64, 100):
        record = ready.grid(tmp_path, model.ref, voxelize.Params(0, resolution, 100, grids="ready"))
        assert record is not None and np.array_equal(record["affine"], affine)
        cells = np.unpackbits(record["occupancy"])[: resolution**3].reshape((resolution,) * 3).astype(bool)
        computed, _ = solid.solid(mesh.vertices, mesh.faces, resolution)
        assert (cells & computed).sum() / (cells | computed).sum() > 0.9
        assert np.allclose((np.abs(record["points"]) / (trees.HALF * 15 / 16 / 0.8)).max(axis=1), 1, atol=1e-5)
