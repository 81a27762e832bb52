from __future__ import annotations

import pytest

from pipeline.geometry import meshes
from pipeline.geometry.meshes import MeshError

TRIANGLE = '<MeshGeometry3D Positions="0 0 0, 1 0 0, 0 1 0" Normals="0 0 1, 0 0 1, 0 0 1" TriangleIndices="0 1 2" />'
MATRIX = (
    '<ModelVisual3D.Transform><MatrixTransform3D Matrix="2 0 0 0 0 2 0 0 0 0 2 0 5 0 0 1" /></ModelVisual3D.Transform>'
)


def scene(move: str, model: str = "") -> bytes:
    inner = f"<GeometryModel3D>{model}<GeometryModel3D.Geometry>{TRIANGLE}</GeometryModel3D.Geometry></GeometryModel3D>"
    visual = f"<ModelVisual3D>{move}<ModelVisual3D.Content>{inner}</ModelVisual3D.Content></ModelVisual3D>"
    return (
        f'<Viewport3D xmlns="http://schemas.microsoft.com/winfx/2006/xaml/presentation">{visual}</Viewport3D>'.encode()
    )


def test_a_matrix_moves_and_what_trimesh_passes_over_is_refused() -> None:
    assert meshes.read(scene(""), "xaml").vertices.max(axis=0).tolist() == [1, 1, 0]
    assert meshes.read(scene(MATRIX), "xaml").vertices.max(axis=0).tolist() == [7, 2, 0]
    shift = MATRIX.replace(
        'MatrixTransform3D Matrix="2 0 0 0 0 2 0 0 0 0 2 0 5 0 0 1"', 'TranslateTransform3D OffsetX="5"'
    )
    model = MATRIX.replace("ModelVisual3D", "GeometryModel3D")
    camera = MATRIX.replace("ModelVisual3D", "PerspectiveCamera").replace("Matrix", "Translate")
    looked = scene("").replace(
        b"<ModelVisual3D>", f"<PerspectiveCamera>{camera}</PerspectiveCamera><ModelVisual3D>".encode()
    )
    assert meshes.read(looked, "xaml").vertices.max(axis=0).tolist() == [1, 1, 0]
    for data, named in ((scene(shift), "TranslateTransform3D"), (scene("", model), "GeometryModel3D.Transform")):
        with pytest.raises(MeshError, match=f"got a transform of {named}") as caught:
            meshes.read(data, "xaml")
        assert caught.value.reason == "unsupported"
