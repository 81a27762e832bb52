from __future__ import annotations

import numpy as np
import pytest
import trimesh

from benchmarks import damage, sheets
from pipeline.geometry.solid import solid

# Of the others, all cells are right.
LEAST = {"wavy rims": 0.9, "blankets": 0.9, "horns": 0.96, "leaves": 0.93, "plants": 0.93}


@pytest.mark.long
@pytest.mark.parametrize("kind", sheets.KINDS)
def test_right_at_any_side(kind: str) -> None:
    for number, resolution in ((0, 32), (1, 40)):
        mesh, truth = sheets.case(kind, number, resolution)
        found, note = solid(mesh.vertices, mesh.faces, resolution)
        assert damage.iou(found, truth) >= LEAST.get(kind, 1), (number, resolution)
        assert np.abs(mesh.vertices).max() <= 15 / 32 + 1e-9 and note.uncovered == 0


def test_what_a_double_hood_holds_is_its_wall() -> None:
    """Against libigl's winding number, of the same tubes with rings at both ends."""
    hood = sheets.KINDS["double hoods"](np.random.default_rng(4))
    half, k = len(hood.vertices) // 2, np.arange(40)
    after = (k + 1) % 40
    rings = [
        np.concatenate(
            [np.stack([a + k, a + after, half + a + after], 1), np.stack([a + k, half + a + after, half + a + k], 1)]
        )
        for a in (0, half - 40)
    ]
    closed = trimesh.Trimesh(hood.vertices, np.concatenate([hood.faces, *rings]), process=False)
    trimesh.repair.fix_normals(closed)
    points = np.random.default_rng(0).uniform(closed.bounds[0], closed.bounds[1], (2000, 3))
    inside = damage.by_winding(damage.Piece(hood.vertices, damage.outward(closed)))(points)
    assert closed.is_watertight and 200 < inside.sum() < 1800
    assert (hood.holds(points) == inside).mean() > 0.98  # polygons are no circles


def test_what_a_blanket_holds_is_under_it() -> None:
    """Against libigl's winding number, of the same cloth with a fan below it."""
    blanket = sheets.KINDS["blankets"](np.random.default_rng(1))
    edge, middle = len(blanket.vertices) - 64 + np.arange(64), len(blanket.vertices)
    fan = np.stack([edge, np.roll(edge, -1), np.full(64, middle)], axis=1)
    faces = np.concatenate([blanket.faces, fan])
    closed = trimesh.Trimesh(np.vstack([blanket.vertices, np.zeros(3)]), faces, validate=True)
    trimesh.repair.fix_normals(closed)
    points = np.random.default_rng(0).uniform(closed.bounds[0], closed.bounds[1], (2000, 3))
    inside = damage.by_winding(damage.Piece(closed.vertices, damage.outward(closed)))(points)
    assert closed.is_watertight and 200 < inside.sum() < 1900
    assert (blanket.holds(points) == inside).mean() > 0.98


def test_a_niche_is_no_part_of_its_box() -> None:
    recess = sheets.KINDS["recesses"](np.random.default_rng(0))
    low, high = recess.vertices.min(axis=0), recess.vertices.max(axis=0)
    middle = (low + high) / 2
    front, behind = middle.copy(), middle.copy()
    front[2], behind[2] = high[2] - 0.01, low[2] + 0.01
    assert recess.holds(np.stack([front, behind, middle + 9])).tolist() == [False, True, False]
