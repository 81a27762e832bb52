"""3D-FUTURE: `<id>/normalized_model.obj` or else `raw_model.obj`, listed in `3D-FUTURE-model/model_info.json`.

+Y up; front +Z, which its README does not say: it is how 3D-FRONT places these models in its rooms. A model's category
is that of the list, its `super-category` where that is null, and `unnamed` where the list does not have it.

Source: Fu et al., "3D-FUTURE: 3D Furniture shape with TextURE", IJCV 2021, arXiv 2009.09633.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.sources import tree
from pipeline.sources.layout import Found, Layout, ModelRef, listing, slug

MESH = re.compile(r"/(?P<model_id>[^/]+)/(normalized|raw)_model\.obj$")
HALF_TURN = np.diag([-1.0, 1, -1])  # about Y, takes +Z to -Z


def scan(root: Path, locations: Sequence[str]) -> list[Found]:
    lists = [location for location in locations if ("/" + location).endswith("/model_info.json")]
    if not lists:
        return []
    categories = {key: category for location in lists for key, category in _categories(root, location).items()}
    chosen: dict[tuple[str, str], str] = {}  # (folder, model id) -> mesh; `normalized` comes before `raw`
    for location in locations:
        if match := MESH.search("/" + location):
            chosen.setdefault((location.rpartition("/")[0], match["model_id"]), location)
    found = [(categories.get(model_id, slug("")), model_id, mesh) for (_, model_id), mesh in chosen.items()]
    there = {model_id for _, model_id in chosen}
    found += [(category, model_id, "") for model_id, category in categories.items() if model_id not in there]
    return [Found(ModelRef(category, model_id, LAYOUT.name, mesh)) for category, model_id, mesh in found]


def _categories(root: Path, location: str) -> dict[str, str]:
    with listing(location, "model_id, category and super-category"):
        models = json.loads(tree.read(root, location))
        named = {str(model["model_id"]): slug(model["category"] or model["super-category"] or "") for model in models}
    return named


LAYOUT = Layout("3d-future", HALF_TURN, scan)
