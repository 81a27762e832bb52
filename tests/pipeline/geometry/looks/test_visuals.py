from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image
from trimesh.visual import ColorVisuals, TextureVisuals
from trimesh.visual.material import PBRMaterial

from pipeline.geometry import meshes
from pipeline.geometry.looks import files, visuals
from pipeline.geometry.looks.appearance import GRAY, Looks, fitted

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)


def none(name: str) -> None: ...


def ball(visual: Any = None) -> trimesh.Trimesh:
    made = trimesh.creation.icosphere(1)
    return trimesh.Trimesh(made.vertices, made.faces, visual=visual, process=False)


def looks_of(data: Any, extension: str, beside: Any = none) -> tuple[meshes.Mesh, Looks]:
    mesh = meshes.read(data, extension)
    return mesh, fitted(mesh, files.read(data, extension, beside))


def nearest(mesh: meshes.Mesh) -> np.ndarray:
    """Which vertices of `ball` the corners of the faces are, (M, 3)."""
    apart = np.linalg.norm(ball().vertices[None] - mesh.vertices[:, None], axis=2)
    assert apart.min(axis=1).max() < 1e-5
    return apart.argmin(axis=1)[mesh.faces]


def test_texture_of_a_glb() -> None:
    uv = RNG.random((len(ball().vertices), 2))
    material = PBRMaterial(baseColorTexture=Image.fromarray(PICTURE), baseColorFactor=[255, 255, 255, 255])
    data: Any = ball(TextureVisuals(uv, material)).export(file_type="glb")
    mesh, looks = looks_of(data, "glb")
    texture = looks.textures[looks.material[0]]
    assert np.array_equal(texture, PICTURE) and (looks.material[: len(mesh.faces)] == looks.material[0]).all()
    apart = looks.uv[: len(mesh.faces)] - uv[nearest(mesh)]
    assert np.abs(apart - np.round(apart)).max() < 1e-6
    assert np.allclose(looks.colours[looks.material], 1) and files.named(data, "glb", none) == []


def test_factors_and_colours_of_vertices_in_gltf_are_linear() -> None:
    """0.2140 in linear light is 0.5 in sRGB, 0.0031308 is where its curve begins."""
    material = PBRMaterial(baseColorFactor=[255, 55, 0, 255])
    _, looks = looks_of(ball(TextureVisuals(material=material)).export(file_type="glb"), "glb")
    assert np.allclose(looks.colours[looks.material], [1, 0.5, 0], atol=4e-3)
    colours = np.full((len(ball().vertices), 4), 255, np.uint8)
    colours[:, 1] = 55
    _, looks = looks_of(ball(ColorVisuals(vertex_colors=colours)).export(file_type="glb"), "glb")
    assert np.allclose(looks.shade, [1, 0.5, 1], atol=4e-3) and np.allclose(looks.colours[looks.material], 1)
    known = visuals.linear_to_srgb(np.array([0, 0.0031308, 0.21404114, 1, 2]))
    assert known == pytest.approx([0, 0.04045, 0.5, 1, 1], abs=1e-5)
    assert np.allclose(known[:4], trimesh.visual.color.linear_to_srgb(np.array([0, 0.0031308, 0.21404114, 1])))


def gltf_with(uri: str) -> bytes:
    material = PBRMaterial(baseColorTexture=Image.fromarray(PICTURE))
    uv = RNG.random((len(ball().vertices), 2))
    parts = trimesh.exchange.gltf.export_gltf(trimesh.Scene(ball(TextureVisuals(uv, material))))
    head = json.loads(parts.pop("model.gltf"))
    for buffer in head["buffers"]:
        buffer["uri"] = "data:application/octet-stream;base64," + base64.b64encode(parts[buffer["uri"]]).decode()
    head["images"] = [{"uri": uri}]
    return json.dumps(head).encode()


def test_pictures_beside_a_gltf_are_named_and_read() -> None:
    whole = io.BytesIO()
    Image.fromarray(PICTURE).save(whole, "PNG")
    data = gltf_with("my%20pictures/a.png")
    assert files.named(data, "gltf", none) == ["my pictures/a.png"]
    _, looks = looks_of(data, "gltf", {"my pictures/a.png": whole.getvalue()}.get)
    assert np.array_equal(looks.textures[looks.material[0]], PICTURE)
    _, looks = looks_of(data, "gltf")  # it is not there
    assert looks.textures[looks.material[0]].shape == (1, 1, 3)
    inside = "data:image/png;base64," + base64.b64encode(whole.getvalue()).decode()
    assert files.named(gltf_with(inside), "gltf", none) == [] == files.named(b"no JSON", "gltf", none)


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


def test_parts_of_a_scene_are_moved_and_each_has_its_own() -> None:
    scene = trimesh.Scene()
    for n, colour in enumerate(([255, 0, 0, 255], [0, 0, 255, 255])):
        part = trimesh.creation.box((1, 1, 1))
        part.visual = TextureVisuals(material=PBRMaterial(baseColorFactor=colour))
        scene.add_geometry(part, transform=trimesh.transformations.translation_matrix([3 * n, 0, 0]))
    mesh, looks = looks_of(scene.export(file_type="glb"), "glb")
    right = mesh.vertices[mesh.faces].mean(axis=1)[:, 0] > 1.5
    assert np.allclose(looks.colours[looks.material[: len(mesh.faces)]], np.where(right[:, None], [0, 0, 1], [1, 0, 0]))


def test_without_colours_all_is_gray() -> None:
    for extension in ("stl", "glb"):
        _, looks = looks_of(ball().export(file_type=extension), extension)
        assert np.allclose(looks.colours[looks.material] * looks.shade[:, 0], GRAY), extension
