"""Which cells are inside, of what directions say that do not agree; a part of `solid.py`.

Cells where they agree are settled. The rest are inside or outside such that, in units of the unit cube,

    volume x directions overruled there  +  BORDER x area of the border between inside and outside that runs through air

is least: what lines through holes bite out of a body is given back, and what they add in the air is taken away. Both
sums hardly hang on the resolution. It is a minimal cut of a graph (Boykov & Jolly 2001), exact, with the fewest cells
inside where several are.

Where more than MOST of the cube is in doubt, as of a box without half its walls, there is no body to mend, and a cut
would take long: a region is inside then where most directions say so, and most of its border is surface or lid.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

LEAST = 2  # directions without which cells that no direction holds for outside are in doubt as well
BORDER = 3 / 32
MOST = 1 / 8


def inside(yes: np.ndarray, no: np.ndarray, shell: np.ndarray, lid: np.ndarray) -> np.ndarray:
    """Cells (R, R, R) bool beside the shell that are inside.

    yes, no (R, R, R) int8: directions that hold a cell for inside and for outside; shell, lid (R, R, R) bool: borders
    may run along them at no cost.
    """
    lean = np.where(shell, 0, yes - no)
    held = lean > 0
    doubtful = ~shell & (yes > 0) & ((no > 0) | (yes < LEAST))
    count = np.count_nonzero(doubtful)
    if not count:
        return held
    if count > MOST * shell.size:
        return _walled(held, yes, shell | lid)
    source, sink, own, worth = count, count + 1, np.arange(count, dtype=np.int32), lean[doubtful]
    node = np.where(shell, -1, np.where(held, source, sink)).astype(np.int32)
    node[doubtful] = own
    pairs = []
    for axis in range(3):
        a, b = (np.moveaxis(node, axis, 0)[part] for part in (slice(1, None), slice(-1)))
        same = np.diff(np.moveaxis(lid, axis, 0), axis=0) == 0
        joined = same & (a >= 0) & (b >= 0) & (np.minimum(a, b) < count)
        pairs.append(np.stack([a[joined], b[joined]]))
    a, b = np.concatenate(pairs, axis=1)
    price = np.full(len(a), max(1, round(BORDER * len(shell))), np.int32)
    start = np.concatenate([a, b, np.where(worth > 0, np.int32(source), own)])
    end = np.concatenate([b, a, np.where(worth > 0, own, np.int32(sink))])
    graph = coo_matrix((np.concatenate([price, price, np.abs(worth)]), (start, end)), shape=(count + 2,) * 2).tocsr()
    left = graph - maximum_flow(graph, source, sink).flow
    reached = np.zeros(count + 2, bool)
    reached[breadth_first_order(left > 0, source, return_predecessors=False)] = True
    held[doubtful] = reached[:count]
    return held


def _walled(held: np.ndarray, yes: np.ndarray, wall: np.ndarray) -> np.ndarray:
    """The connected regions of `held` that LEAST directions hold, on average, and whose border is mostly wall."""
    region, count = ndimage.label(held)
    borders = np.zeros((2, count + 1))
    for axis in range(3):
        for side, other in ((slice(1, None), slice(-1)), (slice(-1), slice(1, None))):
            at, beside = ([slice(None)] * axis + [part] for part in (side, other))
            edge = (region[tuple(at)] > 0) & (region[tuple(beside)] == 0)
            into, found = wall[tuple(beside)][edge], region[tuple(at)][edge]
            borders += [np.bincount(found[into == sort], minlength=count + 1) for sort in (False, True)]
    voters = np.bincount(region.ravel(), yes.ravel()) / np.maximum(np.bincount(region.ravel()), 1)
    inside = (voters >= LEAST) & (borders[0] <= borders[1])
    inside[0] = False
    return np.asarray(inside[region])
