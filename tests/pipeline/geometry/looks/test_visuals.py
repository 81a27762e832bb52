from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import pytest
import trimesh
from trimesh.visual import ColorVisuals, TextureVisuals
from trimesh.visual.material import PBRMaterial

from pipeline.geometry.looks.appearance import GRAY
from tests.pipeline.geometry.looks.test_gltf import RNG, ball, looks_of, nearest


def test_colours_of_vertices() -> None:
    colours = np.column_stack([RNG.integers(0, 256, (42, 3)), np.full(42, 255)]).astype(np.uint8)
    mesh, looks = looks_of(ball(ColorVisuals(vertex_colors=colours)).export(file_type="ply"), "ply")
    assert np.allclose(255 * looks.shade[: len(mesh.faces)], colours[nearest(mesh), :3])
    assert np.allclose(looks.colours[looks.material], 1)


def test_colours_of_faces() -> None:
    colours = np.column_stack([RNG.integers(0, 256, (80, 3)), np.full(80, 255)]).astype(np.uint8)
    mesh, looks = looks_of(ball(ColorVisuals(mesh=ball(), face_colors=colours)).export(file_type="ply"), "ply")
    order = {tuple(sorted(face)): n for n, face in enumerate(ball().faces.tolist())}
    shown = [order[tuple(sorted(face))] for face in nearest(mesh).tolist()]
    assert np.allclose(255 * looks.shade[: len(mesh.faces), 1], colours[shown, :3])


@pytest.mark.parametrize("extension", ["dae", "zae"])
def test_colours_of_collada_lie_where_it_stands_upright(extension: str) -> None:
    """Of two boxes side by side along Y, which is not up: where the faces are, trimesh says."""
    scene = trimesh.Scene()
    for n, colour in enumerate(([255, 0, 0, 255], [0, 0, 255, 255])):
        part = trimesh.creation.box((1, 1, 1))
        part.visual = TextureVisuals(material=PBRMaterial(baseColorFactor=colour))
        scene.add_geometry(part, transform=trimesh.transformations.translation_matrix([0, 3 * n, 0]))
    data = trimesh.exchange.dae.export_collada(scene.dump()).replace(b"Y_UP", b"Z_UP")
    assert b"Z_UP" in data
    if extension == "zae":
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr("a.dae", data)
        data = content.getvalue()
    mesh, looks = looks_of(data, extension)
    far = mesh.vertices[mesh.faces].mean(axis=1)[:, 2] < -1.5  # Y became -Z
    assert far.sum() == 12
    assert np.allclose(looks.colours[looks.material[: len(mesh.faces)]], np.where(far[:, None], [0, 0, 1], [1, 0, 0]))


def test_without_colours_all_is_gray() -> None:
    for extension in ("stl", "glb"):
        _, looks = looks_of(ball().export(file_type=extension), extension)
        assert np.allclose(looks.colours[looks.material] * looks.shade[:, 0], GRAY), extension


def test_what_trimesh_can_not_read_has_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    colours = np.full((42, 4), 255, np.uint8)
    data: Any = ball(ColorVisuals(vertex_colors=colours)).export(file_type="ply")

    def fails(*given: Any, **how: Any) -> None:
        raise TypeError("theirs")

    monkeypatch.setattr(trimesh, "load_scene", fails)
    _, looks = looks_of(data, "ply")
    assert np.allclose(looks.colours[looks.material], GRAY)
