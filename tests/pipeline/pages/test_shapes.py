from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest
import trimesh

from pipeline.pages.shapes import FAR, STEPS, Shape, cloud, packed, simplified

BALL = trimesh.creation.icosphere(4, 0.4)


def unpacked(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Corners, faces, far and lost, read value by value as the module's head says."""
    data = zlib.decompress(base64.b64decode(text))
    corners, faces, others = np.frombuffer(data, "<u4", 3)
    (extent,), at = np.frombuffer(data[12:], "<f4", 1), 16

    def steps(count: int) -> list[int]:
        nonlocal at
        values = [data[at + n] + 256 * data[at + count + n] for n in range(count)]
        at += 2 * count
        return [-(value + 1) // 2 if value % 2 else value // 2 for value in values]

    moves, ahead = np.array(steps(3 * corners)).reshape(-1, 3), np.array(steps(3 * faces), int).reshape(-1, 3)
    first = ahead[:, 0].cumsum()
    index = np.stack([first, first + ahead[:, 1], first + ahead[:, 2]], axis=1)
    far = np.frombuffer(data[at : at + corners], np.uint8)
    lost = np.frombuffer(data[at + corners :], np.uint8)
    assert len(lost) == others
    return moves.cumsum(0) / STEPS * extent, index, far, lost


def test_a_shape_comes_back_with_its_winding() -> None:
    corners, faces, far, lost = unpacked(packed(Shape(BALL.vertices, BALL.faces)))
    found = trimesh.Trimesh(corners, faces, process=False)
    assert found.is_watertight and found.is_winding_consistent
    assert found.volume == pytest.approx(BALL.volume, rel=1e-3)  # above 0: outward
    assert (len(far), far.any(), len(lost)) == (len(corners), False, 0)


@pytest.mark.parametrize("faces", [100, 1000])
def test_a_simplified_shape_is_small_and_about_the_same(faces: int) -> None:
    lonely = np.concatenate([BALL.vertices, [[np.nan] * 3]])
    shape = simplified((lonely, np.asarray(BALL.faces)), faces)
    assert len(shape.faces) <= faces and len(np.unique(shape.faces)) == len(shape.vertices)
    assert trimesh.Trimesh(shape.vertices, shape.faces).volume == pytest.approx(BALL.volume, rel=5 / faces)
    assert len(packed(shape)) < 9 * faces


def test_what_is_missing_and_what_is_invented_are_where_they_are() -> None:
    box = trimesh.creation.box((0.4, 0.4, 0.4))
    moved = box.vertices + np.array([0.03, 0, 0])
    corners, _, far, lost = unpacked(packed(Shape(moved, box.faces), Shape(box.vertices, box.faces)))
    # The corners at +X stick out, by 0.03; those at -X lie on the sides of the true box.
    assert far / 255 * FAR == pytest.approx(np.where(corners[:, 0] > 0, 0.03, 0), abs=3e-4)
    assert sorted(lost / 255 * FAR) == pytest.approx([0] * 4 + [0.03] * 4, abs=3e-4)


def test_points_and_nothing_are_shapes_as_well() -> None:
    points = np.array([[0.1, 0.2, 0.3], [-3.0, 0, 0]])
    corners, faces, far, lost = unpacked(packed(cloud(points), Shape(BALL.vertices, BALL.faces)))
    np.testing.assert_allclose(sorted(corners.tolist()), sorted(points.tolist()), atol=1e-3)
    assert not len(faces) and far.max() == 255 and lost.max() == 255
    nothing = simplified((np.zeros((0, 3)), np.zeros((0, 3), int)), 10)
    assert [len(part) for part in unpacked(packed(nothing, Shape(BALL.vertices, BALL.faces)))] == [0, 0, 0, 0]
