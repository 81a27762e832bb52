"""Any folder of meshes in formats that trimesh reads: `<category>/<name>.<ext>`, `<category>/<name>/.../<file>.<ext>`.

Category is the first folder below the root, the model id the rest of the path without its extension, joined by dots. A
zip counts as a folder of its name, but one right below the root that has folders in it is only a box around them. +Y is
taken for up, as glTF has it; which way the models face is not known, -Z is as good as any.

Used where no other layout is found in the root.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline.sources import tree
from pipeline.sources.layout import Found, Layout, ModelRef, slug

NO_MESHES = {"zip", "xyz"}  # that trimesh counts among its formats of meshes


def scan(root: Path, locations: Sequence[str]) -> list[Found]:
    import trimesh

    formats = set(trimesh.exchange.load.mesh_formats()) - NO_MESHES
    meshes = [location for location in locations if PurePosixPath(location).suffix[1:].lower() in formats]
    return [Found(ModelRef(*name(root, mesh), LAYOUT.name, mesh)) for mesh in meshes if not _hidden(mesh)]


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


def _hidden(location: str) -> bool:
    _, member = tree.split(location)
    return any(part.startswith((".", "__MACOSX")) and part != ".." for part in PurePosixPath(member).parts)


LAYOUT = Layout("folders", np.eye(3), scan)
