from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from pipeline.geometry import meshes
from pipeline.geometry.isosurface import marching_cubes
from pipeline.geometry.open3d import o3d
from pipeline.scoring import shapenet
from pipeline.scoring.shapenet import PIX2VOX_THRESHOLDS, occnet, pix2vox


@pytest.fixture(autouse=True)
def fewer_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapenet, "OCCNET_POINTS", 5000)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def box(side: int, *bounds: tuple[int, int]) -> np.ndarray:
    """(side,)^3 bool, full from low to below high."""
    grid = np.zeros((side,) * 3, bool)
    grid[tuple(slice(low, high) for low, high in bounds)] = True
    return grid


def mesh(shape: trimesh.Trimesh) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(shape.vertices, np.float32), np.asarray(shape.faces)


# --- pix2vox


def test_pix2vox_iou_by_hand_counts_a_cell_that_is_at_the_threshold():
    truth = box(32, (4, 20), (4, 20), (4, 20))
    field = np.where(box(32, (4, 12), (4, 20), (4, 20)), 0.5, 0.0).astype(np.float32)
    field[12:28, 4:20, 4:20] = 0.3
    halves = 8 / 16, 16 / 24  # of the cells >= 0.5 half of the truth; of those >= 0.3 all of it, and half as much again
    np.testing.assert_allclose(pix2vox(field, truth, rng())["iou_curve"], [halves[1]] * 2 + [halves[0]] * 2)
    assert PIX2VOX_THRESHOLDS.tolist() == [0.2, 0.3, 0.4, 0.5]


def test_pix2vox_takes_the_maximum_of_finer_cells():
    fine = rng().random((64, 64, 64), np.float32) ** 8
    truth = box(32, (3, 20), (4, 30), (5, 25))
    coarse = fine.reshape(32, 2, 32, 2, 32, 2).max(axis=(1, 3, 5))
    found = pix2vox(fine, truth.repeat(2, 0).repeat(2, 1).repeat(2, 2), rng())
    expected = [(c & truth).sum() / (c | truth).sum() for c in (coarse >= np.float32(t) for t in PIX2VOX_THRESHOLDS)]
    np.testing.assert_allclose(found["iou_curve"], expected)


def dilated(grid: np.ndarray) -> trimesh.Trimesh:
    """The published mesh of a box of cells by hand: its faces lie on the centres of the free cells, 1/33 apart."""
    cells = np.argwhere(grid)
    low, high = cells.min(0) / 33, (cells.max(0) + 2) / 33  # a free border is put around
    bevelled = trimesh.bounds.corners([low, high])
    full = trimesh.bounds.corners([cells.min(0) + 1, cells.max(0) + 1]) / 33
    # Corners and edges are cut off: of every corner cell three free neighbours.
    points = np.concatenate([np.where(np.eye(3, dtype=bool), b, f) for b, f in zip(bevelled, full, strict=True)])
    return trimesh.convex.convex_hull(points)


def test_pix2vox_f_score_is_that_of_the_surface_on_the_free_cells():
    a, b = box(32, (6, 22), (8, 20), (10, 26)), box(32, (6, 22), (8, 20), (10, 25))
    found = pix2vox(a.astype(np.float32), b, rng())["f_score_1%"]
    p, t = (trimesh.sample.sample_surface(dilated(grid), 8192, seed=1)[0] for grid in (a, b))
    precision, recall = (cKDTree(t).query(p)[0] < 0.01).mean(), (cKDTree(p).query(t)[0] < 0.01).mean()
    assert 0.6 < found < 0.9  # a wall is a cell off, which is three times as far as counts
    assert found == pytest.approx(2 * precision * recall / (precision + recall), abs=0.02)


def test_pix2vox_f_score_is_at_three_tenths():
    truth = box(32, (6, 22), (8, 20), (10, 26))
    field = np.where(truth, 0.3, 0.29).astype(np.float32)
    area = 2 * (17 * 13 + 17 * 17 + 13 * 17) / 33**2
    of_itself = 1 - np.exp(-8192 / area * np.pi * 0.01**2)  # points are as dense as that: the best that can be had
    assert pix2vox(field, truth, rng())["f_score_1%"] == pytest.approx(of_itself, abs=0.03)
    assert pix2vox(np.where(truth, np.float32(0.29), 0), truth, rng())["f_score_1%"] == 0


def test_pix2vox_where_nothing_is_there():
    empty = np.zeros((32, 32, 32), bool)
    same = pix2vox(empty.astype(np.float32), empty, rng())
    assert same["iou_curve"].tolist() == [1] * 4 and same["f_score_1%"] == 1
    other = pix2vox(np.ones((32, 32, 32), np.float32), empty, rng())
    assert other["iou_curve"].tolist() == [0] * 4 and other["f_score_1%"] == 0


def test_pix2vox_refuses_other_sizes():
    with pytest.raises(ValueError, match="pix2vox: expected a grid whose side is a multiple of 32, got 48"):
        pix2vox(np.zeros((48, 48, 48)), np.zeros((32, 32, 32), bool), rng())


# --- occnet


def contained(shape: trimesh.Trimesh, points: np.ndarray) -> np.ndarray:
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(shape.vertices.astype(np.float32), shape.faces.astype(np.uint32))
    return scene.compute_occupancy(points.astype(np.float32), nthreads=1, nsamples=3).numpy() > 0


def test_occnet_agrees_with_open3d_trimesh_and_scipy():
    shape = trimesh.creation.icosphere(3, 0.3).apply_scale([1.4, 0.8, 1])
    other = trimesh.creation.annulus(0.15, 0.35, 0.4).apply_transform(
        trimesh.transformations.rotation_matrix(1, [1, 2, 0])
    )
    found = occnet(mesh(shape), mesh(other), rng())
    volume = (rng(1).random((20000, 3)) - 0.5) * 1.1 * 15 / 16
    p, t = (contained(m, volume) for m in (shape, other))
    assert found["iou"] == pytest.approx((p & t).sum() / (p | t).sum(), abs=0.02)
    (a, of_a), (b, of_b) = (trimesh.sample.sample_surface(m, 5000, seed=2) for m in (shape, other))
    (there, near), (back, nigh) = cKDTree(b).query(a), cKDTree(a).query(b)
    assert found["chamfer_l1"] == pytest.approx(10 * (there.mean() + back.mean()) / 2 / (15 / 16), rel=0.02)
    normals, others = shape.face_normals[of_a], other.face_normals[of_b]
    ways = np.abs((normals * others[near]).sum(1)).mean(), np.abs((others * normals[nigh]).sum(1)).mean()
    assert found["normal_consistency"] == pytest.approx(np.mean(ways), abs=0.02)


def test_occnet_iou_of_balls_by_their_volumes():
    balls = [mesh(trimesh.creation.icosphere(4, radius)) for radius in (0.2, 0.4)]
    assert occnet(balls[0], balls[1], rng())["iou"] == pytest.approx(1 / 8, abs=0.003)
    assert occnet(balls[1], balls[1], rng())["iou"] == 1


def test_occnet_knows_what_lies_outside_of_the_grid():
    truth = mesh(trimesh.creation.box((0.9, 0.5, 0.5)))
    wider = mesh(trimesh.creation.box((1.02, 0.5, 0.5)))
    assert occnet(wider, truth, rng())["iou"] == pytest.approx(0.9 / 1.02, abs=0.03)


def test_occnet_of_an_open_mesh_is_inside_of_its_body_and_on_the_mesh():
    sheet = (np.array([[-0.4, -0.4, 0], [0.4, -0.4, 0], [0, 0.4, 0]], np.float32), np.array([[0, 1, 2]]))
    grid = box(16, (4, 12), (4, 12), (4, 12))
    truth = marching_cubes(grid)
    found = occnet(sheet, truth, rng(), body=truth)
    assert found["iou"] == 1
    assert found["chamfer_l1"] > 0.5


def test_occnet_of_points_has_neither_iou_nor_normals():
    truth = marching_cubes(box(16, (4, 12), (4, 12), (4, 12)))
    assert list(occnet(truth[0], truth, rng())) == ["chamfer_l1"]


def test_occnet_where_nothing_is_predicted():
    nothing = np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64)
    found = occnet(nothing, mesh(trimesh.creation.box((0.5,) * 3)), rng())
    assert found == pytest.approx({"iou": 0, "chamfer_l1": 10 / (15 / 16) * 3**0.5, "normal_consistency": 0})


def test_the_longest_side_is_that_of_the_shards():
    assert shapenet.LONGEST == meshes.EXTENT
