from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import trimesh

from pipeline.pages.pictures import (
    CAPTION,
    CELL,
    COLUMNS,
    DOT,
    GAP,
    HEADER,
    MARGIN,
    Row,
    camera,
    camera_rays,
    contact_sheet,
    dots,
    shaded,
    strip,
)

GRAY = (0.5, 0.5, 0.5)


def test_the_camera_is_right_handed_and_looks_from_the_front_right():
    right, up, forward = camera()
    np.testing.assert_allclose(camera() @ camera().T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.cross(right, up), -forward, atol=1e-12)  # +Z of a right-handed view is backward
    assert up[1] > 0
    assert right[1] == pytest.approx(0)
    assert -forward[2] < 0 < -forward[0]  # it stands at -Z, the front, and at +X


def drawn(box: trimesh.Trimesh) -> np.ndarray:
    """(H, W) bool: where the picture of a box is not white, framed for the unit cube."""
    rays = camera_rays(trimesh.creation.box((1, 1, 1)).vertices)
    return np.asarray(shaded((box.vertices, box.faces), rays, GRAY)).min(axis=-1) < 250


def small(centre: np.ndarray) -> trimesh.Trimesh:
    return trimesh.creation.box((0.1, 0.1, 0.1), trimesh.transformations.translation_matrix(centre))


def test_up_is_up_and_right_is_right():
    right, up, _ = camera()
    ys, xs = np.nonzero(drawn(small(0.4 * up)))
    assert ys.max() < CELL[1] / 2
    assert xs.mean() == pytest.approx(CELL[0] / 2, abs=2)
    ys, xs = np.nonzero(drawn(small(0.4 * right)))
    assert xs.min() > CELL[0] / 2
    assert ys.mean() == pytest.approx(CELL[1] / 2, abs=2)


def test_a_ball_is_as_large_as_perspective_says():
    ball = trimesh.creation.icosphere(4, radius=0.4)
    hit = np.asarray(shaded((ball.vertices, ball.faces), camera_rays(ball.vertices), GRAY)) < 250
    radius = np.sqrt(hit[..., 0].sum() / math.pi)
    # The outline is at tan(asin(r / d)); the farthest vertex, to which the picture is fitted, comes close to it.
    assert radius == pytest.approx(CELL[1] / 2 / MARGIN, rel=0.03)


def test_both_shapes_of_a_row_have_one_scale():
    ball = trimesh.creation.icosphere(3, radius=0.4)
    rays = camera_rays(ball.vertices)
    sizes = [(np.asarray(shaded((ball.vertices * scale, ball.faces), rays, GRAY)) < 250).sum() for scale in (1, 0.5)]
    assert sizes[0] / sizes[1] == pytest.approx(4, rel=0.1)


def test_points_are_balls_where_they_are() -> None:
    points = np.array([[0.1, 0.2, 0.3], [-0.4, 0, 0]])
    vertices, faces = dots(points)
    balls = trimesh.Trimesh(vertices, faces, process=False).split()
    assert np.allclose(sorted(ball.center_mass.tolist() for ball in balls), sorted(points.tolist()), atol=1e-9)
    assert np.allclose([np.linalg.norm(ball.vertices - ball.center_mass, axis=1) for ball in balls], DOT)
    assert [len(part) for part in dots(points[:0])] == [0, 0]


def test_the_winding_of_a_mesh_is_not_seen() -> None:
    cube = trimesh.creation.box((0.5, 0.5, 0.5)).subdivide().subdivide()
    pictures = [
        np.asarray(shaded((cube.vertices, faces), camera_rays(cube.vertices), GRAY)).astype(float)
        for faces in (cube.faces, cube.faces[:, ::-1])
    ]
    assert abs(pictures[0] - pictures[1]).mean() < 3
    assert pictures[1].min() > 40  # no side is black


def test_an_empty_surface_is_said_to_be_nothing():
    nothing = np.zeros((0, 3)), np.zeros((0, 3), int)
    picture = np.asarray(shaded(nothing, camera_rays(np.eye(3)), GRAY))
    assert picture.shape == (CELL[1], CELL[0], 3)
    assert 0 < (picture < 250).any(axis=-1).sum() < 1500  # a word, on white


def test_the_sheet_shows_the_photo_as_it_is():
    photo = np.random.default_rng(0).integers(0, 255, (CELL[1], CELL[0]), dtype=np.uint8)
    ball = trimesh.creation.icosphere(2, radius=0.4)
    shape = np.asarray(ball.vertices), np.asarray(ball.faces)
    sheet = np.asarray(contact_sheet([Row(photo, shape, shape, shape, ("ball",))]))
    top, left = HEADER + GAP // 2, CAPTION + GAP
    assert (sheet[top : top + CELL[1], left : left + CELL[0]] == photo[..., None]).all()
    assert (sheet[top : top + CELL[1], :GAP] == 255).all()


def moved(size: float, *centre: float) -> tuple[np.ndarray, np.ndarray]:
    box = trimesh.creation.box((size, size, size), trimesh.transformations.translation_matrix(centre))
    return np.asarray(box.vertices), np.asarray(box.faces)


SMALL, NOTHING = moved(0.2, 0, 0, 0), (np.full((5, 3), np.nan), np.zeros((0, 3), int))


@pytest.mark.long
@pytest.mark.parametrize(
    "other", [moved(0.9, 0, 0, 0), moved(0.2, 0.4, -0.4, 0.4), moved(0.2, 30, -8, 9), moved(1, 0, 2, -9), NOTHING]
)
def test_every_shape_is_seen_whole(other: tuple[np.ndarray, np.ndarray]) -> None:
    white = np.full((CELL[1], CELL[0]), 255, np.uint8)
    sheet = contact_sheet([Row(white, SMALL, other, SMALL, ("",)), Row(white, SMALL, SMALL, other, ("",))])
    course = strip([(white, SMALL, [other, SMALL])], ["1", "2"])
    for picture, left, lines in ((np.asarray(sheet), CAPTION + GAP, 2), (np.asarray(course), GAP // 2, 1)):
        for line, place in itertools.product(range(lines), range(1, 4)):
            top, start = HEADER + line * (CELL[1] + GAP) + GAP // 2, left + place * (CELL[0] + GAP)
            cell = picture[top : top + CELL[1], start : start + CELL[0]]
            assert (np.concatenate([cell[0], cell[-1], cell[:, 0], cell[:, -1]]) == 255).all(), (line, place)
            assert (cell < 250).any(), (line, place)


@pytest.mark.long
def test_many_rows_are_set_in_two_columns() -> None:
    nothing = np.zeros((0, 3)), np.zeros((0, 3), int)
    cube = trimesh.creation.box((0.5, 0.5, 0.5))
    shape = np.asarray(cube.vertices), np.asarray(cube.faces)
    photos = [np.full((CELL[1], CELL[0]), 20 * n, np.uint8) for n in range(7)]
    sheet = np.asarray(contact_sheet([Row(photo, shape, nothing, shape, ("cube",)) for photo in photos]))
    pitch, width = CELL[1] + GAP, CAPTION + len(COLUMNS) * (CELL[0] + GAP) + GAP
    assert sheet.shape == (HEADER + 4 * pitch, 2 * width, 3)
    for n, (column, line) in enumerate([(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2)]):
        assert (sheet[HEADER + line * pitch + 50, column * width + CAPTION + GAP + 50] == 20 * n).all()
