"""Amazon Berkeley Objects: `3dmodels/original/<letter>/<id>.glb`, with its folders or some of them above.

+Y up and +Z front, as glTF has it. A model's category is the `product_type` of a listing that names it
(`listings/metadata/listings_*.json.gz`, a product a line), `abo` where none does.

Source: Collins et al., "ABO: Dataset and Benchmarks for Real-World 3D Object Understanding", CVPR 2022, arXiv
2110.06199.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.sources import tree
from pipeline.sources.layout import Found, Layout, ModelRef, doubted, slug, turning, unpacked

MESH = re.compile(r"/original/[0-9A-Z]/(?P<model_id>[0-9A-Z]{10})\.glb$")
LISTINGS = re.compile(r"/listings_\w+\.json(\.gz)?$")


def scan(root: Path, locations: Sequence[str]) -> list[Found]:
    models = [location for location in locations if location.endswith(".glb")]
    meshes = {location: match["model_id"] for location in models if (match := MESH.search("/" + location))}
    lists = [location for location in locations if LISTINGS.search("/" + location)] if meshes else []
    categories: dict[str, str] = {}
    doubts: list[str] = []
    for location in lists:
        with doubted(location, "products with 3dmodel_id and product_type", doubts):
            for line in unpacked(location, tree.read(root, location)).splitlines():
                product = json.loads(line)
                if product.get("3dmodel_id") and product.get("product_type"):
                    categories[product["3dmodel_id"]] = slug(product["product_type"][0]["value"])
    return [
        Found(
            ModelRef(category or LAYOUT.name, model_id, LAYOUT.name, mesh), doubt="".join(doubts[:1] * (not category))
        )
        for mesh, model_id in meshes.items()
        for category in [categories.get(model_id, "")]
    ]


LAYOUT = Layout("abo", turning("y", "z"), scan)
