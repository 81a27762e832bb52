"""PartNet: `<id>/objs/{original,new}-<n>.obj`, the parts of a model, and `<id>/meta.json`.

PartNet-Mobility has them in `textured_objs`. All parts together are the model. Its category is the `model_cat` of
`meta.json`, or else the folder above; annotations of one and the same model of ShapeNet (`model_id`) stay in one split.
+Y up, +Z front: the published matrices that bring ShapeNetCore.v1's models there take +X to +Z. Lists of the split are
taken where they lie there, called as in the project's `stats/train_val_test_split`: `Chair.train.json`, a list of
`anno_id`.

Source: Mo et al., "PartNet", CVPR 2019, arXiv 1812.02713, and the notes of daerduoCarey/partnet_dataset.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pipeline.runtime.files import sha256
from pipeline.sources import tree
from pipeline.sources.layout import Found, Layout, ModelRef, doubted, slug, turning

PART = re.compile(r"^(?P<folder>(.*/)?(?P<model_id>[^/]+)/)(?P<parts>(textured_)?objs/)(original|new)-\d+\.(?i:obj)$")
LIST = re.compile(r"/train_val_test_split/[^/]+\.(?P<split>train|val|test)\.json$")
BOXES = ("data_v0", "dataset", "")  # folders that are no categories


def scan(root: Path, locations: Sequence[str]) -> list[Found]:
    parts = [location for location in locations if "objs/" in location]
    models = {match["folder"] + match["parts"]: match for location in parts if (match := PART.search(location))}
    if not models:
        return []
    lists = {location: match["split"] for location in locations if (match := LIST.search("/" + location))}
    doubts: list[str] = []
    split, source = _official(root, lists, doubts)
    there = set(locations)
    found = []
    for folder, match in models.items():
        above = PurePosixPath(match["folder"]).parent.name.removesuffix("!").removesuffix(".zip")
        category, group = slug(LAYOUT.name if above in BOXES else above), ""
        own = [] if match["model_id"] in split else doubts[:1]
        if (notes := match["folder"] + "meta.json") in there:
            with doubted(notes, "model_cat and model_id", own):
                told = json.loads(tree.read(root, notes))
                category, group = slug(told.get("model_cat") or category), str(told.get("model_id") or "")
        ref = ModelRef(category, match["model_id"], LAYOUT.name, folder)
        known = ref.model_id in split
        found.append(Found(ref, group, split.get(ref.model_id, ""), source if known else "", "; ".join(own)))
    return found


def _official(root: Path, lists: dict[str, str], doubts: list[str]) -> tuple[dict[str, str], str]:
    """Model -> split, and the name of that split; nothing where there are no lists."""
    models: dict[str, str] = {}
    contents = []
    for location, split in sorted(lists.items()):
        with doubted(location, "anno_id", doubts):
            contents.append(tree.read(root, location))
            models |= {str(model["anno_id"]): split for model in json.loads(contents[-1])}
    return models, f"partnet:{sha256(b''.join(contents))[:8]}" if models else ""


LAYOUT = Layout("partnet", turning("y", "z"), scan)
