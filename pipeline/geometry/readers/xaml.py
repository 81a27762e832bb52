"""XAML's scenes, which trimesh reads: what it would pass over in silence."""

from __future__ import annotations

from pipeline.geometry.errors import MeshError
from pipeline.geometry.readers.xml import parsed


def refuse_moves(data: bytes) -> None:
    """MeshError `unsupported` where something is moved otherwise than by a matrix of a ModelVisual3D."""
    for each in parsed(data).iter():
        name = each.tag.rpartition("}")[2]
        moves = name.endswith((".Transform", "Transform3D", "Transform3DGroup")) or "Transform" in each.attrib
        if moves and name not in ("ModelVisual3D.Transform", "MatrixTransform3D"):
            raise MeshError("unsupported", f"expected matrices of ModelVisual3D, got a transform of {name}")
