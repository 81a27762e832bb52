"""Which rims of patches are mouths, through which one sees into a shape, and not holes; a part of `patches.py`.

A wide free rim is a mouth

    on top      of its patch, level, with nothing standing over it: bowls, tubs
    through     where another rim of its patch is seen behind it: lens hoods, lampshades, shelves without a back
    in a bell   where what it leads into holds less than a cone over it, cut off at a rim at its other end: horns

the last two only where it looks into the open, and not down: what stands on the ground is seen by nobody. Two rims in
one plane, of one patch within another, are no mouths but the two ends of a wall, as of a hood with an outer and an
inner side or of a niche in a cabinet: such patches count together, and the wall is solid and what it surrounds empty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.geometry.open3d import o3d, scene

HOLE_RADIUS = 0.1  # rims up to this radius are damage, whatever their shape
EVEN = 0.1  # waviness up to which a wide rim may be a mouth that is not on top
CLEARANCE = 0.01  # by which something has to rise above a rim to stand over it
OUTSIDE = 0.02  # from so far before a rim it is looked into; rims this close are in one plane
DOWN = 0.7  # cosine from which on a rim faces down, or two rims face each other
SPOKES, STEPS = 24, 4  # rays through a rim
CONE = 1 / 3  # share of its box that a cone fills


@dataclass(frozen=True)
class Rims:
    """Loops of the borders of patches, L of them, E edges in all.

    home (L,): the patch. centre (L, 3), normal (L, 3): of its plane. radius (L,), waviness (L,): RMS distance from the
    plane, as a share of the radius. free (L,) bool: no other patch uses most of it. area (L,): of a fan over it.
    ends (E, 2, 3): corners of the edges; loop (E,): which rim they belong to.
    """

    home: np.ndarray
    centre: np.ndarray
    normal: np.ndarray
    radius: np.ndarray
    waviness: np.ndarray
    free: np.ndarray
    area: np.ndarray
    ends: np.ndarray
    loop: np.ndarray

    @property
    def wide(self) -> np.ndarray:
        return self.radius > HOLE_RADIUS


@dataclass(frozen=True)
class End:
    """A wide free rim at one end of its patch: `inward` (3,) points from it into the patch, which is `depth` deep."""

    rim: int
    inward: np.ndarray
    depth: float


def look(triangles: np.ndarray, patch: np.ndarray, rims: Rims) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mouths (L,) bool; of rims that end a wall (L,) the inner one, otherwise -1; and the patch (P,) with which each
    counts, maybe itself.

    triangles (M, 3, 3) and the patch (M,) of each.
    """
    count = patch.max(initial=-1) + 1
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    np.minimum.at(low, patch, triangles.min(axis=1))
    np.maximum.at(high, patch, triangles.max(axis=1))
    mouth = _on_top(rims, low, high)
    order = np.argsort(patch, kind="stable")
    starts = np.searchsorted(patch[order], np.arange(count + 1))

    def own(i: int) -> np.ndarray:
        return triangles[order[starts[i] : starts[i + 1]]]

    ends = _ends(rims, own)
    twin, host = _walls(rims, ends, low, high)
    seeing = [end for end in ends if twin[end.rim] < 0 and not mouth[end.rim] and end.inward[1] < DOWN]
    if seeing:
        everything = scene(triangles)
        of_patch: dict[int, list[End]] = {}
        for end in ends:
            of_patch.setdefault(rims.home[end.rim], []).append(end)
        for end in seeing:
            opposite = [other for other in of_patch[rims.home[end.rim]] if end.inward @ other.inward < -DOWN]
            mouth[end.rim] = _open(everything, rims, end) and (
                any(_through(everything, rims, end, other) for other in opposite)
                or _bell(own(rims.home[end.rim]), rims, end)
            )
    return mouth & (twin < 0), twin, host


def _on_top(rims: Rims, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Rims (L,) bool that are level, wide, free, on top of their patches, and have no patch above their centres."""
    top, depth = high[rims.home, 1], high[rims.home, 1] - low[rims.home, 1]
    on_top = (top - rims.centre[:, 1] < 0.25 * depth) & (depth > 0.25 * rims.radius)
    mouth = rims.wide & (np.abs(rims.normal[:, 1]) > DOWN) & rims.free & on_top
    for i in np.flatnonzero(mouth):
        over = (low[:, ::2] <= rims.centre[i, ::2]).all(axis=1) & (high[:, ::2] >= rims.centre[i, ::2]).all(axis=1)
        mouth[i] = not np.any(over & (high[:, 1] > top[i] + CLEARANCE))
    return mouth


def _ends(rims: Rims, own: Callable[[int], np.ndarray]) -> list[End]:
    """Wide, free and even rims that have their patch on one side, more than a quarter of their radius deep."""
    ends = []
    for i in np.flatnonzero(rims.wide & rims.free & (rims.waviness <= EVEN)):
        heights = (own(rims.home[i]) - rims.centre[i]) @ rims.normal[i]
        before, behind = -heights.min(), heights.max()
        side, depth = (1, behind) if behind > before else (-1, before)
        if depth > 0.25 * rims.radius[i] and min(before, behind) < OUTSIDE + rims.waviness[i] * 3 * rims.radius[i]:
            ends.append(End(int(i), side * rims.normal[i], float(depth)))
    return ends


def _walls(rims: Rims, ends: list[End], low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last two of `look`: largest patches first, each with the largest that lines it, and no more than one."""
    twin, host = np.full(len(rims.home), -1), np.arange(len(low))
    volume = np.prod(high - low, axis=1)
    pairs = _linings(rims, ends, low, high, volume)
    partner: dict[int, int] = {}
    for outer, inner in sorted(pairs, key=lambda pair: tuple(-volume[rims.home[pair]])):
        a, b = int(rims.home[outer]), int(rims.home[inner])
        if partner.get(a, b) == b and partner.get(b, a) == a:
            partner[a], partner[b] = b, a
            twin[[outer, inner]], host[b] = inner, a
    return twin, host


def _linings(rims: Rims, ends: list[End], low: np.ndarray, high: np.ndarray, volume: np.ndarray) -> np.ndarray:
    """Pairs (N, 2) of rims in one plane, not on the ground: the patch of the second lies within that of the first."""
    if len(ends) < 2:
        return np.zeros((0, 2), np.int64)
    rim = np.array([end.rim for end in ends])
    inward, depth = np.array([end.inward for end in ends]), np.array([end.depth for end in ends])
    home, centre, radius = rims.home[rim], rims.centre[rim], rims.radius[rim]
    apart = centre - centre[:, None]  # of each, a row, to each
    fits = (home != home[:, None]) & (volume[home] < volume[home][:, None])
    fits &= (inward @ inward.T > 0.99) & (inward[:, 1:2] < DOWN) & (depth <= depth[:, None] + OUTSIDE)
    fits &= (np.abs(np.einsum("abk,ak->ab", apart, inward)) < OUTSIDE) & (radius < 1.1 * radius[:, None])
    fits &= np.linalg.norm(apart, axis=2) < radius[:, None] / 2
    fits &= (low[home] > low[home][:, None] - OUTSIDE).all(axis=2)
    fits &= (high[home] < high[home][:, None] + OUTSIDE).all(axis=2)
    return rim[np.argwhere(fits)]


def _distances(scene: Any, rims: Rims, rim: int, start: float, way: np.ndarray) -> np.ndarray:
    """How far rays go that begin spread evenly over a rim's fan, moved by `start` along `way` (3,); inf if for good."""
    edges = rims.ends[rims.loop == rim]
    behind = np.concatenate([[0], np.linalg.norm(edges[:, 1] - edges[:, 0], axis=1).cumsum()])
    places = (np.arange(SPOKES) + 0.5) / SPOKES * behind[-1]
    edge = np.searchsorted(behind, places) - 1
    part = ((places - behind[edge]) / (behind[edge + 1] - behind[edge]))[:, None]
    rounds = edges[edge, 0] * (1 - part) + edges[edge, 1] * part
    shares = np.sqrt((np.arange(STEPS) + 0.5) / STEPS)[:, None, None]
    points = rims.centre[rim] + shares * (rounds - rims.centre[rim]) + start * way
    rays = np.concatenate([points, np.broadcast_to(way, points.shape)], axis=2).reshape(-1, 6).astype(np.float32)
    return np.asarray(scene.cast_rays(o3d.core.Tensor(rays), nthreads=1)["t_hit"].numpy())


def _open(scene: Any, rims: Rims, end: End) -> bool:
    """Whether a rim looks into the open."""
    return bool(np.isinf(_distances(scene, rims, end.rim, OUTSIDE / 2, -end.inward)).mean() > 0.5)


def _through(scene: Any, rims: Rims, end: End, other: End) -> bool:
    """Whether one sees through a rim more than half the way to another."""
    way = rims.centre[other.rim] - rims.centre[end.rim]
    length = float(np.linalg.norm(way))
    seen = _distances(scene, rims, end.rim, -OUTSIDE, way / length)
    return bool((seen > OUTSIDE + length / 2).mean() > 0.5)


def _bell(triangles: np.ndarray, rims: Rims, end: End) -> bool:
    """Whether a patch (M, 3, 3) holds less than a cone over its rim, looked into to its middle, cut off at a rim."""
    area = np.linalg.norm(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1)
    way = np.average(triangles.mean(axis=1), axis=0, weights=area) - rims.centre[end.rim]
    way /= np.linalg.norm(way)
    depth = ((triangles - rims.centre[end.rim]) @ way).max()
    behind = (rims.home == rims.home[end.rim]) & ((rims.centre - rims.centre[end.rim]) @ way > depth / 2)
    part = min(1.0, rims.radius[behind].max(initial=0.0) / rims.radius[end.rim])
    deep = np.minimum(_distances(scene(triangles), rims, end.rim, 0.0, way), depth)
    return bool(deep.mean() < 0.9 * CONE * (1 + part + part**2) * depth)
