"""Thingi10K: `raw_meshes/<id>.stl` (or .obj, .off, .ply).

+Z up, as things lie when they are printed; -Y is taken for the front. A model's category is that of its thing, where
`input_summary.csv` (columns ID, Thing ID) and `contextual_data.csv` (Thing ID, Category) say it, `thingi10k` otherwise.
The files of one thing stay in one split.

Source: Zhou and Jacobson, "Thingi10K", 2016, arXiv 1605.04797.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.sources import tree
from pipeline.sources.layout import Found, Layout, ModelRef, doubted, slug, turning

MESH = re.compile(r"/raw_meshes/(?P<model_id>\d+)\.(?i:stl|obj|off|ply)$")


def scan(root: Path, locations: Sequence[str]) -> list[Found]:
    meshes = {location: match["model_id"] for location in locations if (match := MESH.search("/" + location))}
    if not meshes:
        return []
    things, unknown = _table(root, locations, "input_summary.csv", "ID", "Thing ID")
    categories, unsorted = _table(root, locations, "contextual_data.csv", "Thing ID", "Category")
    found = []
    for mesh, model_id in meshes.items():
        thing = things.get(model_id, "")
        category = slug(categories.get(thing) or LAYOUT.name)
        why = unknown * (model_id not in things) + unsorted * (thing not in categories)
        group = f"thing {thing}" if thing else ""
        found.append(Found(ModelRef(category, model_id, LAYOUT.name, mesh), group, doubt="; ".join(why)))
    return found


def _table(root: Path, locations: Sequence[str], name: str, key: str, value: str) -> tuple[dict[str, str], list[str]]:
    """Two columns of a table, where there is one, and what is wrong with it."""
    found: dict[str, str] = {}
    doubts: list[str] = []
    for location in locations:
        if ("/" + location).endswith("/" + name):
            with doubted(location, f"rows with {key} and {value}", doubts):
                text = tree.read(root, location).decode("utf-8-sig", "replace")
                rows = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
                for row in rows if {key, value} <= set(rows.fieldnames or ()) else ():
                    found[(row[key] or "").strip()] = (row[value] or "").strip()
    return found, doubts


LAYOUT = Layout("thingi10k", turning("z", "-y"), scan)
