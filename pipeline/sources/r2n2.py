"""3D-R2N2's ready-made views and grids, no meshes.

    ShapeNetRendering/<synset>/<id>/rendering/      ShapeNetVox32/<synset>/<id>/model.binvox

A folder of views holds 00.png, 01.png, ..., 137x137 with alpha, and rendering_metadata.txt with a row for each: azimuth
and elevation in degrees, in-plane rotation (always 0), distance as a share of 1.75, and a field of view that Blender
did not use: its lens was 35 mm on a sensor of 32 mm. The frame is ShapeNetCore.v1's, azimuth 0 on +X and 90 on +Z. The
grids are of 32^3 cells, taken to lie where their headers say.

Source: Choy et al., "3D-R2N2", ECCV 2016, arXiv 1604.00449; the cameras as PyTorch3D's `datasets.r2n2` has them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np

from pipeline.geometry.meshes import MeshError
from pipeline.sources import binvox, pictures, renderings, tree
from pipeline.sources.layout import Found, Grid, Layout, ModelRef, Views, matches, turned
from pipeline.sources.shapenet_v1 import FRONT_X

FOLDER = re.compile(r"/(ShapeNetRendering|ShapeNetVox32)/(?P<synset>\d{8})/(?P<model_id>[^/]+)/")
FARTHEST = 1.75  # distance of the camera at a ratio of 1
FOV_DEG = float(np.degrees(2 * np.arctan(32 / 2 / 35)))


def scan(root: Path, locations: Sequence[str]) -> list[Found]:
    found = []
    for key, own in matches(FOLDER, locations).items():
        views = sorted({location.rpartition("/")[0] for location in own if "/rendering/" in location[:-1]})
        grids = [location for location in own if location.endswith("/model.binvox")]
        for folder, grid in zip_longest(views, grids or [""], fillvalue=""):
            found.append(Found(ModelRef(*key, LAYOUT.name, views=folder, grid=grid)))
    return found


def parts(root: Path, ref: ModelRef) -> list[str]:
    names = [f"{ref.views}/rendering_metadata.txt", *_pictures(ref, len(_metadata(root, ref)))] if ref.views else []
    return names + [ref.grid] * bool(ref.grid)


def views(root: Path, ref: ModelRef, size: tuple[int, int]) -> Views:
    metadata = _metadata(root, ref)
    rgba = renderings.stacked([pictures.decode(tree.read(root, name)) for name in _pictures(ref, len(metadata))])
    masks = rgba[..., 3] >= 128
    gray = np.stack([pictures.grayscale(picture) for picture in rgba])
    cameras = np.stack([camera(azimuth, elevation, FARTHEST * ratio) for azimuth, elevation, _, ratio in metadata])
    fov_deg = np.full(len(masks), FOV_DEG)
    return Views(np.where(masks, gray, np.uint8(255)), masks, cameras, fov_deg, lambda: renderings.colour(rgba, masks))


def grid(root: Path, ref: ModelRef) -> Grid:
    return turned(binvox.read(tree.read(root, ref.grid)), FRONT_X)


def camera(azimuth_deg: float, elevation_deg: float, distance: float) -> np.ndarray:
    """(4, 4) from v1's frame to the view frame (+X left, +Y up, +Z inward) of a camera that looks at the origin."""
    azimuth, elevation = np.radians([azimuth_deg, elevation_deg])
    inward = -np.array([np.cos(azimuth) * np.cos(elevation), np.sin(elevation), np.sin(azimuth) * np.cos(elevation)])
    left = np.array([-np.sin(azimuth), 0, np.cos(azimuth)])
    matrix = np.eye(4)
    matrix[:3, :3] = left, np.cross(inward, left), inward
    matrix[2, 3] = distance
    return matrix


def _pictures(ref: ModelRef, count: int) -> list[str]:
    return [f"{ref.views}/{n:02}.png" for n in range(count)]


def _metadata(root: Path, ref: ModelRef) -> np.ndarray:
    """(V, 4) azimuth_deg, elevation_deg, in-plane rotation, share of FARTHEST."""
    text = tree.read(root, f"{ref.views}/rendering_metadata.txt").decode("ascii", "replace")
    try:
        rows = np.array([line.split()[:4] for line in text.splitlines() if line.strip()], float).reshape(-1, 4)
        if not len(rows) or not np.isfinite(rows).all() or rows[:, 2].any() or rows[:, 3].min() <= 0:
            raise ValueError(text[:200])
    except ValueError as error:
        expected = "expected rows of azimuth, elevation, 0 and a distance over 0 in rendering_metadata.txt"
        raise MeshError("bad_view", f"{expected}, got {error}") from error
    return rows


LAYOUT = Layout("3d-r2n2", FRONT_X, scan, parts, views, grid)
