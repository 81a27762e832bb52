"""XAML's scenes, which trimesh reads: what it would pass over in silence."""

from __future__ import annotations

import re

from pipeline.geometry.errors import MeshError
from pipeline.geometry.readers.xml import parsed

STILL = re.compile("Camera|Light|Brush")  # what these move is no shape


def refuse_moves(data: bytes) -> None:
    """MeshError `unsupported` where something is moved otherwise than by a matrix of a ModelVisual3D."""
    left = [parsed(data)]
    while left:
        each = left.pop()
        name = each.tag.rpartition("}")[2]
        if STILL.search(name):
            continue
        left += each
        moves = name.endswith((".Transform", "Transform3D", "Transform3DGroup")) or "Transform" in each.attrib
        if moves and name not in ("ModelVisual3D.Transform", "MatrixTransform3D"):
            raise MeshError("unsupported", f"expected matrices of ModelVisual3D, got a transform of {name}")
