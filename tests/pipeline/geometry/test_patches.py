from __future__ import annotations

import numpy as np
import pytest
import trimesh

from pipeline.geometry import patches
from pipeline.geometry.solid import solid
from tests.meshes import joined


def tee_box(parts: int) -> trimesh.Trimesh:
    """A box whose top is finer than its sides: on each edge of the top, corners of the top alone."""
    box = trimesh.creation.box((0.8, 0.5, 0.6))
    top = box.face_normals[:, 1] > 0.9
    vertices, faces = trimesh.remesh.subdivide_to_size(box.vertices, box.faces[top], 1 / parts, max_iter=20)
    rest = trimesh.Trimesh(box.vertices, box.faces[~top], process=False)
    return joined(rest, trimesh.Trimesh(vertices, faces, process=False))


def free_edges(faces: np.ndarray) -> int:
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    return int((np.unique(edges, axis=0, return_counts=True)[1] == 1).sum())


def area(vertices: np.ndarray, faces: np.ndarray) -> float:
    return float(trimesh.Trimesh(vertices, faces, process=False).area)


@pytest.mark.parametrize("parts", [2, 5, 40])
def test_seams_of_unlike_fineness_are_sewn(parts: int) -> None:
    box = tee_box(parts)
    loose = patches.weld(box.vertices, box.faces)
    sewn = patches.sew(*loose)
    assert free_edges(loose[1]) > 0 and free_edges(sewn[1]) == 0
    assert area(*sewn) == pytest.approx(area(*loose))


def test_what_has_no_seams_stays_as_it_is() -> None:
    ball = trimesh.creation.icosphere(2)
    half = ball.faces[ball.triangles_center[:, 1] > 0]
    for faces in (ball.faces, half):
        vertices, welded = patches.weld(ball.vertices / 4, faces)
        after = patches.sew(vertices, welded)[1]
        assert np.array_equal(after, welded)


def test_a_finer_top_is_no_mouth() -> None:
    plain, fine = trimesh.creation.box((0.8, 0.5, 0.6)), tee_box(8)
    expected = solid(plain.vertices, plain.faces, 32)[0]
    grid, note = solid(fine.vertices, fine.faces, 32)
    assert np.array_equal(grid, expected) and note.disagreement == 0


def test_a_small_bent_sheet_holds_nothing_and_a_small_hole_is_closed() -> None:
    u, v = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 5), indexing="ij")
    leaf = np.stack([0.09 * u, 0.05 * u**2, 0.03 * v], axis=-1).reshape(-1, 3)
    corner = np.arange(45).reshape(9, 5)
    a, b, c, d = (part.ravel() for part in (corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]))
    bent = trimesh.Trimesh(leaf, np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]), process=False)
    assert not len(patches.close(*patches.weld(bent.vertices, bent.faces))[0])
    ball = trimesh.creation.icosphere(3, 0.3)
    pierced = ball.faces[np.linalg.norm(ball.triangles_center - (0.3, 0, 0), axis=1) > 0.06]
    triangles, group, lids = patches.close(*patches.weld(ball.vertices, pierced))
    closed = trimesh.Trimesh(triangles.reshape(-1, 3), np.arange(3 * len(triangles)).reshape(-1, 3))
    assert len(lids) and len(np.unique(group)) == 1 and closed.is_watertight


def test_each_closed_body_is_a_group_and_loose_panels_are_one() -> None:
    two = joined(*(trimesh.creation.box((0.2, 0.2, 0.2)).apply_translation((x, 0, 0)) for x in (-0.2, 0.2)))
    sheet = trimesh.Trimesh([(-0.4, 0.3, 0), (0.4, 0.3, 0.2), (0.4, 0.4, 0), (-0.4, 0.4, 0.3)], [(0, 1, 2), (0, 2, 3)])
    mesh = joined(two, sheet)
    triangles, group, lids = patches.close(*patches.weld(mesh.vertices, mesh.faces))
    assert len(triangles) == 26 and not len(lids)
    assert sorted(np.bincount(group)[[0, *np.unique(group[group > 0])]]) == [2, 12, 12]
