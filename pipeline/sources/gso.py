"""Google Scanned Objects: `<name>/meshes/model.obj`, in folders or a zip each, as Gazebo Fuel hands them out.

A model's category is that of `<name>/metadata.pbtxt`, `gso` where it says none. +Z up, in metres; which way the models
face is documented nowhere: -Y is taken.

Source: Downs et al., "Google Scanned Objects", ICRA 2022, arXiv 2204.11918.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.sources import tree
from pipeline.sources.layout import Found, Layout, ModelRef, doubted, slug, turning

MESH = re.compile(r"/(?P<model_id>[^/]+)/meshes/model\.obj$")
CATEGORY = re.compile(rb'categories\s*\{\s*first:\s*"([^"]+)"')


def scan(root: Path, locations: Sequence[str]) -> list[Found]:
    there = {location for location in locations if location.endswith("metadata.pbtxt")}
    found = []
    for location in locations:
        if location.endswith("/meshes/model.obj") and (match := MESH.search("/" + location)):
            model_id = match["model_id"].removesuffix("!").removesuffix(".zip")
            notes = location.removesuffix("meshes/model.obj") + "metadata.pbtxt"
            doubts: list[str] = []
            category = None
            if notes in there:
                with doubted(notes, "a category", doubts):
                    category = CATEGORY.search(tree.read(root, notes))
            name = slug(category[1].decode("utf-8", "replace")) if category else LAYOUT.name
            found.append(Found(ModelRef(name, model_id, LAYOUT.name, location), doubt="".join(doubts)))
    return found


LAYOUT = Layout("gso", turning("z", "-y"), scan)
