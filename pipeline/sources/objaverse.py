"""Objaverse: `<uid>.glb`, a name of 32 hexadecimal digits, with `glbs/` above it or the annotations beside it.

+Y up and +Z front, as glTF has it, wherever their makers kept to that. A model's category is that of
`lvis-annotations.json.gz` ({category: [uid, ...]}), or else the first of `metadata/<folder>.json.gz` or
`annotations.json` ({uid: {categories: [{name}]}}), or else `objaverse`. All of these may be unpacked.

Source: Deitke et al., "Objaverse", CVPR 2023, arXiv 2212.08051, and its Python package.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.sources import tree
from pipeline.sources.layout import Found, Layout, ModelRef, listing, slug, turning, unpacked

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
    for location, match in notes.items():
        if match["folder"] is None or match["folder"] in folders:
            named |= _first(root, location)
    for location in lists:
        named |= _lvis(root, location)
    ids = [(location, match["model_id"]) for location, match in meshes.items()]
    return [Found(ModelRef(named.get(uid, LAYOUT.name), uid, LAYOUT.name, location)) for location, uid in ids]


def _lvis(root: Path, location: str) -> dict[str, str]:
    with listing(location, "uids by category"):
        listed = json.loads(unpacked(location, tree.read(root, location)))
        return {uid: slug(category) for category, uids in listed.items() for uid in uids}


def _first(root: Path, location: str) -> dict[str, str]:
    with listing(location, "models by uid, with the names of their categories"):
        listed = json.loads(unpacked(location, tree.read(root, location)))
        named = {uid: model.get("categories") for uid, model in listed.items()}
        return {uid: slug(categories[0]["name"]) for uid, categories in named.items() if categories}


LAYOUT = Layout("objaverse", turning("y", "z"), scan)
