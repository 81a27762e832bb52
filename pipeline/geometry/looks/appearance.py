"""How the faces of a mesh look: colours of materials, textures and colours of corners, laid onto the faces as read.

Colours are those of pictures (sRGB), and so are their products, as in PyTorch3D. What has no colour of its own is in
the gray of the grayscale views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.geometry.meshes import Mesh

GRAY = 0.85  # of what has no colour: `renderer.ALBEDO`, but that grayscale views do not depend on this file
WHITE = np.full((1, 1, 3), 255, np.uint8)  # the texture of a material that has none
NEAR = 1e-3  # of the longest side, how far a face may be from triangles whose look it takes over


@dataclass(frozen=True)
class Looks:
    """How triangles look, a row each: material's colour x texture x colour at the point, between the corners' own.

    Attributes:
        material: (N,) int64, of 0..K-1.
        uv: (N, 3, 2) float32, where the corners lie in the texture, which repeats; +U right, +V up from its lower left.
        shade: (N, 3, 3) float32, factors at the corners.
        colours: (K, 3) float32 in [0, 1], of the materials.
        textures: K pictures (h, w, 3) uint8, the upper row first; WHITE where a material has none.
        behind: (M,) int64: the first M rows are those of a mesh's faces, and this is the row each shows from behind.
        lost: what is damaged and left out, in words.
    """

    material: np.ndarray
    uv: np.ndarray
    shade: np.ndarray
    colours: np.ndarray
    textures: tuple[np.ndarray, ...]
    behind: np.ndarray
    lost: str = ""

    def mirrored(self) -> Looks:
        """Of faces whose corners are named the other way round."""
        return replace(self, uv=self.uv[:, ::-1], shade=self.shade[:, ::-1])


@dataclass(frozen=True)
class Painted(Mesh):
    """A mesh with the looks of its faces."""

    looks: Looks


@dataclass(frozen=True)
class Surface:
    """Triangles as a reader of looks finds them: the corners (N, 3, 3) float64, in the frame of the file, and looks."""

    corners: np.ndarray
    looks: Looks


def plain(count: int) -> Looks:
    """Of `count` faces without a colour."""
    return flat(np.zeros(count, np.int64), np.full((1, 3), GRAY, np.float32))


def flat(material: np.ndarray, colours: np.ndarray, textures: tuple[np.ndarray, ...] = ()) -> Looks:
    """Of triangles (N,) of some materials, with nothing at their corners."""
    count = len(material)
    uv, shade = np.zeros((count, 3, 2), np.float32), np.ones((count, 3, 3), np.float32)
    return Looks(material, uv, shade, colours, textures or (WHITE,) * len(colours), np.arange(count))


def unreadable(why: str) -> Surface:
    """Of a file whose looks are left out."""
    return Surface(np.zeros((0, 3, 3)), replace(plain(0), lost=why))


def bared(looks: Looks, rows: np.ndarray, colours: np.ndarray) -> Looks:
    """Without textures on triangles (N,) bool, whose coordinates are damaged, but in the materials' colours (K, 3)."""
    textured = np.array([texture is not WHITE for texture in looks.textures])
    rows = rows & textured[looks.material]
    if not rows.any():
        return looks
    return replace(
        looks,
        material=looks.material + len(looks.colours) * rows,
        uv=np.where(rows[:, None, None], np.float32(0), looks.uv),
        colours=np.concatenate([looks.colours, colours]),
        textures=(*looks.textures, *[WHITE] * len(colours)),
        lost=f"expected whole texture coordinates, found damaged ones at {rows.sum()} of {len(rows)} faces",
    )


def joined(parts: Sequence[Surface]) -> Surface | None:
    """All in one, None where there are none."""
    if not parts:
        return None
    looks, before = [part.looks for part in parts], 0
    material = []
    for look in looks:
        material.append(look.material + before)
        before += len(look.colours)
    uv, shade, colours = (
        np.concatenate([getattr(look, name) for look in looks]) for name in ("uv", "shade", "colours")
    )
    textures = tuple(texture for look in looks for texture in look.textures)
    lost = next((look.lost for look in looks if look.lost), "")
    whole = Looks(np.concatenate(material), uv, shade, colours, textures, np.arange(len(uv)), lost)
    return Surface(np.concatenate([part.corners for part in parts]), whole)


def fitted(mesh: Mesh, found: Surface | None) -> Looks:
    """The looks of a mesh's faces, from triangles of the same surface, cut as the faces are or in another way.

    Where faces lie in one place, turned to opposite sides, each side shows the face that is turned to it.

    Args:
        mesh: as it was read, in the frame of its file.
        found: None where the file has no colours.
    """
    if found is None or not len(found.corners):
        return replace(plain(len(mesh.faces)), lost=found.looks.lost if found else "")
    looks, own = found.looks, mesh.vertices[mesh.faces]
    points = _numbered(np.concatenate([own, found.corners]).reshape(-1, 3)).reshape(-1, 3)
    order = points.argsort(axis=1, kind="stable")
    places = _numbered(np.take_along_axis(points, order, axis=1))
    (places, theirs), (order, their_order) = (np.split(part, [len(own)]) for part in (places, order))
    row = _partners(places, theirs)
    parts = _turned(looks, row, order, their_order)
    if (lost := np.flatnonzero(row < 0)).size:
        for part, part_of_lost in zip(parts, _nearest(own[lost], found, np.ptp(own, axis=(0, 1)).max()), strict=True):
            part[lost] = part_of_lost
    twin = _twins(places, order)
    seen = np.flatnonzero((twin >= 0) & (row[twin] >= 0))
    backs = _turned(looks, row[twin[seen]], order[seen], their_order)
    behind = np.arange(len(own))
    behind[seen] = len(own) + np.arange(len(seen))
    material, uv, shade = (np.concatenate(both) for both in zip(parts, backs, strict=True))
    colours = np.concatenate([looks.colours, np.full((1, 3), GRAY, np.float32)])
    return Looks(material, uv, shade, colours, (*looks.textures, WHITE), behind, looks.lost)


Parts = tuple[np.ndarray, np.ndarray, np.ndarray]  # material, uv and shade of some triangles


def _numbered(rows: np.ndarray) -> np.ndarray:
    """(N,) int64: the same number for equal rows of (N, C), from 0 up."""
    order = np.lexsort(rows.T)
    ordered = rows[order]
    numbers = np.empty(len(rows), np.int64)
    numbers[order] = np.concatenate([[0], np.cumsum((ordered[1:] != ordered[:-1]).any(axis=1))])
    return numbers


def _partners(places: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """(M,) int64: for each of the faces in `places` (M,) one of `theirs` (N,) in the same place, -1 where none is.

    Several in one place are taken in their order.
    """
    order = theirs.argsort(kind="stable")
    first, last = (np.searchsorted(theirs[order], places, side) for side in ("left", "right"))
    own = places.argsort(kind="stable")
    rank = np.empty(len(places), np.int64)
    rank[own] = np.arange(len(places)) - np.searchsorted(places[own], places[own])
    return np.where(first < last, order[np.minimum(first + rank, last - 1).clip(max=len(theirs) - 1)], -1)


def _turned(looks: Looks, row: np.ndarray, order: np.ndarray, their_order: np.ndarray) -> Parts:
    """The looks in `row` (M,), corner for corner by the orders (M, 3) and (N, 3) in which corners sort alike.

    Where row is -1, the usual gray.
    """
    corner = np.empty_like(order)
    np.put_along_axis(corner, order, their_order[row], axis=1)
    material = np.where(row < 0, len(looks.colours), looks.material[row])
    uv, shade = looks.uv[row[:, None], corner], looks.shade[row[:, None], corner]
    shade[row < 0] = 1
    return material, uv, shade


def _twins(places: np.ndarray, order: np.ndarray) -> np.ndarray:
    """(M,) int64: for each face one in the same place that is turned to the other side, -1 where there is none."""
    odd = ((order[:, 1] - order[:, 0]) % 3 == 2).astype(np.int64)  # (0, 1, 2) turned round leaves steps of 1
    known = np.full((int(places.max(initial=0)) + 1, 2), -1, np.int64)
    known[places[::-1], odd[::-1]] = np.arange(len(places))[::-1]  # the first of several
    return known[places, 1 - odd]


def _nearest(own: np.ndarray, found: Surface, size: float) -> Parts:
    """Looks of faces (L, 3, 3) that are cut otherwise: of the triangle nearest to the middle of each, continued."""
    from pipeline.geometry.open3d import o3d, scene  # for polygons that readers cut in two ways; seldom

    low = found.corners.min(axis=(0, 1))
    middles = ((own.mean(axis=1) - low) / size).astype(np.float32)
    nearest = scene((found.corners - low) / size).compute_closest_points(o3d.core.Tensor(middles), nthreads=1)
    row = nearest["primitive_ids"].numpy().astype(np.int64)
    far = np.linalg.norm(nearest["points"].numpy() - middles, axis=1) > NEAR
    a, b, c = np.moveaxis(found.corners[row], 1, 0)
    share = np.linalg.pinv(np.stack([b - a, c - a], axis=2)) @ (own - a[:, None]).transpose(0, 2, 1)  # (L, 2, corners)
    weights = np.concatenate([1 - share.sum(axis=1, keepdims=True), share], axis=1)
    looks = found.looks
    uv, shade = (np.einsum("nkc,nkd->ncd", weights, part[row]).astype(np.float32) for part in (looks.uv, looks.shade))
    material = np.where(far, len(looks.colours), looks.material[row])
    shade[far] = 1
    return material, uv, shade.clip(0, 1)
