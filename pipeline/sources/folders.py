"""Any folder of meshes in the formats of `meshes.py`: `<category>/<name>.<ext>`, `<category>/<name>/.../<file>.<ext>`.

Category is the first folder below the root, the model id the rest of the path without its extension, joined by dots. A
zip counts as a folder of its name, but one right below the root that has folders in it is only a box around them. +Y is
taken for up, as glTF has it; which way the models face is not known, -Z is as good as any; `dataset.up` and
`dataset.front` say otherwise.

Folders `train` and `test` side by side, or `Training` and `Testing` (and `val`, or a tenth of the training models by a
hash), are the split, be they in the folder of each category or above them all.

Used where no other layout is found in the root.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline.geometry.meshes import FORMATS
from pipeline.sources import tree
from pipeline.sources.layout import Found, Layout, ModelRef, slug
from pipeline.sources.splits import validates

SPLITS = {  # folders, in capitals or not
    **{"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"},
    **{"test": "test", "testing": "test"},
}
SOURCE = "folders train and test"


def scan(root: Path, locations: Sequence[str]) -> list[Found]:
    meshes = [location for location in locations if PurePosixPath(location).suffix[1:].lower() in FORMATS]
    meshes = [mesh for mesh in meshes if not hidden(mesh)]
    parted = _parted(meshes)
    return [_found(root, mesh, parted) for mesh in meshes]


def _found(root: Path, mesh: str, parted: Mapping[tuple[str, ...], set[str]]) -> Found:
    parts = _parts(mesh)
    for n, part in enumerate(parts[:-1]):
        if parts[:n] in parted and (split := SPLITS.get(part.lower())):
            above, below = parts[:n], parts[n + 1 :]
            inside = len(parted) == 1 and len(below) > 1  # the categories lie in the folders of the split
            category = below[0] if inside else above[-1] if above else root.resolve().name
            rest = [part, *below[inside:-1], PurePosixPath(below[-1]).stem]
            if split == "train" and "val" not in parted[above] and validates(mesh):
                split = "val"
            return Found(ModelRef(slug(category), ".".join(rest), LAYOUT.name, mesh), "", split, SOURCE)
    return Found(ModelRef(*name(root, mesh), LAYOUT.name, mesh))


def _parted(meshes: Sequence[str]) -> dict[tuple[str, ...], set[str]]:
    """Folders in which `train` and `test` lie side by side, and which splits do."""
    found: dict[tuple[str, ...], set[str]] = {}
    for parts in map(_parts, meshes):
        for n, part in enumerate(parts[:-1]):
            if split := SPLITS.get(part.lower()):
                found.setdefault(parts[:n], set()).add(split)
    return {folder: splits for folder, splits in found.items() if splits >= {"train", "test"}}


def _parts(location: str) -> tuple[str, ...]:
    """The folders of a location, zips among them, and its name."""
    return tuple(part.removesuffix(".zip") for part in location.replace("!/", "/").split("/"))


def name(root: Path, location: str) -> tuple[str, str]:
    """(category, model id) of a location; both are good names for files."""
    path, member = tree.split(location)
    inner = [part for part in PurePosixPath(member).parts if part not in ("/", "..")]
    outer = list(PurePosixPath(path).parts)
    if member:
        outer[-1] = PurePosixPath(path).stem
        if len(outer) == 1 and len(inner) > 1:
            outer = []
    category, *rest = [*outer, *inner] if len(outer + inner) > 1 else [root.resolve().name, *outer, *inner]
    rest[-1] = PurePosixPath(rest[-1]).stem
    model_id = ".".join(rest)
    return slug(category), model_id if model_id.strip(".") else f"_{model_id}"


def hidden(location: str) -> bool:
    """Whether it lies in a zip among what some systems leave there."""
    _, member = tree.split(location)
    return any(part.startswith((".", "__MACOSX")) and part != ".." for part in PurePosixPath(member).parts)


LAYOUT = Layout("folders", np.eye(3), scan)
