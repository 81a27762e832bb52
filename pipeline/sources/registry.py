"""Where models come from: one file per layout on disk, each a `Layout`.

A layout recognises the models in a tree by the names of the files and says how their axes are turned; some bring
ready-made views or grids. Adding a data set is one new file here and its entry in `LAYOUTS`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.geometry.meshes import FORMATS
from pipeline.sources import (
    abo,
    core55,
    folders,
    foreign,
    future3d,
    gso,
    modelnet,
    objaverse,
    omniobject3d,
    partnet,
    pix3d,
    r2n2,
    shapenet_v1,
    shapenet_v2,
    thingi10k,
)
from pipeline.sources.layout import Found, Layout, ModelRef, matches, turning
from pipeline.sources.tree import walk

_MODULES = (
    *(shapenet_v2, shapenet_v1, r2n2, core55, pix3d, future3d),
    *(modelnet, gso, abo, omniobject3d, objaverse, partnet, thingi10k),
    folders,
)
LAYOUTS: dict[str, Layout] = {module.LAYOUT.name: module.LAYOUT for module in _MODULES}
_MODEL_FOLDER = re.compile(r"/(?P<synset>\d{8})/(?!\d{8}/)(?P<model_id>[^/]+)/")


class Looked(NamedTuple):
    """What lies under a root.

    Attributes:
        models: sorted.
        links: locations of those to folders outside, which are not followed.
        foreign: files of models that can't be read, by the ends of their names.
        spare: locations of meshes that are no model's, nor lie in the folder of one.
    """

    models: list[Found]
    links: list[str]
    foreign: Counter[str]
    spare: list[str]


def find(root: Path) -> Looked:
    """All models under `root`.

    The same model found twice is listed twice. A model's folder without a mesh is listed as a model with no locations.

    Raises:
        ValueError: root is missing, no folder, or holds an empty or broken zip.
    """
    locations, links = walk(root)
    known = [layout for layout in LAYOUTS.values() if layout is not folders.LAYOUT]
    found = [model for layout in known for model in layout.scan(root, locations)]
    found = found or folders.LAYOUT.scan(root, locations)
    found += _without_mesh(found, locations)
    found.sort(key=lambda model: model.ref)
    return Looked(found, links, foreign.counted(locations), _spare(found, locations))


def rotation(ref: ModelRef) -> np.ndarray:
    """(3, 3) from the axes of a model's mesh to +Y up, -Z front."""
    return turning(*ref.axes.split()) if ref.axes else LAYOUTS[ref.layout].rotation


def _spare(found: Sequence[Found], locations: Sequence[str]) -> list[str]:
    """Meshes that no layout takes for a model or for something beside one."""
    used = {model.ref.mesh for model in found}
    others = [each for each in locations if each.rpartition(".")[2].lower() in FORMATS and each not in used]
    if not (others := [location for location in others if not folders.hidden(location)]):
        return []
    count = Counter(mesh.rstrip("/").rpartition("/")[0] for mesh in used)
    below = {folder for folder, meshes in count.items() if meshes == 1}  # of a model each
    for model in found:
        names = model.ref.model_id, f"{model.ref.model_id}.zip!"
        below |= {folder for folder in _above(model.ref.mesh) if folder.rpartition("/")[2] in names}
    return [location for location in others if below.isdisjoint(_above(location))]


def _above(location: str) -> Iterator[str]:
    """The folders that a location lies in, the nearest first."""
    while location := location.rpartition("/")[0]:
        yield location


def _without_mesh(found: Sequence[Found], locations: Sequence[str]) -> list[Found]:
    """The folders that lie where models of ShapeNet do, but hold none."""
    layouts = {model.ref.layout for model in found}
    layout = next((name for name in (shapenet_v2.LAYOUT.name, shapenet_v1.LAYOUT.name) if name in layouts), None)
    if not layout:
        return []
    known = {(model.ref.synset, model.ref.model_id) for model in found}
    return [Found(ModelRef(*key, layout)) for key in matches(_MODEL_FOLDER, locations) if key not in known]
