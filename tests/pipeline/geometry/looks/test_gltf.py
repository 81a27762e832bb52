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
from pipeline.geometry.looks import files, gltf
from pipeline.geometry.looks.appearance import WHITE, Looks, fitted
from pipeline.geometry.readers.accessors import opened
from pipeline.geometry.readers.gltf import DRACO

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)


def none(name: str) -> None: ...


def ball(visual: Any = None) -> trimesh.Trimesh:
    made = trimesh.creation.icosphere(1)
    return trimesh.Trimesh(made.vertices, made.faces, visual=visual, process=False)


def looks_of(data: Any, extension: str, beside: Any = none) -> tuple[meshes.Mesh, Looks]:
    mesh = meshes.read(data, extension)
    return mesh, fitted(mesh, files.read(data, extension, beside))


def nearest(mesh: meshes.Mesh, most: float = 1e-5) -> np.ndarray:
    """Which vertices of `ball` the corners of the faces are, (M, 3)."""
    apart = np.linalg.norm(ball().vertices[None] - mesh.vertices[:, None], axis=2)
    assert apart.min(axis=1).max() < most
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
    known = gltf.linear_to_srgb(np.array([0, 0.0031308, 0.21404114, 1, 2]))
    assert known == pytest.approx([0, 0.04045, 0.5, 1, 1], abs=1e-5)
    assert np.allclose(known[:4], trimesh.visual.color.linear_to_srgb(np.array([0, 0.0031308, 0.21404114, 1])))


def test_dark_factors_are_exact_and_textures_are_moved() -> None:
    """glTF's own text: rotation turns the texture's coordinates around the upper left corner, V downwards."""
    how = {"offset": [0.5, 0.25], "rotation": np.pi / 2, "scale": [2.0, 4.0]}
    head = json.loads(gltf_with("a.png"))
    head["materials"] = [{"name": "paint", "pbrMetallicRoughness": {"baseColorFactor": [0.001, 0.01, 0.1, 1]}}]
    _, looks = looks_of(json.dumps(head).encode(), "gltf")
    assert np.allclose(looks.colours[looks.material], gltf.linear_to_srgb(np.array([0.001, 0.01, 0.1])), atol=1e-6)
    head["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}
    whole = io.BytesIO()
    Image.fromarray(PICTURE).save(whole, "PNG")
    files_of = {"a.png": whole.getvalue()}.get
    _, plain = looks_of(json.dumps(head).encode(), "gltf", files_of)
    head["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]["extensions"] = {"KHR_texture_transform": how}
    _, turned = looks_of(json.dumps(head).encode(), "gltf", files_of)
    u, v = plain.uv[..., 0], 1 - plain.uv[..., 1]  # to whole textures
    by_hand = np.stack([4 * v + 0.5, 1 - (0.25 - 2 * u)], axis=-1)
    assert np.abs((turned.uv - by_hand + 0.5) % 1 - 0.5).max() < 1e-4


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
    assert files.named(gltf_with(inside), "gltf", none) == []


@pytest.mark.parametrize(
    "change",
    [
        {"images": [{"uri": None}]},
        {"images": [None]},
        {"images": [{"uri": "data:image/png;base64,A"}]},
        {"images": [{"bufferView": 99}]},
        {"images": []},
        {"textures": []},
        {"textures": [{}]},
    ],
)
def test_textures_that_lead_to_none_are_passed_over(change: dict[str, Any]) -> None:
    data = json.dumps(json.loads(gltf_with("a.png")) | change).encode()
    assert files.named(data, "gltf", none) == (["a.png"] if "textures" in change else [])
    _, looks = looks_of(data, "gltf")
    assert looks.textures[looks.material[0]].shape == (1, 1, 3)


@pytest.mark.parametrize("name", ["TEXCOORD_0", "COLOR_0"])
@pytest.mark.parametrize(
    "change", [{"count": 1}, {"count": 10**9}, {"bufferView": 99}, {"type": "SCALAR"}, {"nan": True}]
)
def test_damaged_coordinates_and_colours_are_left_out(name: str, change: dict[str, Any]) -> None:
    uv = RNG.random((len(ball().vertices), 2))
    material = PBRMaterial(baseColorTexture=Image.fromarray(PICTURE), baseColorFactor=[255, 55, 0, 255])
    visual: Any = (
        TextureVisuals(uv, material) if "TEX" in name else ColorVisuals(vertex_colors=PICTURE[:6, :7].reshape(-1, 3))
    )
    data: Any = ball(visual).export(file_type="glb")
    head, binary = opened(data)
    (primitive,) = head["meshes"][0]["primitives"]
    told = head["accessors"][primitive["attributes"][name]]
    if "nan" in change:
        told |= {"componentType": 5126, "type": "VEC3" if name == "COLOR_0" else "VEC2", "normalized": False}
        told["bufferView"] = len(head["bufferViews"])
        head["bufferViews"].append({"buffer": 0, "byteOffset": len(binary), "byteLength": 12 * 42})
        binary += b"\xff" * 12 * 42
    else:
        told |= change
    head["buffers"] = [{"byteLength": len(binary), "uri": f"data:;base64,{base64.b64encode(binary).decode()}"}]
    _, looks = looks_of(json.dumps(head).encode(), "gltf")
    colours = looks.colours[looks.material]
    assert np.allclose(colours, [1, 0.5, 0] if name == "TEXCOORD_0" else 1, atol=4e-3) and (looks.shade == 1).all()
    assert all(looks.textures[n] is WHITE for n in np.unique(looks.material))
    assert looks.lost.startswith("expected whole texture" if name == "TEXCOORD_0" else "expected finite colours")


def test_parts_of_a_scene_are_moved_and_each_has_its_own() -> None:
    scene = trimesh.Scene()
    for n, colour in enumerate(([255, 0, 0, 255], [0, 0, 255, 255])):
        part = trimesh.creation.box((1, 1, 1))
        part.visual = TextureVisuals(material=PBRMaterial(baseColorFactor=colour))
        scene.add_geometry(part, transform=trimesh.transformations.translation_matrix([3 * n, 0, 0]))
    mesh, looks = looks_of(scene.export(file_type="glb"), "glb")
    right = mesh.vertices[mesh.faces].mean(axis=1)[:, 0] > 1.5
    assert np.allclose(looks.colours[looks.material[: len(mesh.faces)]], np.where(right[:, None], [0, 0, 1], [1, 0, 0]))


def test_what_draco_compressed_and_a_glossy_material() -> None:
    """Colours of corners packed by the library itself, and a material of the older kind."""
    DracoPy = pytest.importorskip("DracoPy")
    made, colours = ball(), RNG.integers(0, 256, (42, 3), dtype=np.uint8)
    packed = DracoPy.encode(made.vertices.astype(np.float32), made.faces, colors=colours, quantization_bits=20)
    ids = {each["attribute_type"]: each["unique_id"] for each in DracoPy.decode(packed).attributes}
    glossy = {"KHR_materials_pbrSpecularGlossiness": {"diffuseFactor": [1, 0.21404114, 0, 1]}}
    primitive = {
        "attributes": {"POSITION": 0, "COLOR_0": 1},
        "indices": 2,
        "material": 0,
        "extensions": {DRACO: {"bufferView": 0, "attributes": {"POSITION": ids[0], "COLOR_0": ids[2]}}},
    }
    head = {
        "asset": {"version": "2.0"},
        "extensionsRequired": [DRACO],
        "materials": [{"extensions": glossy}],
        "meshes": [{"primitives": [primitive]}],
        "accessors": [
            {"componentType": 5126, "type": "VEC3", "count": 42},
            {"componentType": 5121, "type": "VEC3", "count": 42, "normalized": True},
            {"componentType": 5125, "type": "SCALAR", "count": 240},
        ],
        "bufferViews": [{"buffer": 0, "byteLength": len(packed)}],
        "buffers": [{"byteLength": len(packed), "uri": "data:;base64," + base64.b64encode(packed).decode()}],
    }
    mesh, looks = looks_of(json.dumps(head).encode(), "gltf")
    assert np.allclose(looks.colours[looks.material], [1, 0.5, 0], atol=1e-5)
    expected = gltf.linear_to_srgb(colours / 255)
    assert np.abs(looks.shade[: len(mesh.faces)] - expected[nearest(mesh, 1e-3)]).max() < 1e-5
