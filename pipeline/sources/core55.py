"""The Core55 reconstruction challenge: twelve views and a grid of 256^3 cells a model, cameras unknown.

    {train,val,test}_imgs/<id>/000.png ... 011.png      {train,val,test}_voxels/<id>/model.mat (variable `input`)

Split by these folders. The ids are the challenge's own; ShapeNet's `all.csv`, where it lies in the root, tells category
and model of each, otherwise all are of category `core55`. The axes of the grids are documented nowhere: they are taken
as they come for x, y (up), z.

Source: Yi et al., "Large-Scale 3D Shape Reconstruction and Segmentation from ShapeNet Core55", 2017, arXiv 1710.06104.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np

from pipeline.sources import mat, pictures, renderings, tree
from pipeline.sources.layout import Found, Grid, Layout, ModelRef, Views

FOLDER = re.compile(r"/(?P<split>train|val|test)_(imgs|voxels)/(?P<id>[^/]+)/")
VIEWS = 12
SOURCE = "core55 folders"


def scan(root: Path, locations: Sequence[str]) -> list[Found]:
    models: dict[tuple[str, str], list[str]] = {}
    for location in locations:
        if match := FOLDER.search("/" + location):
            models.setdefault((match["split"], match["id"]), []).append(location)
    names = _names(root / "all.csv") if models else {}
    found = []
    for (split, own_id), own in models.items():
        views = sorted({location.rpartition("/")[0] for location in own if location.endswith(".png")})
        grids = [location for location in own if location.endswith("/model.mat")]
        for folder, grid in zip_longest(views, grids or [""], fillvalue=""):
            ref = ModelRef(*names.get(own_id, ("core55", own_id)), LAYOUT.name, views=folder, grid=grid)
            found.append(Found(ref, "", split, SOURCE))
    return found


def parts(root: Path, ref: ModelRef) -> list[str]:
    return (_pictures(ref) if ref.views else []) + [ref.grid] * bool(ref.grid)


def views(root: Path, ref: ModelRef, size: tuple[int, int]) -> Views:
    rgba = renderings.stacked([pictures.decode(tree.read(root, location)) for location in _pictures(ref)])
    masks = np.stack([renderings.object_mask(picture) for picture in rgba])
    gray = np.stack([pictures.grayscale(picture) for picture in rgba])
    unknown = np.full((VIEWS, 4, 4), np.nan), np.full(VIEWS, np.nan)
    return Views(np.where(masks, gray, np.uint8(255)), masks, *unknown, lambda: renderings.colour(rgba, masks))


def grid(root: Path, ref: ModelRef) -> Grid:
    return mat.read(tree.read(root, ref.grid), "input")


def _pictures(ref: ModelRef) -> list[str]:
    return [f"{ref.views}/{n:03}.png" for n in range(VIEWS)]


def _names(path: Path) -> dict[str, tuple[str, str]]:
    """The challenge's id -> (synset, model id)."""
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"id", "synsetId", "modelId"} <= set(reader.fieldnames or ()):
                return {}
            return {row["id"]: ((row["synsetId"] or "").zfill(8), row["modelId"] or "") for row in reader}
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: expected a table of models, got {error}") from error


LAYOUT = Layout("core55", np.eye(3), scan, parts, views, grid)
