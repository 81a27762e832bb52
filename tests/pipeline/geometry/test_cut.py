from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from pipeline.geometry import cut


def cost(grid: np.ndarray, lean: np.ndarray, shell: np.ndarray, lid: np.ndarray) -> float:
    """What is minimised, in directions x cells, cell by cell."""
    total = float(np.abs(lean)[~shell & (grid != (lean > 0))].sum())
    for cell in np.ndindex(grid.shape):
        for axis in range(3):
            beside = tuple(np.add(cell, np.eye(3, dtype=int)[axis]))
            if max(beside) < len(grid) and not shell[cell] and not shell[beside] and lid[cell] == lid[beside]:
                total += max(1, round(cut.BORDER * len(grid))) * (grid[cell] != grid[beside])
    return total


@pytest.mark.parametrize("seed", range(4))
def test_nothing_costs_less(seed: int) -> None:
    """Against all the ways to settle eight doubtful cells of 4^3."""
    rng = np.random.default_rng(seed)
    shell, lid = rng.random((2, 4, 4, 4)) < 0.2
    lid &= ~shell
    yes = rng.choice([0, 9], (4, 4, 4)).astype(np.int8)
    no = 9 - yes
    open_ = np.argwhere(~shell)
    doubtful = tuple(rng.permutation(open_)[:8].T)
    yes[doubtful] = rng.integers(3, 7, 8)
    no[doubtful] = 9 - yes[doubtful]
    found = cut.inside(yes, no, shell, lid)
    lean, best = yes - no, np.inf
    for bits in product((False, True), repeat=8):
        other = (lean > 0) & ~shell
        other[doubtful] = bits
        best = min(best, cost(other, lean, shell, lid))
    assert cost(found, lean, shell, lid) == best
    settled = np.ones((4, 4, 4), bool)
    settled[doubtful] = False
    assert np.array_equal(found[settled], ((lean > 0) & ~shell)[settled])


@pytest.mark.parametrize("resolution", [32, 64])
def test_bites_are_given_back_and_what_hangs_in_the_air_is_taken(resolution: int) -> None:
    axis = (np.arange(resolution) + 0.5) / resolution - 0.5
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)

    def ball(x: float, radius: float) -> np.ndarray:
        return np.linalg.norm(points - (x, 0, 0), axis=-1) < radius

    body, yes = ball(-0.1, 0.3), np.zeros((resolution,) * 3, np.int8)
    yes[body] = 9
    yes[ball(0.05, 0.1)] = 4  # within the body, where a line in nine more is wrong than right
    yes[ball(0.35, 0.05)] = 5  # of its own
    no, none = np.int8(9) - yes, np.zeros(body.shape, bool)
    assert np.array_equal(cut.inside(yes, no, none, none), body)
    assert not np.array_equal(yes > no, body)


def test_few_directions_that_none_contradicts_are_not_enough() -> None:
    yes, no = np.zeros((2, 16, 16, 16), np.int8)
    yes[8, 8, 8] = 1
    none = np.zeros(yes.shape, bool)
    assert not cut.inside(yes, no, none, none).any()
    yes[8, 8, 8] = cut.LEAST
    assert cut.inside(yes, no, none, none).sum() == 1


def test_where_much_is_in_doubt_regions_without_walls_are_empty() -> None:
    """Half of the cube, held by few directions more than not, is inside behind walls alone."""
    yes, shell = np.zeros((2, 16, 16, 16), np.int8)
    yes[4:12] = 5
    no, none = np.int8(9) - yes, np.zeros(yes.shape, bool)
    assert not cut.inside(yes, no, none, none).any()
    shell[[3, 12]] = 1
    walls = shell.astype(bool)
    assert np.array_equal(cut.inside(yes, no, walls, none), (yes > 0) & ~walls)
