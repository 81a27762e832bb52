"""ShapeNetCore.v2: `<synset>/<id>/models/model_normalized.obj`, +Y up, -Z front, in folders or one zip a synset.

Grids of 128^3 cells lie beside the meshes, as model_normalized.solid.binvox, or without one. Source: shapenet.org,
README of v2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.sources import binvox, tree
from pipeline.sources.layout import Found, Grid, Layout, ModelRef, matches

MESH = re.compile(r"/(?P<synset>\d{8})/(?P<model_id>[^/]+)/(?i:models/model_normalized\.obj)$")
GRID = re.compile(MESH.pattern.replace("obj", r"solid\.binvox"))


def scan(root: Path, locations: Sequence[str]) -> list[Found]:
    there = {location for location in locations if location.endswith(".solid.binvox")}
    with_mesh = matches(MESH, locations)
    bare = {key: grids for key, grids in matches(GRID, sorted(there)).items() if key not in with_mesh}
    return [
        Found(ModelRef(*key, LAYOUT.name, mesh, grid=beside if (beside := _grid(mesh)) in there else ""))
        for key, meshes in with_mesh.items()
        for mesh in meshes
    ] + [Found(ModelRef(*key, LAYOUT.name, "", grid=grid)) for key, grids in bare.items() for grid in grids]


def _grid(mesh: str) -> str:
    return mesh.removesuffix("obj") + "solid.binvox"


def grid(root: Path, ref: ModelRef) -> Grid:
    return binvox.read(tree.read(root, ref.grid))


LAYOUT = Layout("shapenet-v2", np.eye(3), scan, grid=grid)
