from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh

from pipeline import voxelize
from pipeline.geometry import meshes
from pipeline.geometry import solid as solids
from pipeline.geometry.meshes import Mesh, MeshError
from pipeline.geometry.points import in_cells, outer_points
from pipeline.geometry.solid import solid
from tests.meshes import joined

PARAMS = voxelize.Params(seed=0, resolution=32, points=2000)


def mesh_of(made: trimesh.Trimesh) -> Mesh:
    return meshes.normalise(Mesh(np.asarray(made.vertices), np.asarray(made.faces)))[0]


def test_record_of_a_ball() -> None:
    mesh, affine = mesh_of(trimesh.creation.icosphere(3)), np.diag([2.0, 2, 2, 1])
    record = voxelize.compute("s/ball", mesh, affine, PARAMS)
    grid = np.unpackbits(record["occupancy"]).reshape(32, 32, 32)
    radius = 15 / 32
    # Between the ball of its radius and that of half a cell's diagonal more.
    assert 4 / 3 * np.pi * radius**3 < grid.mean() < 4 / 3 * np.pi * (radius + np.sqrt(3) / 64) ** 3
    assert record["points"].shape == (2000, 3) and record["points"].dtype == np.float32
    assert np.linalg.norm(record["points"], axis=1) == pytest.approx(radius, abs=0.005)
    assert np.array_equal(record["affine"], affine)
    assert record["notes"][0] == pytest.approx(grid.mean()) and record["notes"][1] == 1


def test_surface_mode_leaves_the_inside_empty() -> None:
    mesh = mesh_of(trimesh.creation.box())
    params = voxelize.Params(seed=0, resolution=32, points=50, mode="surface")
    record = voxelize.compute("s/box", mesh, np.eye(4), params)
    grid = np.unpackbits(record["occupancy"]).reshape(32, 32, 32)
    expected = np.zeros((32, 32, 32))  # a box of 30 cells a side, of which 28 are inside
    expected[1:31, 1:31, 1:31] = 1
    expected[2:30, 2:30, 2:30] = 0
    assert np.array_equal(grid, expected)
    assert np.array_equal(record["notes"], np.array([expected.mean(), 1, 0, 0, 0], np.float32))


def test_refuses_other_modes() -> None:
    with pytest.raises(ValueError, match="mode: expected solid or surface, got 'shell'"):
        voxelize.Params(seed=0, resolution=8, points=5, mode="shell")


def test_points_depend_on_seed_and_model() -> None:
    mesh = mesh_of(trimesh.creation.box())
    points = {
        (model, seed): voxelize.compute(model, mesh, np.eye(4), voxelize.Params(seed, 8, 50))["points"].tobytes()
        for model in ("s/a", "s/b")
        for seed in (0, 1)
    }
    assert len(set(points.values())) == 4
    again = voxelize.compute("s/a", mesh, np.eye(4), voxelize.Params(0, 8, 50))["points"].tobytes()
    assert again == points["s/a", 0]


def test_inner_walls_carry_no_points() -> None:
    outer, inner = trimesh.creation.box((1, 1, 1)), trimesh.creation.box((0.4, 0.4, 0.4))
    mesh = mesh_of(joined(outer, inner))
    grid, _ = solid(mesh.vertices, mesh.faces, 32)
    points, uncovered = outer_points(mesh, grid, 3000, np.random.default_rng(0))
    assert uncovered == 0
    assert np.allclose(np.abs(points).max(axis=1), 15 / 32)
    everywhere = meshes.sample_surface(mesh.vertices, mesh.faces, 3000, np.random.default_rng(0))
    assert (np.abs(everywhere).max(axis=1) < 0.3).mean() == pytest.approx(0.16 / 1.16, abs=0.03)


@pytest.mark.parametrize("resolution", [32, 48, 64])
def test_points_lie_in_full_cells_where_faces_lie_on_planes_of_cells(resolution: int) -> None:
    box = trimesh.creation.box((1, 0.5, 0.25))  # normalised, every face lies on a plane of cells at 32 and 64
    sheet = trimesh.Trimesh([(0, -0.5, -0.2), (0, 0.5, -0.2), (0, 0, 0.4)], [(0, 1, 2)])  # and on the middle one
    mesh = mesh_of(joined(box, sheet))
    for moved in (mesh, Mesh(mesh.vertices - 6.2e-18, mesh.faces), Mesh(mesh.vertices * (1 + 1e-15), mesh.faces)):
        grid, _ = solid(moved.vertices, moved.faces, resolution)
        points, uncovered = outer_points(moved, grid, 2000, np.random.default_rng(0))
        assert uncovered == 0
        assert grid[tuple(in_cells(points, resolution).astype(int).T)].all()


def test_what_has_no_cell_is_counted_and_too_much_of_it_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = mesh_of(trimesh.creation.box())
    grid = np.zeros((32, 32, 32), bool)
    grid[:, :16] = True
    # Below the middle plane everything is covered, and a cell's height above it.
    _, uncovered = outer_points(mesh, grid, 20_000, np.random.default_rng(0))
    above = (15 / 32 - 1 / 32) / (15 / 16)
    assert uncovered == pytest.approx((4 * above + 1) / 6, abs=0.01)
    monkeypatch.setattr(solids, "solid", lambda *_: (grid, solids.noted(grid)))
    with pytest.raises(MeshError, match="expected cells all along the surface, got none at [45].") as caught:
        voxelize.compute("s/box", mesh, np.eye(4), PARAMS)
    assert caught.value.reason == "uncovered"


def test_thin_ready_made_grids_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(tmp_path / "chair.zip", "w") as archive:
        archive.writestr("rejects.json", "{}")
        for name, uncovered in (("a", 0.0), ("b", 0.17), ("c", 0.02)):
            content = io.BytesIO()
            np.savez(content, allow_pickle=False, notes=np.array([0.1, 1, 0, 0, uncovered], np.float32))
            archive.writestr(f"{name}.npz", content.getvalue())
    voxelize.warn_of_thin(tmp_path / "chair.zip")
    told = capsys.readouterr().out
    assert "voxelize chair: warning: 2 of 3 ready-made grids" in told and "(b: 17.0%)" in told


def test_points_exist_even_where_every_cell_is_thick() -> None:
    mesh = mesh_of(trimesh.creation.box())
    points, _ = outer_points(mesh, np.ones((2, 2, 2), bool), 10, np.random.default_rng(0))
    assert points.shape == (10, 3)


@pytest.mark.parametrize(("values", "message"), [((0, 1, 5), "resolution: expected 2 to 512"), ((0, 8, 0), "points:")])
def test_refuses_impossible_sizes(values: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        voxelize.Params(*values)
