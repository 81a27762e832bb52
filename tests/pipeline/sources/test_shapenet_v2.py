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


def test_the_ready_made_grid_is_where_the_mesh_is(tmp_path: Path) -> None:
    trees.write_shapenet_v2(tmp_path, ["a"])
    (model,), _ = find(tmp_path)
    mesh, affine = meshes.normalise(meshes.read(model.ref.read(tmp_path), "obj"))
    for resolution in (32, 64, 100):
        record = ready.grid(tmp_path, model.ref, voxelize.Params(0, resolution, 100, grids="ready"))
        assert record is not None and np.array_equal(record["affine"], affine)
        cells = np.unpackbits(record["occupancy"])[: resolution**3].reshape((resolution,) * 3).astype(bool)
        computed, _ = solid.solid(mesh.vertices, mesh.faces, resolution)
        assert (cells & computed).sum() / (cells | computed).sum() > 0.9
        assert np.allclose((np.abs(record["points"]) / (trees.HALF * 15 / 16 / 0.8)).max(axis=1), 1, atol=1e-5)
