"""Polygons with corners that turn inwards, from the file to grids, pictures and points."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from pipeline.geometry import meshes, solid
from pipeline.geometry.meshes import Mesh
from pipeline.geometry.readers.polygons import cut, triangulated

# An L, whose notch is at (1, 1): an area of 3.
OUTLINE = np.array([[0.0, 0, 0], [2, 0, 0], [2, 1, 0], [1, 1, 0], [1, 2, 0], [0, 2, 0]])
STEP = np.concatenate([OUTLINE, OUTLINE + np.array([0, 0, 1])])
WALLS = [[n, (n + 1) % 6, (n + 1) % 6 + 6, n + 6] for n in range(6)]


def area(vertices: np.ndarray, faces: np.ndarray) -> float:
    return float(trimesh.Trimesh(vertices, faces, process=False).area)


def clean() -> Mesh:
    """The L as a solid of two boxes' outlines, triangles by hand."""
    cap = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 5], [3, 4, 5]])
    sides = [triangle for a, b, c, d in WALLS for triangle in ([a, b, c], [a, c, d])]
    return Mesh(STEP, np.concatenate([cap[:, ::-1], cap + 6, sides]))


def written(extension: str, first: int) -> bytes:
    """The L with caps of six corners, from any of them on."""
    caps = [np.roll(np.arange(6)[::-1], first), np.roll(np.arange(6, 12), first)]
    faces = [*(cap.tolist() for cap in caps), *WALLS]
    rows = [f"{x} {y} {z}" for x, y, z in STEP]
    if extension == "obj":
        lines = [f"v {row}" for row in rows] + ["f " + " ".join(str(n + 1) for n in face) for face in faces]
    else:
        head = ["OFF", f"12 {len(faces)} 0"]
        if extension == "ply":
            head = ["ply", "format ascii 1.0", "element vertex 12", *(f"property float {axis}" for axis in "xyz")]
            head += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"]
        lines = head + rows + [" ".join(map(str, [len(face), *face])) for face in faces]
    return "\n".join([*lines, ""]).encode()


@pytest.mark.parametrize("extension", ["obj", "off", "ply"])
@pytest.mark.parametrize("first", range(6))
def test_grid_and_points_whichever_corner_comes_first(extension: str, first: int) -> None:
    mesh = meshes.read(written(extension, first), extension)
    assert area(mesh.vertices, mesh.faces) == pytest.approx(2 * 3 + 8)
    made, expected = (meshes.normalise(each)[0] for each in (mesh, clean()))
    grids = [solid.solid(each.vertices, each.faces, 32)[0] for each in (made, expected)]
    assert np.array_equal(grids[0], grids[1])
    sampled = meshes.sample_surface(made.vertices, made.faces, 2000, np.random.default_rng(0))
    (inner,) = made.vertices[(np.abs(mesh.vertices - [1, 1, 0]) < 1e-9).all(axis=1)]
    beyond = sampled[(sampled[:, :2] > inner[:2] + 1e-5).all(axis=1)]
    assert not len(beyond), "points where the notch is"


def test_pictures_show_the_notch() -> None:
    from pipeline.geometry.open3d import o3d

    mesh = meshes.read(written("obj", 1), "obj")
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(mesh.vertices.astype(np.float32), mesh.faces.astype(np.uint32))
    rays = [[x, y, 9, 0, 0, -1] for x, y in ((1.5, 1.5), (1.1, 1.9), (0.5, 0.5), (1.9, 0.9), (0.1, 1.9))]
    hits = scene.cast_rays(o3d.core.Tensor(np.array(rays, np.float32)))["t_hit"].numpy()
    assert np.isfinite(hits).tolist() == [False, False, True, True, True]


def test_triangles_turn_as_their_polygon() -> None:
    for order in (np.arange(6), np.arange(6)[::-1]):
        faces = triangulated(OUTLINE, order, np.array([6]))
        corners = OUTLINE[faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        assert (np.sign(normals[:, 2]) == (1 if order[0] == 0 else -1)).all()


def test_convex_polygons_are_fans() -> None:
    square = OUTLINE[[0, 1, 2, 5]]
    assert triangulated(square, np.arange(4), np.array([4])).tolist() == [[0, 1, 2], [0, 2, 3]]


def test_arrowheads_slanted_in_space_keep_their_area() -> None:
    arrow = np.array([[0.0, 0, 0], [2, 1, 0], [0, 2, 0], [1, 1, 0]])  # of area 1, its fourth corner turned inwards
    for seed in range(20):
        turn = trimesh.transformations.random_rotation_matrix(np.random.default_rng(seed).random(3))[:3, :3]
        placed = arrow @ turn.T * 10.0 ** (seed - 10) + seed
        faces = triangulated(placed, np.roll(np.arange(4), seed), np.array([4]))
        size = 10.0 ** (2 * (seed - 10))
        assert area(placed, faces) == pytest.approx(size, rel=1e-3 if seed < 5 else 1e-6)


def test_a_hole_stays_open() -> None:
    inner = OUTLINE[[0, 1, 2, 5]] * [0.25, 0.25, 1] + [0.2, 0.2, 0]
    corners = np.concatenate([OUTLINE, inner])
    faces = cut(corners, [6, 10])
    assert area(corners, faces) == pytest.approx(3 - area(inner, np.array([[0, 1, 2], [0, 2, 3]])))


@pytest.mark.parametrize(
    "corners",
    [
        [[0.0, 0, 0], [1, 1, 0], [1, 0, 0], [0, 1, 0]],  # crosses itself
        [[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [1, 0, 0]],  # has no area
        [[0.0, 0, 0], [1, 0, 0], [np.nan, 0, 0], [1, 1, 0]],
        [[0.0, 0, 0], [1e300, 0, 0], [1e200, 1e200, 0], [0, 1e300, 0]],
    ],
)
def test_what_has_no_right_answer_is_a_fan(corners: list[list[float]]) -> None:
    assert len(triangulated(np.array(corners), np.arange(4), np.array([4]))) == 2


def test_indices_that_are_not_there_are_passed_on() -> None:
    faces = triangulated(OUTLINE, np.array([0, 1, 99, 3, -7]), np.array([5]))
    assert {99, -7} <= set(faces.ravel().tolist())


def test_a_polygon_of_many_rounds_takes_no_time() -> None:
    corners = np.random.default_rng(0).random((8, 3))
    faces = triangulated(corners, np.arange(50000) % 8, np.array([50000]))
    assert len(faces) == 50000 - 2
