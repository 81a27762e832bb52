"""From a triangle soup to closed patches, inside of which parity can be counted; a part of `solid.py`.

A patch is a set of faces joined by edges that have exactly two faces. It is closed by a fan of triangles over each rim
(loop of its border): modulo 2 that closes it, whatever the rim's shape. Small or flat rims get such a lid; patches with
any other rim are counted together, which suits bodies made of loose panels, and where such rims are nearly flat, or
their patch is deep behind them, by themselves as well. Patches with a mouth (see `mouths.py`) hold nothing, so a bowl
or tub made of one sheet stays a shell, while the same sheet upside down or on its side (a dome, a box without bottom or
front) is filled; nor do small bent sheets, as leaves are.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from pipeline.geometry import mouths
from pipeline.geometry.mouths import Rims

FLAT, WAVY = 0.02, 0.04  # wide rims get a lid up to the first waviness; up to the second, beside counting without one,
ROUGH = 0.18  # or up to this one where their patch is deep,
DEEP = 1.5  # which it is with so many times the area of its lids
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
    loop = _components(node[:, 0], node[:, 1], len(nodes))[node[:, 0]]
    rims = _rims(vertices[ends[border]], uses[edge[border]] == 1, loop, owner)

    mouth, twin, host = mouths.look(vertices[faces], patch, rims)
    wall = twin >= 0
    group = np.arange(1, len(host) + 1)
    deep = _areas(vertices[faces], patch, len(group)) > DEEP * np.bincount(rims.home, rims.area, len(group))
    outline = _outlines(rims, deep)
    rough = np.where(deep[rims.home], ROUGH, WAVY)  # how wavy a rim may be to get a lid
    lidded = ~mouth & (wall | (rims.waviness <= FLAT) | ~(rims.wide | outline[rims.home]))
    own, again = group.copy(), np.ones(len(group), bool)
    group[rims.home[~lidded]] = 0
    group[rims.home[mouth]] = -1
    group[outline] = -1
    again[rims.home[mouth | ~(lidded | (rims.waviness <= rough))]] = False
    again &= group == 0
    group[group > 0] = group[host[group > 0]]

    fans, edge = _lids(rims, twin)
    loop, owner = loop[edge], owner[edge]
    fan, fan_again = lidded[loop] & (group[owner] >= 0), again[owner]
    face, face_again = group[patch] >= 0, again[patch]
    triangles = [vertices[faces[face]], fans[fan], vertices[faces[face_again]], fans[fan_again]]
    groups = [group[patch[face]], group[owner[fan]], own[patch[face_again]], own[owner[fan_again]]]
    return np.concatenate(triangles), np.concatenate(groups), fans[(fan | fan_again) & ~wall[loop]]


def _lids(rims: Rims, twin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangles (T, 3, 3) that close the rims, modulo 2, and the edge (T,) of which each is.

    A fan around the rim's centre, or where rims end a wall, a strip from the outer to the inner one, and there its fan.
    """
    edges = np.arange(len(rims.ends))
    inner = np.where(twin < 0, np.arange(len(twin)), twin)
    fans, strips, sides = np.concatenate([rims.ends, rims.centre[inner[rims.loop], None]], axis=1), [], []
    for rim in np.flatnonzero(inner != np.arange(len(twin))):
        mine = edges[rims.loop == rim]
        ends, corners = rims.ends[mine], rims.ends[rims.loop == twin[rim]].reshape(-1, 3)
        beside = corners[cKDTree(corners).query(ends.reshape(-1, 3))[1]].reshape(-1, 2, 3)
        fans[mine, :2] = beside
        strips += [np.concatenate([ends, beside[:, 1:]], axis=1), np.concatenate([ends[:, :1], beside], axis=1)]
        sides += [mine, mine]
    if not strips:
        return fans, edges
    # What the strip's inner side and the inner rim share is closed by neither.
    wall = edges[twin[rims.loop] >= 0]
    ends = fans[wall, :2]
    turn = (ends[:, 0] < ends[:, 1])[np.arange(len(wall)), (ends[:, 0] != ends[:, 1]).argmax(axis=1)]
    ends[turn] = ends[turn, ::-1]
    _, first, times = np.unique(ends.reshape(-1, 6), axis=0, return_index=True, return_counts=True)
    left = first[(times % 2 == 1) & (ends[first, 0] != ends[first, 1]).any(axis=1)]
    kept = np.concatenate([edges[twin[rims.loop] < 0], wall[left]])
    return np.concatenate([fans[kept], *strips]), np.concatenate([kept, *sides])


def _outlines(rims: Rims, deep: np.ndarray) -> np.ndarray:
    """Patches (P,) bool that are small bent sheets, as leaves are: not deep, with one rim, neither wide nor flat."""
    single = np.bincount(rims.home, minlength=len(deep)) == 1
    bent = np.bincount(rims.home, ~rims.wide & (rims.waviness > FLAT), len(deep)) > 0
    return single & bent & ~deep


def _components(a: np.ndarray, b: np.ndarray, size: int) -> np.ndarray:
    """Component (size,) of each node of the graph with edges a-b."""
    graph = coo_matrix((np.ones(len(a), bool), (a, b)), shape=(max(size, 1),) * 2)
    return connected_components(graph, directed=False)[1][:size].astype(np.int64)


def _areas(triangles: np.ndarray, owner: np.ndarray, size: int) -> np.ndarray:
    """Area (size,) of all triangles (M, 3, 3) of each owner (M,)."""
    sides = triangles[:, 1:] - triangles[:, :1]
    return np.bincount(owner, np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1) / 2, size)


def _rims(ends: np.ndarray, unshared: np.ndarray, loop: np.ndarray, owner: np.ndarray) -> Rims:
    """The rims that edges make up.

    ends (E, 2, 3) of the border's edges, unshared (E,) bool: no other patch uses the edge, loop (E,) index, owner (E,)
    patch.
    """
    length = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
    total = np.bincount(loop, length)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.stack([np.bincount(loop, length * column, len(total)) / total for column in values.T], axis=1)

    home = np.zeros(len(total), np.int64)
    home[loop] = owner
    centre = mean(ends.mean(axis=1))
    spokes = ends - centre[loop, None]
    radius = np.zeros(len(total))
    np.maximum.at(radius, loop, np.linalg.norm(spokes, axis=2).max(axis=1))
    spread = np.einsum("eki,ekj->eij", spokes, spokes).reshape(-1, 9) / 2
    variance, axes = np.linalg.eigh(mean(spread).reshape(-1, 3, 3))
    waviness, free = np.sqrt(np.maximum(variance[:, 0], 0)) / radius, mean(unshared[:, None])[:, 0] > 0.5
    area = _areas(np.concatenate([ends, centre[loop, None]], axis=1), loop, len(total))
    return Rims(home, centre, axes[:, :, 0], radius, waviness, free, area, ends, loop)
