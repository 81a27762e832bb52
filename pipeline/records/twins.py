"""Which of many solid grids are nearly identical."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

COARSE = 8  # parts a side in which full cells are counted, to tell most grids apart at once


def twins(grids: Sequence[np.ndarray], alike: float) -> list[list[int]]:
    """Groups of two and more grids, by their numbers, each with a chain of pairs of an IoU of at least `alike`.

    Exact; a grid is compared with those alone that may be alike by their sizes and coarse counts.

    Args:
        grids: (R^3/8,) uint8 each, packed, of one resolution.
        alike: intersection over union, over 0.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = np.array([*_pairs(grids, alike)], np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(grids), len(grids)))
    _, labels = connected_components(graph, directed=False)
    order = np.argsort(labels, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    return [group.tolist() for group in groups if len(group) > 1]


def _pairs(grids: Sequence[np.ndarray], alike: float) -> Iterator[tuple[int, int]]:
    if not grids:
        return
    counts = np.stack([_counts(grid) for grid in grids])
    sizes = counts.sum(axis=1)
    order = np.argsort(sizes, kind="stable")
    ends = np.searchsorted(sizes[order], sizes[order] / alike, "right")
    for place, n in enumerate(order):
        others = order[place + 1 : ends[place]]
        # |A xor B|, which no difference of counts exceeds, is at most (|A| + |B|) (1 - IoU) / (1 + IoU).
        apart = np.abs(counts[others] - counts[n]).sum(axis=1)
        for other in others[apart * (1 + alike) <= (sizes[others] + sizes[n]) * (1 - alike) + 1e-6]:
            common = np.unpackbits(grids[n] & grids[other]).sum(dtype=np.int64)
            if common >= alike * (sizes[n] + sizes[other] - common) - 1e-9:
                yield int(n), int(other)


def _counts(grid: np.ndarray) -> np.ndarray:
    """(COARSE^3,) int64 full cells in each part of a packed grid; of one that it does not divide, (1,)."""
    side = round((8 * len(grid)) ** (1 / 3))
    cells = np.unpackbits(grid)[: side**3]
    if side % COARSE:
        return cells.sum(dtype=np.int64)[None]
    parts = cells.reshape([n for _ in range(3) for n in (COARSE, side // COARSE)])
    return parts.sum(axis=(1, 3, 5), dtype=np.int64).ravel()
