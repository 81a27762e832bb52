from __future__ import annotations

import itertools

import numpy as np
import pytest

from pipeline.records.twins import twins


def brute(grids: list[np.ndarray], alike: float) -> list[tuple[int, ...]]:
    """Groups by comparing every pair, and following chains by hand."""
    own: dict[int, set[int]] = {n: {n} for n in range(len(grids))}
    for a, b in itertools.combinations(range(len(grids)), 2):
        if (grids[a] & grids[b]).sum() >= alike * (grids[a] | grids[b]).sum():
            joined = own[a] | own[b]
            own |= dict.fromkeys(joined, joined)
    return sorted({tuple(sorted(group)) for group in own.values() if len(group) > 1})


@pytest.mark.parametrize("side", [16, 10])
@pytest.mark.parametrize("alike", [0.9, 0.98, 1.0])
def test_groups_are_those_of_all_pairs(side: int, alike: float) -> None:
    rng = np.random.default_rng(side)
    grids = []
    for _ in range(12):
        low, high = np.sort(rng.integers(0, side, (2, 3)), axis=0)
        grid = np.zeros((side,) * 3, bool)
        grid[tuple(slice(a, b + 2) for a, b in zip(low, high, strict=True))] = True
        grids.append(grid)
        for share in (0, 0.005, 0.01, 0.03):
            other = grid.copy()
            other.ravel()[rng.choice(grid.size, round(share * grid.sum()), replace=False)] ^= True
            grids.append(other)
    grids.append(np.zeros((side,) * 3, bool))
    found = twins([np.packbits(grid) for grid in grids], alike)
    assert sorted(map(tuple, found)) == brute(grids, alike)
    assert len(found) >= 12


def test_without_twins_there_are_none() -> None:
    assert twins([], 0.9) == twins([np.full(512, 255, np.uint8)], 0.9) == []
