from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from benchmarks import damage
from benchmarks.damage import HOLE_RADIUS, KINDS, Piece
from pipeline.geometry.meshes import Mesh
from pipeline.geometry.solid import surface
from tests.meshes import CHAIR, TABLE, joined, obj_bytes, write_v2


def ball(radius: float = 0.4, at: tuple[float, float, float] = (0, 0, 0)) -> Piece:
    mesh = trimesh.creation.icosphere(3, radius).apply_translation(at)
    return Piece(mesh.vertices, mesh.faces, lambda points: np.linalg.norm(points - np.array(at), axis=1) < radius)


def case(kind: str) -> tuple[Mesh, np.ndarray]:
    made = damage.broken([ball()], kind, "ball", 32)
    assert made
    return made


def corners(mesh: Mesh) -> np.ndarray:
    return mesh.vertices[mesh.faces]


def test_truth_of_a_ball_and_a_panel() -> None:
    square = np.array([[0.48, -0.3, -0.3], [0.48, 0.3, -0.3], [0.48, 0.3, 0.3], [0.48, -0.3, 0.3]])
    panel = Piece(square, np.array([[0, 1, 2], [0, 2, 3]]))
    grid = damage.truth([ball(), panel], 32)
    centres = damage.centres(32)
    inside = (np.linalg.norm(centres, axis=1) < 0.4).reshape(32, 32, 32)
    assert np.array_equal(damage.held([ball(), panel], centres).reshape(32, 32, 32), inside)
    assert grid[31, 7:25, 7:25].all() and not grid[30].any()
    shell = surface(*damage.joined([ball(), panel]), 32)
    assert np.array_equal(grid, inside | shell)


def test_pieces_move_with_what_they_hold() -> None:
    moved = ball().moved(0.5, np.array([0.2, 0, 0]))
    assert moved.contains
    assert moved.contains(np.array([[0.2, 0, 0], [0.39, 0, 0], [0.41, 0, 0], [-0.1, 0, 0]])).tolist() == [1, 1, 0, 0]
    assert np.linalg.norm(moved.vertices - [0.2, 0, 0], axis=1) == pytest.approx(0.2)


def test_flipped_and_doubled_faces() -> None:
    whole, flipped, doubled = (case(kind)[0] for kind in ("none", "flipped", "doubled"))
    outward = [
        np.einsum("ij,ij->i", np.cross(c[:, 1] - c[:, 0], c[:, 2] - c[:, 0]), c[:, 0]) > 0
        for c in map(corners, (whole, flipped, doubled))
    ]
    assert outward[0].all() and outward[1].mean() == pytest.approx(0.6, abs=0.05) and outward[2].mean() == 0.5
    assert len(doubled.faces) == 2 * len(whole.faces) and len(doubled.vertices) == 2 * len(whole.vertices)


def test_holes_have_their_radius_and_leave_the_truth_alone() -> None:
    (whole, truth), (holed, same) = case("none"), case("holes")
    assert np.array_equal(truth, same)
    area = [trimesh.Trimesh(m.vertices, m.faces, process=False).area for m in (whole, holed)]
    # Three discs, less where they overlap or a triangle reaches over their edge.
    assert 1.5 < (area[0] - area[1]) / (np.pi * HOLE_RADIUS**2) < 3.3


def test_bottoms_are_missing_and_nothing_else() -> None:
    box = trimesh.creation.box((0.4, 0.8, 0.6))
    piece = Piece(box.vertices, box.faces, lambda points: (np.abs(points) < [0.2, 0.4, 0.3]).all(axis=1))
    left = damage.bottomless(piece)
    heights = piece.vertices[left.faces][:, :, 1]
    assert len(left.faces) == 10 and (heights.max(axis=1) > -0.4).all()


def test_added_parts_stick_out_of_the_largest_and_lie_within_it() -> None:
    whole, nested, across = damage.crowded([ball()], np.random.default_rng(0))
    assert whole.contains and whole.contains(nested.vertices).all()
    share = whole.contains(across.vertices).mean()
    assert 0 < share < 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_damage_fits_the_cube_and_comes_out_the_same(kind: str) -> None:
    (mesh, truth), (again, same) = case(kind), case(kind)
    assert np.abs(mesh.vertices).max() <= 15 / 32 + 1e-9
    assert np.array_equal(corners(mesh), corners(again)) and np.array_equal(truth, same)
    assert damage.shut_in(truth) <= damage.AIR


def test_solids_that_shut_in_air_are_not_asked_for() -> None:
    box = trimesh.creation.box((0.8, 0.8, 0.8))
    assert (
        damage.broken([Piece(box.vertices, box.faces, lambda points: np.zeros(len(points), bool))], "none", "", 32)
        is None
    )


@pytest.mark.long
def test_watertight_meshes_are_found_and_their_inside_is_known(tmp_path: Path) -> None:
    two = joined(trimesh.creation.icosphere(3, 0.3), trimesh.creation.box((1, 0.2, 0.2)))
    pierced = trimesh.Trimesh(two.vertices, two.faces[2:])
    hollow = joined(trimesh.creation.icosphere(3, 1), trimesh.creation.icosphere(3, 0.5))
    inverted = trimesh.Trimesh(hollow.vertices, hollow.faces[:, ::-1])
    models = {(CHAIR, "two"): two, (CHAIR, "pierced"): pierced, (TABLE, "inverted"): inverted}
    root = write_v2(tmp_path, {key: obj_bytes(mesh) for key, mesh in models.items()})
    found = dict(damage.watertight(root, 9))
    assert sorted(found) == [f"{CHAIR}/two", f"{TABLE}/inverted"]
    points = damage.centres(32)
    radius = np.linalg.norm(points, axis=1)
    held = damage.held(found[f"{TABLE}/inverted"], points)
    assert held[radius < 0.44].all() and not held[radius > 15 / 32].any()  # each body for itself
    box_and_ball = (radius < 0.29 * 15 / 16) | (np.abs(points) < np.array([0.49, 0.09, 0.09]) * 15 / 16).all(axis=1)
    assert damage.held(found[f"{CHAIR}/two"], points)[box_and_ball].all()


def test_families_hold_what_their_parts_hold() -> None:
    found = dict(damage.families(1))
    assert len(found) == 8
    for name, solid in found.items():
        centres = np.array([piece.vertices.mean(axis=0) for piece in solid if piece.contains])
        assert damage.held(solid, centres).all(), name
