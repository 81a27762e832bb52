"""ShapeNetCore.v1: `<synset>/<id>/model.obj`, +Y up, +X front. Source: shapenet.org, README of v1."""

from __future__ import annotations

import re

import numpy as np

from pipeline.sources.layout import Layout

LAYOUT = Layout(
    name="shapenet-v1",
    pattern=re.compile(r"/(?P<synset>\d{8})/(?P<model_id>[^/]+)/model\.obj$"),
    rotation=np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]),  # a quarter turn about Y takes +X to -Z
)
