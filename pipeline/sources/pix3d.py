"""Pix3D: real photos with masks, each with the shape on it, its pose and its voxels, listed in `pix3d.json`.

One model a photo, called by its shape's folder and its own name; photos of one shape stay in one split. Where
`pix3d_train.npy` and `pix3d_test.npy` (indices into the list) lie beside the list, they are the split, but for a tenth
of the training shapes, by a hash, which validate.

Conventions, measured on the published files (silhouettes and grids computed from the meshes agree with the published
ones at an IoU over 0.999; any other sign is far off): `rot_mat` v + `trans_mat` is in a view frame with +X left, +Y up,
+Z inward; `focal_length` is in mm on a sensor 32 mm wide, the width of the photo, and the axis goes through its centre.
Meshes have +X left, +Y up, +Z inward, that is -Z front; voxels have +x left, +y outward, +z up, and the longest side of
the mesh's bounding box, centred in their cube, takes 127 of 128 cells.

Source: Sun et al., "Pix3D", CVPR 2018, arXiv 1804.04610, and the README of xingyuansun/pix3d.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pipeline.geometry import meshes
from pipeline.runtime.files import sha256
from pipeline.sources import mat, pictures, renderings, splits, tree
from pipeline.sources.layout import Found, Grid, Layout, ModelRef, Views, listing, slug, turned

LIST = "pix3d.json"
SENSOR_MM = 32.0
VOXELS = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # axes of the voxels -> axes of the meshes
LISTED = ("train", "test")


def scan(root: Path, locations: Sequence[str]) -> list[Found]:
    there = set(locations)
    return [
        model
        for location in locations
        if ("/" + location).endswith("/" + LIST)
        for model in _models(root, location.removesuffix(LIST), there)
    ]


def parts(root: Path, ref: ModelRef) -> list[str]:
    base, photo = _photo(root, ref)
    return [ref.views, base + photo["mask"], ref.grid, base + LIST]


def views(root: Path, ref: ModelRef, size: tuple[int, int]) -> Views:
    base, photo = _photo(root, ref)
    # Masks and poses are of the photo as it is stored, not as its camera was held.
    rgba = pictures.decode(tree.read(root, ref.views), upright=False)
    gray = pictures.grayscale(rgba)
    mask = pictures.grayscale(pictures.decode(tree.read(root, base + photo["mask"]), upright=False)) >= 128
    if gray.shape != mask.shape:
        raise ValueError(f"expected a photo and a mask of one size, got {gray.shape} and {mask.shape}")
    camera = np.array([*np.ravel(photo["rot_mat"]), *photo["trans_mat"], photo["focal_length"]], float)
    if not np.isfinite(camera).all() or camera[-1] <= 0:
        raise ValueError(f"expected a finite pose and a focal length over 0, got {camera.tolist()}")
    focal = camera[-1] / SENSOR_MM * gray.shape[1]
    boxed, inside, scale = renderings.letterbox(gray, mask, size)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = photo["rot_mat"], photo["trans_mat"]
    fov_deg = np.degrees(2 * np.arctan(min(size) / 2 / (focal * scale)))

    def color() -> np.ndarray:
        channels = np.moveaxis(rgba[..., :3], -1, 0)
        return np.stack([renderings.letterbox(channel, mask, size)[0] for channel in channels], axis=-1)[None]

    return Views(boxed[None], inside[None], pose[None], np.array([fov_deg]), color)


def grid(root: Path, ref: ModelRef) -> Grid:
    found = mat.read(tree.read(root, ref.grid), "voxel")
    vertices = meshes.read(ref.read(root), ref.extension).vertices
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    side = len(found.occupancy)
    affine = np.eye(4)
    affine[:3, :3] = VOXELS * (high - low).max() * side / (side - 1)
    affine[:3, 3] = (low + high) / 2
    return turned(Grid(found.occupancy, affine), VOXELS)


def _models(root: Path, base: str, there: set[str]) -> list[Found]:
    listed = _list(root, base + LIST)
    split, source = _official(root, base, there, listed)
    found = []
    for n, photo in enumerate(listed):
        shape = PurePosixPath(photo["model"])
        model_id = ".".join([*shape.parts[2:-1], PurePosixPath(photo["img"]).stem])
        ref = ModelRef(
            slug(photo["category"]), model_id, LAYOUT.name, *(base + photo[k] for k in ("model", "img", "voxel"))
        )
        found.append(Found(ref, photo["model"], split.get(n, ""), source))
    return found


def _official(root: Path, base: str, there: set[str], listed: list[dict[str, Any]]) -> tuple[dict[int, str], str]:
    """Index -> split, and the name of that split; nothing where the data set has none."""
    files = [f"{base}pix3d_{name}.npy" for name in LISTED]
    if not there.issuperset(files):
        return {}, ""
    contents = [tree.read(root, file) for file in files]
    train, test = (_indices(file, content, len(listed)) for file, content in zip(files, contents, strict=True))
    split = {n: "val" if splits.validates(listed[n]["model"]) else "train" for n in train} | dict.fromkeys(test, "test")
    return split, f"pix3d:{sha256(b''.join(contents))[:8]}"


def _indices(file: str, content: bytes, count: int) -> list[int]:
    try:
        indices = np.load(io.BytesIO(content), allow_pickle=False).ravel()
        if indices.dtype.kind not in "iu" or indices.min(initial=0) < 0 or indices.max(initial=0) >= count:
            raise ValueError(f"{indices.dtype} {indices[:5]}")
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{file}: expected indices below {count}, got {error}") from error
    return indices.tolist()


def _photo(root: Path, ref: ModelRef) -> tuple[str, dict[str, Any]]:
    """What stands before the locations in the list, and the photo's entry in it."""
    name = "/".join(ref.views.split("/")[-3:])
    base = ref.views.removesuffix(name)
    stamp, _ = tree.stamp(root, base + LIST)
    return base, _by_name(root, base + LIST, stamp)[name]


@lru_cache(maxsize=2)
def _by_name(root: Path, location: str, stamp: str) -> dict[str, dict[str, Any]]:
    return {photo["img"]: photo for photo in _list(root, location)}


def _list(root: Path, location: str) -> list[dict[str, Any]]:
    with listing(location, "photos with img, mask, model, voxel, category, rot_mat, trans_mat, focal_length"):
        listed = json.loads(tree.read(root, location))
        for photo in listed:
            if any(len(PurePosixPath(photo[k]).parts) < 3 for k in ("img", "mask", "model", "voxel")):
                raise ValueError(str(photo["img"]))
            np.array([*np.ravel(photo["rot_mat"]), *photo["trans_mat"], photo["focal_length"]], float).reshape(13)
            slug(photo["category"])
    return listed


LAYOUT = Layout("pix3d", np.eye(3), scan, parts, views, grid)
