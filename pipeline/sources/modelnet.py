"""ModelNet10 and ModelNet40: `<category>/{train,test}/<category>_0001.off`.

Split by these folders, but for a tenth of the training models, by a hash, which validate. +Z up; which way the models
face is documented nowhere, those of ModelNet10 are said to agree in it: -Y is taken.

Source: Wu et al., "3D ShapeNets", CVPR 2015, arXiv 1406.5670.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.sources import splits
from pipeline.sources.layout import Found, Layout, ModelRef, slug, turning

MESH = re.compile(r"/(?P<split>train|test)/(?P<model_id>(?P<category>[a-z_]+)_\d{4})\.(?i:off)$")
SOURCE = "modelnet folders"


def scan(root: Path, locations: Sequence[str]) -> list[Found]:
    found = []
    for location in locations:
        if ("train/" in location or "test/" in location) and (match := MESH.search("/" + location)):
            ref = ModelRef(slug(match["category"]), match["model_id"], LAYOUT.name, location)
            split = "val" if match["split"] == "train" and splits.validates(ref.model_id) else match["split"]
            found.append(Found(ref, "", split, SOURCE))
    return found


LAYOUT = Layout("modelnet", turning("z", "-y"), scan)
