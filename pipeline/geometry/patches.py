"""From a triangle soup to closed patches, inside of which parity can be counted; a part of `solid.py`.

A patch is a set of faces joined by edges that have exactly two faces. It is closed by a fan of triangles over each rim
(loop of its border): modulo 2 that closes it, whatever the rim's shape. Small or flat rims get such a lid; patches with
any other rim are counted together, which suits bodies made of loose panels, and where such rims are nearly flat by
themselves as well. A wide rim on top of its patch, with
nothing standing over it, is a mouth: that patch holds nothing, so a bowl or tub made of one sheet stays a shell, while
the same sheet upside down or on its side (a dome, a box without bottom or front) is filled.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

HOLE_RADIUS = 0.1  # rims up to this radius are damage, whatever their shape
FLAT, WAVY = 0.02, 0.04  # wider ones get a lid up to the first waviness; up to the second, beside counting without one
CLEARANCE = 0.01  # by which something has to rise above a rim to stand over it
MOST_CUTS = 64  # rounds of sewing; a free edge gets at most one new corner a round
PARALLEL = 1e-3  # by which directions (unit vectors) may differ to be one


def weld(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices equal to 1e-6 made one; each set of three different corners once, with its corners sorted."""
    key = np.round((vertices + 0.5) * (1 << 20)).astype(np.int64) @ np.array([1 << 42, 1 << 21, 1])
    _, first, welded = np.unique(key, return_index=True, return_inverse=True)
    faces = np.sort(welded[faces], axis=1)
    faces = faces[(np.diff(faces) > 0).all(axis=1)]
    faces = faces[np.lexsort(faces.T)]
    return vertices[first], faces[np.diff(faces, axis=0, prepend=-1).any(axis=1)]


def sew(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Faces cut where the end of another's free edge lies on their own, so that they share edges (T-junctions).

    Free edges that leave a corner the same way are told apart by length: the longer one gets a corner where the shorter
    one ends, until no two run alongside. A face cut so becomes a fan around its centre.
    """
    ends = faces[:, [0, 1, 1, 2, 0, 2]].reshape(-1, 2)
    owner = np.repeat(np.arange(len(faces)), 3)
    whole, cut = _alone(ends, len(vertices)), np.zeros(len(faces), bool)
    free, face = ends[whole], owner[whole]
    settled: list[tuple[np.ndarray, np.ndarray]] = [(ends[~whole], owner[~whole])]
    for _ in range(MOST_CUTS):
        start, end = free.T.ravel(), free[:, ::-1].T.ravel()
        step = vertices[end] - vertices[start]
        length = np.linalg.norm(step, axis=1)
        way = np.round(step / length[:, None] / PARALLEL).astype(np.int64)
        order = np.lexsort((length, *way.T, start))
        beside = (np.diff(start[order]) == 0) & (np.diff(way[order], axis=0) == 0).all(axis=1)
        longer, first = np.unique(order[1:][beside] % len(free), return_index=True)
        if not len(longer):
            break
        corner = end[order[:-1][beside][first]]
        cut[face[longer]] = True
        halves = [np.sort(np.stack([free[longer, side], corner], axis=1), axis=1) for side in (0, 1)]
        free = np.concatenate([np.delete(free, longer, axis=0), *halves])
        face = np.concatenate([np.delete(face, longer), face[longer], face[longer]])
        alone = _alone(free, len(vertices))
        settled.append((free[~alone], face[~alone]))
        free, face = free[alone], face[alone]
    ends, owner = (np.concatenate(parts) for parts in zip(*settled, (free, face), strict=True))
    ends, owner = ends[cut[owner]], owner[cut[owner]]
    centre, vertices = len(vertices) + owner, np.concatenate([vertices, vertices[faces].mean(axis=1)])
    return vertices, np.concatenate([faces[~cut], np.column_stack([ends, centre])])


def _alone(ends: np.ndarray, size: int) -> np.ndarray:
    """Which of the edges (E, 2) between `size` corners occur once."""
    _, edge, uses = np.unique(ends @ [size, 1], return_inverse=True, return_counts=True)
    return uses[edge] == 1


def close(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangles to count (T, 3, 3), the group in which each counts (T,), and the lids among them (L, 3, 3).

    A patch is a set of faces joined by edges that have exactly two faces. Group 0 takes the patches that stay open;
    those of them that lids over their wavy rims would close count a second time, with these lids, for themselves.
    """
    ends = faces[:, [0, 1, 1, 2, 0, 2]].reshape(-1, 2)
    face = np.repeat(np.arange(len(faces)), 3)
    _, edge, uses = np.unique(ends @ [len(vertices), 1], return_inverse=True, return_counts=True)
    order = np.argsort(edge, kind="stable")
    twins = np.flatnonzero((np.diff(edge[order]) == 0) & (uses[edge[order[1:]]] == 2))
    patch = _components(face[order[twins]], face[order[twins + 1]], len(faces))

    # Modulo 2, the border of a patch is the edges that it uses an odd number of times.
    _, first, times = np.unique(patch[face] * len(uses) + edge, return_index=True, return_counts=True)
    border = first[times % 2 == 1]
    owner = patch[face[border]]
    nodes, node = np.unique(owner[:, None] * len(vertices) + ends[border], return_inverse=True)
    node = node.reshape(-1, 2)
    rim = _components(node[:, 0], node[:, 1], len(nodes))[node[:, 0]]
    centre, radius, waviness, level, free = _rims(vertices[ends[border]], uses[edge[border]] == 1, rim)

    home = np.zeros(len(radius), np.int64)
    home[rim] = owner
    group = np.arange(1, patch.max(initial=-1) + 2)
    low, high = np.full((len(group), 3), np.inf), np.full((len(group), 3), -np.inf)
    np.minimum.at(low, patch, vertices[faces].min(axis=1))
    np.maximum.at(high, patch, vertices[faces].max(axis=1))
    top, depth = high[home, 1], high[home, 1] - low[home, 1]
    on_top = (top - centre[:, 1] < 0.25 * depth) & (depth > 0.25 * radius)
    mouth = (radius > HOLE_RADIUS) & level & free & on_top
    for i in np.flatnonzero(mouth):  # no mouth where a patch stands above the rim's centre
        over = (low[:, ::2] <= centre[i, ::2]).all(axis=1) & (high[:, ::2] >= centre[i, ::2]).all(axis=1)
        mouth[i] = not np.any(over & (high[:, 1] > top[i] + CLEARANCE))
    small = radius <= HOLE_RADIUS
    lidded = ~mouth & (small | (waviness <= FLAT))
    own, again = group.copy(), np.ones(len(group), bool)
    group[home[~lidded]] = 0
    group[home[mouth]] = -1
    again[home[mouth | ~(small | (waviness <= WAVY))]] = False
    again &= group == 0

    fans = np.concatenate([vertices[ends[border]], centre[rim, None]], axis=1)
    fan, fan_again = lidded[rim] & (group[owner] >= 0), again[owner]
    face, face_again = group[patch] >= 0, again[patch]
    triangles = [vertices[faces[face]], fans[fan], vertices[faces[face_again]], fans[fan_again]]
    groups = [group[patch[face]], group[owner[fan]], own[patch[face_again]], own[owner[fan_again]]]
    return np.concatenate(triangles), np.concatenate(groups), fans[fan | fan_again]


def _components(a: np.ndarray, b: np.ndarray, size: int) -> np.ndarray:
    """Component (size,) of each node of the graph with edges a-b."""
    graph = coo_matrix((np.ones(len(a), bool), (a, b)), shape=(max(size, 1),) * 2)
    return connected_components(graph, directed=False)[1][:size].astype(np.int64)


def _rims(ends: np.ndarray, unshared: np.ndarray, rim: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of each rim: centre (L, 3), radius, waviness, level (facing up or down), free (most of it unshared), each (L,).

    Waviness is the RMS distance from the rim's plane, as a share of its radius.
    ends (E, 2, 3) of the border's edges, unshared (E,) bool: no other patch uses the edge, rim (E,) index.
    """
    length = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
    total = np.bincount(rim, length)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.stack([np.bincount(rim, length * column, len(total)) / total for column in values.T], axis=1)

    centre = mean(ends.mean(axis=1))
    spokes = ends - centre[rim, None]
    radius = np.zeros(len(total))
    np.maximum.at(radius, rim, np.linalg.norm(spokes, axis=2).max(axis=1))
    spread = np.einsum("eki,ekj->eij", spokes, spokes).reshape(-1, 9) / 2
    variance, axes = np.linalg.eigh(mean(spread).reshape(-1, 3, 3))
    waviness, level = np.sqrt(np.maximum(variance[:, 0], 0)) / radius, np.abs(axes[:, 1, 0]) > 0.7
    return centre, radius, waviness, level, mean(unshared[:, None])[:, 0] > 0.5
