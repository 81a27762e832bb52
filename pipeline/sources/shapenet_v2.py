"""ShapeNetCore.v2: `<synset>/<id>/models/model_normalized.obj`, +Y up, -Z front. Source: shapenet.org, README of v2."""

from __future__ import annotations

import re

import numpy as np

from pipeline.sources.layout import Layout

LAYOUT = Layout(
    name="shapenet-v2",
    pattern=re.compile(r"/(?P<synset>\d{8})/(?P<model_id>[^/]+)/models/model_normalized\.obj$"),
    rotation=np.eye(3),
)
