"""One model of a shard or a record archive: whether its arrays agree with each other.

Arrays are as `shards/layout.py` has them for a model, bits packed; `faults` looks at whichever there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageOps

from pipeline.geometry.isosurface import marching_cubes
from pipeline.pages.pictures import CELL, Surface

AGREED = 0.98  # share of the points that have to lie where a grid or a mask says
SHOWN = 8  # models in a picture
DOTS = 1500  # points of a cloud in a picture
Arrays = Mapping[str, np.ndarray]


def views_show_something(arrays: Arrays) -> str:
    masks = unpacked(arrays["masks"], arrays["views"].shape[-1])
    bare = np.flatnonzero(~masks.any(axis=(1, 2)))
    white = [n for n, (view, mask) in enumerate(zip(arrays["views"], masks, strict=True)) if (view[mask] == 255).all()]
    empty = sorted({*bare.tolist(), *white})
    return f"view {empty[0]} shows no object" if empty else ""


def grid_is_solid(arrays: Arrays) -> str:
    filled = grid(arrays).mean()
    if not 0 < filled < 1:
        return "all cells are free" if filled == 0 else "all cells are full"
    noted = float(arrays["notes"][0])
    return "" if abs(noted - filled) < 1e-4 else f"{filled:.2%} of the cells are full, its note says {noted:.2%}"


def points_lie_on_the_grid(arrays: Arrays) -> str:
    return below(on_grid(grid(arrays), arrays["points"]), "in a full cell or beside one")


def points_lie_on_the_masks(arrays: Arrays) -> str:
    shares = on_masks(arrays)
    worst = int(shares.argmin())
    return below(float(shares[worst]), f"on the mask of view {worst}")


def affine_can_be_undone(arrays: Arrays) -> str:
    affine = arrays["affine"]
    held = np.isfinite(affine).all() and abs(np.linalg.det(affine)) > 0 and np.array_equal(affine[3], [0, 0, 0, 1])
    return "" if held else "it is not finite, or flat"


# What is checked, by which arrays, and how.
CHECKS: tuple[tuple[str, tuple[str, ...], Callable[[Arrays], str]], ...] = (
    ("every view shows an object", ("views", "masks"), views_show_something),
    ("grids are neither free nor full, and filled as noted", ("occupancy", "notes"), grid_is_solid),
    ("grids and points agree", ("occupancy", "points"), points_lie_on_the_grid),
    ("masks, cameras and points agree", ("masks", "cameras", "world_to_view", "points"), points_lie_on_the_masks),
    ("the way back to the mesh's own frame can be gone", ("affine",), affine_can_be_undone),
)


def faults(arrays: Arrays) -> dict[str, str]:
    """For each of CHECKS that the arrays allow, what is wrong; empty where nothing is."""
    return {what: check(arrays) for what, names, check in CHECKS if all(name in arrays for name in names)}


def below(share: float, where: str) -> str:
    return "" if share >= AGREED else f"{share:.0%} of its points lie {where}"


def grid(arrays: Arrays) -> np.ndarray:
    """(R, R, R) bool."""
    side = round((8 * arrays["occupancy"].size) ** (1 / 3))
    return np.unpackbits(arrays["occupancy"], count=side**3).astype(bool).reshape(side, side, side)


def unpacked(masks: np.ndarray, width: int) -> np.ndarray:
    """(V, H, W/8) uint8 -> (V, H, W) bool."""
    return np.unpackbits(masks, axis=-1, count=width).astype(bool)


def on_grid(occupancy: np.ndarray, points: np.ndarray) -> float:
    """Share of points (P, 3) of the unit cube in a full cell of (R, R, R) bool, or beside one."""
    from scipy import ndimage

    grown = ndimage.binary_dilation(np.pad(occupancy, 1), np.ones((3, 3, 3)))
    inside = np.isfinite(points).all(axis=1) & (np.abs(points) <= 0.5 + 1e-6).all(axis=1)
    cells = np.floor((points[inside] + 0.5) * len(occupancy)).clip(-1, len(occupancy)).astype(int) + 1
    return float(grown[tuple(cells.T)].sum() / max(1, len(points)))


def on_masks(arrays: Arrays) -> np.ndarray:
    """(V,) share of a model's points that the camera of a view sees on its mask, or beside it; 1 without a camera."""
    from scipy import ndimage

    height, width = arrays["masks"].shape[1], arrays["views"].shape[-1]
    masks = unpacked(arrays["masks"], width)
    shares, points = np.ones(len(masks)), arrays["points"][np.isfinite(arrays["points"]).all(axis=1)]
    for n, (mask, camera, pose) in enumerate(zip(masks, arrays["cameras"], arrays["world_to_view"], strict=True)):
        if not (np.isfinite(camera).all() and np.isfinite(pose).all()):
            continue
        x, y, z = pose[:3, :3] @ points.T + pose[:3, 3:]
        focal = min(height, width) / 2 / np.tan(np.radians(camera[3]) / 2)  # in pixels
        column, row = (np.floor(side / 2 - focal * a / z) for side, a in ((width, x), (height, y)))  # +X left, +Y up
        grown = np.pad(ndimage.binary_dilation(mask, np.ones((3, 3))), 1)
        places = row.clip(-1, height).astype(int) + 1, column.clip(-1, width).astype(int) + 1
        shares[n] = grown[places].sum() / max(1, len(arrays["points"]))
    return shares


def photo(view: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(H, W) uint8 of a CELL: the object in a view (H', W'), on white."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if len(rows):
        window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        view = np.where(mask, view, 255).astype(np.uint8)[window]
    return np.asarray(ImageOps.pad(Image.fromarray(view), CELL, color=255))


def solid(arrays: Arrays) -> Surface:
    return marching_cubes(grid(arrays))
