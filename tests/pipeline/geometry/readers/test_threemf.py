from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import pytest
import trimesh

from pipeline.geometry import meshes
from pipeline.geometry.meshes import MeshError
from pipeline.geometry.readers import threemf
from tests.pipeline.geometry.readers import solids
from tests.pipeline.geometry.readers.solids import Solid

CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
PRODUCTION = "http://schemas.microsoft.com/3dmanufacturing/production/2015/06"
TYPE = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"


def mesh(vertices: np.ndarray, faces: np.ndarray) -> str:
    points = "".join(f'<vertex x="{x!r}" y="{y!r}" z="{z!r}"/>' for x, y, z in vertices.tolist())
    triangles = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in faces.tolist())
    return f"<mesh><vertices>{points}</vertices><triangles>{triangles}</triangles></mesh>"


def model(objects: str, build: str, more: str = "") -> str:
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<model unit="inch" xmlns="{CORE}" xmlns:p="{PRODUCTION}" {more}>'
    return f"{head}<metadata name='Title'>x</metadata><resources>{objects}</resources><build>{build}</build></model>"


def package(parts: dict[str, str], start: str = "/3D/3dmodel.model", stored: bool = False) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as archive:
        space = "http://schemas.openxmlformats.org/package/2006/relationships"
        relation = f'<Relationship Target="{start}" Id="r" Type="{TYPE}"/>'
        archive.writestr("_rels/.rels", f'<Relationships xmlns="{space}">{relation}</Relationships>')
        for name, text in parts.items():
            archive.writestr(name, text)
    return content.getvalue()


def transform(matrix: np.ndarray) -> str:
    return f'transform="{" ".join(repr(float(x)) for x in matrix[:3].T.ravel())}"'


def drawn(rng: np.random.Generator) -> np.ndarray:
    """A turn by quarters, scaled and moved; never mirrored."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.roll(np.eye(3), rng.integers(3), axis=0) * rng.choice([0.5, 1, 2], 3)
    matrix[:3, 3] = rng.integers(-3, 4, 3)
    return matrix


def varied(shape: Solid, rng: np.random.Generator) -> bytes:
    """A solid in one of the many ways that 3MF may be written."""
    faces = solids.triangulated(shape)
    outer, inner = drawn(rng), drawn(rng)
    split, elsewhere, spare, named, single, stored = rng.random(6) < 0.5
    own = np.asarray(trimesh.transform_points(shape.vertices, np.linalg.inv(outer @ inner)))
    halves = np.array_split(faces, 2) if split else [faces]
    objects = "".join(f'<object id="{n}" type="model">{mesh(own, half)}</object>' for n, half in enumerate(halves, 1))
    if spare:
        objects += f'<object id="77" type="model">{mesh(own + 5, faces)}</object>'
        objects += f'<object id="78" type="support">{mesh(own + 5, faces)}</object>'
    other = "3D/Objects/object_1.model"
    path = f'p:path="/{other}"' if elsewhere else ""
    links = "".join(f'<component objectid="{n}" {path} {transform(inner)}/>' for n in range(1, len(halves) + 1))
    whole = f'<object id="9"><components>{links}</components></object>'
    if single:
        whole = f'<object id="9"><components><component objectid="10" {transform(np.eye(4))}/></components></object>'
        whole = f'<object id="10"><components>{links}</components></object>' + whole
    build = f'<item objectid="9" {transform(outer)}/>' + '<item objectid="78"/>' * bool(spare and not elsewhere)
    start = "3D/start.model" if named else "3D/3dmodel.model"
    more = 'requiredextensions="p"' if elsewhere else ""
    if elsewhere:
        parts = {start: model(whole, build, more), other: model(objects, "")}
    else:
        parts = {start: model(objects + whole, build)}
    return package(parts, rng.choice(["/", ""]) + start, bool(stored))


@pytest.mark.long
def test_two_hundred_ways_to_write_a_solid() -> None:
    for seed, rng, shape in solids.solids():
        solids.assert_same(*threemf.read(varied(shape, rng)), shape, seed)


BOX = trimesh.creation.box((1, 2, 3))
BODY = f'<object id="1" type="model">{mesh(BOX.vertices, BOX.faces)}</object>'


def volume(data: bytes) -> float:
    read = meshes.read(data, "3mf")
    return float(trimesh.Trimesh(read.vertices, read.faces).volume)


def test_as_trimesh_writes_it() -> None:
    scene = trimesh.Scene()
    scene.add_geometry(BOX)
    scene.add_geometry(BOX, transform=trimesh.transformations.translation_matrix([9, 0, 0]))
    assert volume(scene.export(file_type="3mf")) == pytest.approx(12)


@pytest.mark.parametrize("path", ["/3D/Objects/a.model", "3D/Objects/a.model", "/3d/objects/A.MODEL"])
def test_components_in_another_part(path: str) -> None:
    item = f'<object id="2"><components><component p:path="{path}" objectid="1"/></components></object>'
    parts = {"3D/3dmodel.model": model(item, '<item objectid="2"/>'), "3D/Objects/a.model": model(BODY, "")}
    assert volume(package(parts)) == pytest.approx(6)
    build = f'<item objectid="1" p:path="{path}" transform="2 0 0 0 1 0 0 0 1 0 0 7"/>'
    parts["3D/3dmodel.model"] = model("", build)
    assert volume(package(parts)) == pytest.approx(12)


def one(**more: Any) -> bytes:
    return package({"3D/3dmodel.model": model(BODY, '<item objectid="1"/>')} | more)


CIRCLE = '<object id="1"><components><component objectid="1"/></components></object>'
ELSEWHERE = '<object id="1"><components><component objectid="1" p:path="/3D/none.model"/></components></object>'
WHOLE = model(BODY, '<item objectid="1"/>')
PRUSA = '<config><volume><metadata type="volume" key="volume_type" value="{}"/></volume></config>'
BAMBU = '<config><object id="2"><part id="1" subtype="{}"><metadata key="name" value="a"/></part></object></config>'
BOOLEAN = f'{BODY}<object id="2"><booleanshape objectid="1"/></object>'
SPACES = 'xmlns:b="urn:beams" requiredextensions="p b"'


TWICE = '<object id="{}"><components><component objectid="{}"/><component objectid="{}"/></components></object>'
DOUBLING = "".join(TWICE.format(n, n - 1, n - 1) for n in range(1, 41)) + '<object id="0"><components/></object>'


def test_what_slicers_note_of_parts_is_no_harm() -> None:
    notes = {"Metadata/Slic3r_PE_model.config": PRUSA.format("ModelPart")}
    notes |= {"Metadata/model_settings.config": BAMBU.format("normal_part")}
    assert volume(one(**notes)) == pytest.approx(6)


@pytest.mark.parametrize(
    ("data", "reason", "named"),
    [
        (package({"3D/3dmodel.model": model(CIRCLE, '<item objectid="1"/>')}), "unreadable", "in itself"),
        (package({"3D/3dmodel.model": model(ELSEWHERE, '<item objectid="1"/>')}), "missing_file", "3d/none.model"),
        (package({"3D/3dmodel.model": model(BODY, '<item objectid="5"/>')}), "unreadable", "'5'"),
        (package({"3D/3dmodel.model": model(DOUBLING, '<item objectid="40"/>')}), "unreadable", "100,000 pieces"),
        (package({"3D/3dmodel.model": model(BODY, '<item objectid="1"/>', SPACES)}), "unsupported", "urn:beams"),
        (package({"3D/3dmodel.model": WHOLE[:-200]}), "truncated", "XML"),
        (package({"3D/3dmodel.model": WHOLE.replace('v1="', 'v1="x')}), "unreadable", "ValueError"),
        (package({"3D/3dmodel.model": model(BODY, "")}), "no_faces", "none"),
        (package({}), "missing_file", "3d/3dmodel.model"),
        (
            one(**{"Metadata/Slic3r_PE_model.config": PRUSA.format("ParameterModifier")}),
            "unsupported",
            "ParameterModifier",
        ),
        (one(**{"Metadata/model_settings.config": BAMBU.format("negative_part")}), "unsupported", "negative_part"),
        (package({"3D/3dmodel.model": model(BODY + BODY, '<item objectid="1"/>')}), "unreadable", "twice"),
        (package({"3D/3dmodel.model": model(BOOLEAN, '<item objectid="2"/>')}), "unsupported", "booleanshape"),
        (
            package({"3D/3dmodel.model": WHOLE.replace("</mesh>", "<beamlattice/></mesh>")}),
            "unsupported",
            "beamlattice",
        ),
        (one()[:-30], "unreadable", "zip"),
        (b"", "unreadable", "zip"),
    ],
)
def test_refused_by_name(data: bytes, reason: str, named: str) -> None:
    with pytest.raises(MeshError, match="expected") as caught:
        meshes.read(data, "3mf")
    assert caught.value.reason == reason and named in str(caught.value)
