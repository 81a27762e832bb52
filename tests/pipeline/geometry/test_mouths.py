from __future__ import annotations

import numpy as np
import pytest
import trimesh

from pipeline.geometry.solid import solid, surface
from tests.meshes import joined

R = 32


def box(size: tuple[float, float, float], without: tuple[tuple[int, int, int], ...] = ()) -> trimesh.Trimesh:
    """A box without the sides that face the given ways."""
    whole = trimesh.creation.box(size)
    kept = np.ones(len(whole.faces), bool)
    for way in without:
        kept &= whole.face_normals @ way < 0.9
    return trimesh.Trimesh(whole.vertices, whole.faces[kept], process=False)


def grid_of(mesh: trimesh.Trimesh) -> np.ndarray:
    return solid(mesh.vertices, mesh.faces, R)[0]


def shell_of(mesh: trimesh.Trimesh) -> np.ndarray:
    return surface(mesh.vertices, mesh.faces, R)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.count_nonzero(a & b) / np.count_nonzero(a | b))


FRONT, BACK, BOTTOM, TOP = (0, 0, 1), (0, 0, -1), (0, -1, 0), (0, 1, 0)


@pytest.mark.parametrize("open_sides", [(FRONT, BACK), (BOTTOM, TOP)])
def test_what_one_sees_through_holds_nothing(open_sides: tuple[tuple[int, int, int], ...]) -> None:
    frame = box((0.8, 0.7, 0.5), open_sides)
    assert np.array_equal(grid_of(frame), shell_of(frame))


@pytest.mark.parametrize("missing", [FRONT, BOTTOM])
def test_one_missing_side_is_damage(missing: tuple[int, int, int]) -> None:
    assert iou(grid_of(box((0.8, 0.7, 0.5), (missing,))), grid_of(box((0.8, 0.7, 0.5)))) > 0.9


def test_a_tube_with_caps_beside_it_is_no_mouth() -> None:
    """As modellers leave them: three bodies that do not share a corner."""
    tube = box((0.8, 0.7, 0.5), (FRONT, BACK))
    caps = [trimesh.creation.box((0.78, 0.68, 0.01)).apply_translation((0, 0, z)) for z in (-0.245, 0.245)]
    assert iou(grid_of(joined(tube, *caps)), grid_of(box((0.8, 0.7, 0.5)))) > 0.97


def test_a_tube_within_a_tube_is_a_wall() -> None:
    outer, inner = (box((side, side, 0.8), (FRONT, BACK)) for side in (0.8, 0.5))
    centres = (np.stack(np.meshgrid(*[np.arange(R)] * 3, indexing="ij"), axis=-1) + 0.5) / R - 0.5
    across = np.abs(centres[..., :2]).max(axis=-1)
    wall = (across < 0.4) & (across > 0.25) & (np.abs(centres[..., 2]) < 0.4)
    both = joined(outer, inner)
    assert np.array_equal(grid_of(both), wall | shell_of(both))


def test_a_tub_with_an_inner_side_is_a_wall_though_its_rims_are_not_level() -> None:
    outer, inner = box((0.9, 0.5, 0.6), (TOP,)), box((0.7, 0.4, 0.4), (TOP,)).apply_translation((0, 0.037, 0))
    centres = (np.stack(np.meshgrid(*[np.arange(R)] * 3, indexing="ij"), axis=-1) + 0.5) / R - 0.5
    held, hollow = ((np.abs(centres) < half).all(axis=-1) for half in ((0.45, 0.25, 0.3), (0.35, 0.2, 0.2)))
    hollow = (np.abs(centres - [0, 0.037, 0]) < (0.35, 0.2, 0.2)).all(axis=-1) | hollow
    hollow |= (np.abs(centres[..., ::2]) < (0.35, 0.2)).all(axis=-1) & (centres[..., 1] > 0)
    both = joined(outer, inner)
    assert iou(grid_of(both), held & ~hollow | shell_of(both)) > 0.96
    assert not grid_of(both)[R // 2, R // 2 :, R // 2].any()


def bell(flare: float) -> trimesh.Trimesh:
    """On its side, closed at the thin end; its radius grows from 0.05 to 0.3 by a power of how far along it is."""
    u, angle = (part.ravel() for part in np.meshgrid(np.linspace(0, 1, 30), np.arange(24) * np.pi / 12, indexing="ij"))
    radius = 0.05 + 0.25 * u**flare
    corner = np.arange(30 * 24).reshape(30, 24)
    after = np.roll(corner, -1, axis=1)
    a, b, c, d = (part.ravel() for part in (corner[:-1], corner[1:], after[1:], after[:-1]))
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1), [(0, k, k + 1) for k in range(1, 23)]])
    corners = np.stack([0.9 * u - 0.45, radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return trimesh.Trimesh(corners, faces, process=False)


def test_a_horn_of_loose_rings_is_open() -> None:
    """As modellers leave them: the ring with the bell is open at both ends, and nobody sees far through it."""
    horn = bell(5)
    along = horn.triangles_center[:, 0] / 0.9 + 0.5
    rings = [trimesh.Trimesh(horn.vertices, horn.faces[part]) for part in (along > 0.6, along < 0.6)]
    loose = joined(*[ring.apply_scale([1, 1 + 0.02 * i, 1 + 0.02 * i]) for i, ring in enumerate(rings)])
    assert iou(grid_of(loose), shell_of(loose)) > 0.9  # the thin end's rim is small enough for damage


def test_a_horn_is_open_and_a_bullet_is_not() -> None:
    horn, bullet = bell(5), bell(0.4)
    assert np.array_equal(grid_of(horn), shell_of(horn))
    assert np.count_nonzero(grid_of(bullet)) > 2.5 * np.count_nonzero(shell_of(bullet))
