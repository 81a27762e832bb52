"""Objaverse: `<uid>.glb`, a name of 32 hexadecimal digits, with `glbs/` above it or the annotations beside it.

+Y up and +Z front, as glTF has it, wherever their makers kept to that. A model's category is that of
`lvis-annotations.json.gz` ({category: [uid, ...]}), or else the first of `metadata/<folder>.json.gz` or
`annotations.json` ({uid: {categories: [{name}]}}), or else `objaverse`. All of these may be unpacked.

Source: Deitke et al., "Objaverse", CVPR 2023, arXiv 2212.08051, and its Python package.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.sources import tree
from pipeline.sources.layout import Found, Layout, ModelRef, doubted, slug, turning, unpacked

MESH = re.compile(r"/((?P<glbs>glbs)/)?(?P<folder>[^/]+/)?(?P<model_id>[0-9a-f]{32})\.glb$")
LVIS = re.compile(r"/lvis-annotations\.json(\.gz)?$")
NOTES = re.compile(r"/(metadata/(?P<folder>\d{3}-\d{3})|annotations)\.json(\.gz)?$")


def scan(root: Path, locations: Sequence[str]) -> list[Found]:
    models = [location for location in locations if location.endswith(".glb")]
    meshes = {location: match for location in models if (match := MESH.search("/" + location))}
    if not meshes:
        return []
    lists = [location for location in locations if LVIS.search("/" + location)]
    folders = {(match["folder"] or "").rstrip("/") for match in meshes.values()}
    notes = {location: match for location in locations if (match := NOTES.search("/" + location))}
    if not (lists or notes or any(match["glbs"] for match in meshes.values())):
        return []
    named: dict[str, str] = {}
    doubts: defaultdict[str, list[str]] = defaultdict(list)  # by folder; of no folder, about all
    for location, match in notes.items():
        folder = match["folder"] or ""
        if not folder or folder in folders:
            with doubted(location, "models by uid, with the names of their categories", doubts[folder]):
                for uid, model in _json(root, location).items():
                    if categories := model.get("categories"):
                        named[uid] = slug(categories[0]["name"])
    listed: dict[str, str] = {}
    unlisted: list[str] = []
    for location in lists:
        with doubted(location, "uids by category", unlisted):
            for category, uids in _json(root, location).items():
                listed |= dict.fromkeys(uids, slug(category))
    found = []
    for location, match in meshes.items():
        uid, folder = match["model_id"], (match["folder"] or "").rstrip("/")
        unnamed = [] if uid in named else doubts[""] + doubts[folder] * bool(folder)
        why = [] if uid in listed else unlisted + unnamed
        category = listed.get(uid) or named.get(uid) or LAYOUT.name
        found.append(Found(ModelRef(category, uid, LAYOUT.name, location), doubt="; ".join(why)))
    return found


def _json(root: Path, location: str) -> Any:
    return json.loads(unpacked(location, tree.read(root, location)))


LAYOUT = Layout("objaverse", turning("y", "z"), scan)
