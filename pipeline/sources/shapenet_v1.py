"""ShapeNetCore.v1: `<synset>/<id>/model.obj`, +Y up, +X front. Source: shapenet.org, README of v1."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.sources.layout import Found, Layout, ModelRef, matches

MESH = re.compile(r"/(?P<synset>\d{8})/(?P<model_id>[^/]+)/(?i:model\.obj)$")
FRONT_X = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # a quarter turn about Y takes +X to -Z


def scan(root: Path, locations: Sequence[str]) -> list[Found]:
    return [
        Found(ModelRef(*key, LAYOUT.name, mesh)) for key, meshes in matches(MESH, locations).items() for mesh in meshes
    ]


LAYOUT = Layout("shapenet-v1", FRONT_X, scan)
