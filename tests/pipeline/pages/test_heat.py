from __future__ import annotations

from dataclasses import replace

import numpy as np
import trimesh

from pipeline.pages.heat import MARK, NOTE, TITLES, Look, framed, heated, looked_into, marked
from pipeline.pages.pictures import CELL, GAP, HEADER

BOX = trimesh.creation.box((0.5, 0.3, 0.4))
NOTHING = np.zeros((0, 3)), np.zeros((0, 3), int)
MAP = np.zeros((12, 16))
MAP[2:4, 10:12] = 1  # above, right of the middle
LOOK = Look(
    np.full((12, 16), 0.5), MAP, MAP, (2, 10, 2), (BOX.vertices, BOX.faces), NOTHING, "words", [(0.25, 0.75)], []
)


def warmth(picture: np.ndarray) -> np.ndarray:
    """How much more red there is than blue."""
    return picture[..., 0].astype(int) - picture[..., 2]


def test_a_map_is_warm_where_it_is_high() -> None:
    found = warmth(np.asarray(heated(LOOK.seen, MAP)))
    ys, xs = np.nonzero(found > 60)
    assert found.shape == CELL[::-1]
    assert abs(ys.mean() / CELL[1] - 3 / 12) < 0.03 and abs(xs.mean() / CELL[0] - 11 / 16) < 0.03
    assert np.ptp(np.asarray(heated(LOOK.seen, 0 * MAP))) == 0  # nothing matters: the picture as it is


def test_one_pixel_that_stands_out_does_not_hide_the_others() -> None:
    wide = np.zeros((120, 160))
    wide[20:40, 100:120], wide[0, 0] = 1, 1000
    assert (warmth(np.asarray(heated(LOOK.seen, wide))) > 60).mean() > 0.01


def test_frames_and_marks_lie_where_they_are_told() -> None:
    clean = heated(LOOK.seen, 0 * MAP)
    ys, xs = np.nonzero((np.asarray(framed(clean.copy(), LOOK)) != np.asarray(clean)).any(axis=2))
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (25, 49, 125, 149)  # cells of 12.5 pixels
    ys, xs = np.nonzero((np.asarray(marked(clean.copy(), (0.25, 0.75))) == MARK).all(axis=2))
    assert abs(ys.mean() - 0.25 * CELL[1]) < 1 and abs(xs.mean() - 0.75 * CELL[0]) < 1


def test_a_sheet_has_a_line_for_each_and_for_each_layer_with_attention() -> None:
    line = CELL[1] + GAP + NOTE
    assert looked_into([LOOK]).size == (len(TITLES) * (CELL[0] + GAP), HEADER + line + NOTE)
    reading = replace(LOOK, reads=[[MAP], [MAP]])
    assert looked_into([LOOK, reading]).height == HEADER + 4 * line + NOTE
    pixels = np.asarray(looked_into([LOOK]))[HEADER : HEADER + CELL[1] + GAP]
    width = CELL[0] + GAP
    boxes = [pixels[GAP:-GAP, place * width + GAP : (place + 1) * width - GAP] for place in range(5)]
    assert (warmth(boxes[1]) > 60).any() and (warmth(boxes[3]) > 60).sum() > 100  # the map, and the box
    assert not (warmth(boxes[4]) > 60).any()  # nothing is left of it
