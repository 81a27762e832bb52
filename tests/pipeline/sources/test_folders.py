from __future__ import annotations

import io
import os
import re
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import trimesh

from pipeline import catalog
from pipeline.geometry import meshes
from pipeline.records import catalogue
from pipeline.runtime.params import Dataset
from pipeline.sources import folders
from pipeline.sources.layout import ModelRef, slug
from pipeline.sources.registry import find
from tests.pipeline.sources import trees

BALL = trimesh.creation.icosphere(1)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("chairs/a.obj", ("chairs", "a")),
        ("Kitchen chairs/a b/mesh.v2.glb", ("kitchen-chairs", "a b.mesh.v2")),
        ("a.obj", ("root", "a")),
        ("chairs.zip!/a.obj", ("chairs", "a")),
        ("all.zip!/chairs/a.obj", ("chairs", "a")),
        ("chairs/part 1.zip!/a/b.obj", ("chairs", "part 1.a.b")),
        ("Stühle/größe.ply", ("stühle", "größe")),
        ("x\udcff y/\udcfeb.ply", ("x-y", "%feb")),
        ("---/a.obj", ("unnamed", "a")),
        ("x.zip!/c/../../a.obj", ("c", "a")),
        ("c/...obj", ("c", "_..")),
    ],
)
def test_names(location: str, expected: tuple[str, str]) -> None:
    category, model_id = folders.name(Path("/data/root"), location)
    assert (category, ModelRef(category, model_id, "folders").model_id) == expected


@pytest.mark.parametrize("name", ["Sofa & Co.", "$(rm -rf)", "-x", "a/b", "東京", "\udcff"])
def test_slugs_are_words_of_the_shell_and_of_dvc(name: str) -> None:
    assert re.fullmatch(r"\w[\w-]*", slug(name)) and slug(slug(name)) == slug(name)
    slug(name).encode()


def test_only_meshes_are_models_and_only_where_no_other_layout_is(tmp_path: Path) -> None:
    for name in ("balls/a.stl", "balls/b/b.ply", "balls/c.off"):
        trees.write(tmp_path / name, BALL.export(file_type=name[-3:]) if name[-3:] != "off" else _off())
    for name in ("balls/readme.txt", "balls/b/texture.png", "balls/cloud.xyz", "balls/.hidden.stl"):
        trees.write(tmp_path / name, b"x")
    with zipfile.ZipFile(tmp_path / "cubes.zip", "w") as archive:
        archive.writestr("z.obj", trees.box_mesh())
        archive.writestr("__MACOSX/._z.obj", b"x")
    found = [(m.ref.synset, m.ref.model_id, m.ref.layout) for m in find(tmp_path)[0]]
    assert found == [("balls", name, "folders") for name in ("a", "b.b", "c")] + [("cubes", "z", "folders")]
    trees.write_r2n2(tmp_path, ["a"])
    assert [m.ref.layout for m in find(tmp_path)[0]] == ["3d-r2n2"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            ["chair/train/a.stl", "chair/test/a.stl", "chair/val/b.stl", "sofa/train/c.stl", "sofa/test/d/m.stl"],
            ["chair train.a train", "chair test.a test", "chair val.b val", "sofa train.c ?", "sofa test.d.m test"],
        ),
        (
            ["Set/train/chair/a.stl", "Set/test/chair/a.stl", "Set/validation/sofa/b.stl"],
            ["chair train.a train", "chair test.a test", "sofa validation.b val"],
        ),
        (["train/a.stl", "test/b.stl", "val/c.stl"], ["raw train.a train", "raw test.b test", "raw val.c val"]),
        (["Train/bus/a.stl", "Testing/bus/b.stl"], ["bus Train.a ?", "bus Testing.b test"]),
        (["train/a.stl", "bus/b.stl"], ["train a ", "bus b "]),
        (["x/train/a.stl", "x/bus/b.stl"], ["x train.a ", "x bus.b "]),
    ],
)
def test_train_and_test_side_by_side_are_the_split(tmp_path: Path, files: list[str], expected: list[str]) -> None:
    for name in files:
        trees.write(tmp_path / "raw" / name, b"x")
    found = {m.ref.mesh: f"{m.ref.synset} {m.ref.model_id} {m.split}" for m in find(tmp_path / "raw").models}
    for name, own in zip(files, expected, strict=True):
        assert found[name] == own or (own.endswith("?") and found[name] in (own[:-1] + "train", own[:-1] + "val"))


def test_without_a_folder_of_its_own_a_tenth_validates(tmp_path: Path) -> None:
    for name in (*(f"train/{n}" for n in range(60)), *(f"test/{n}" for n in range(3))):
        trees.write(tmp_path / "chair" / f"{name}.stl", b"x")
    counts = Counter(model.split for model in find(tmp_path).models)
    assert counts["test"] == 3 and 1 <= counts["val"] <= 14 and counts["train"] == 60 - counts["val"]


def _off() -> bytes:
    return str(BALL.export(file_type="off")).encode()


def test_a_catalogue_of_names_that_are_no_utf_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "raw"
    for name in (b"Sch\xf6n und gut/\xff 1.obj", "Schön und gut/ü.obj".encode(), b"Sch\xf6n und gut/../b\xf6.obj"):
        trees.write(Path(os.fsdecode(os.path.join(os.fsencode(root), name))), trees.box_mesh())
    synsets = sorted({model.ref.synset for model in find(root)[0]})
    assert synsets == ["raw", "sch-n-und-gut", "schön-und-gut"]
    catalog.catalog(Dataset(str(root), "auto", tuple(synsets), 0))
    entries = catalogue.read_table(catalogue.CATALOG / "sch-n-und-gut.csv")
    assert [(e.ref.model_id, e.status) for e in entries] == [("%ff 1", "ok")]
    assert entries[0].ref.read(root) == trees.box_mesh()


def test_several_geometries_and_transforms_are_one_mesh_in_the_world() -> None:
    scene = trimesh.Scene()
    turned = trimesh.transformations.rotation_matrix(0.5, [0, 1, 0])
    shifted = trimesh.transformations.translation_matrix([5, 0, 0]) @ turned
    box = trimesh.creation.box((1, 2, 3))
    scene.add_geometry(box, node_name="one", geom_name="box")
    scene.add_geometry(box, node_name="two", geom_name="box", transform=shifted)
    expected = np.concatenate([box.vertices, trimesh.transform_points(box.vertices, shifted)])
    formats = ["glb"] + ["3mf"] * _has("lxml")
    for extension in formats:
        mesh = meshes.read(scene.export(file_type=extension), extension)
        assert len(mesh.faces) == 24, extension
        distance = np.linalg.norm(mesh.vertices[:, None] - expected, axis=2)
        assert distance.min(axis=0).max() < 1e-5 and distance.min(axis=1).max() < 1e-5, extension


def _has(module: str) -> bool:
    try:
        __import__(module)
    except ImportError:
        return False
    return True


def test_nodes_of_collada() -> None:
    collada = pytest.importorskip("collada")
    document = collada.Collada()
    corners = collada.source.FloatSource("v", np.array([0.0, 0, 0, 1, 0, 0, 0, 1, 0]), ("X", "Y", "Z"))
    geometry = collada.geometry.Geometry(document, "g", "g", [corners])
    inputs = collada.source.InputList()
    inputs.addInput(0, "VERTEX", "#v")
    geometry.primitives.append(geometry.createTriangleSet(np.array([0, 1, 2]), inputs, "m"))
    document.geometries.append(geometry)
    first, second = (collada.scene.GeometryNode(geometry, []) for _ in range(2))
    lifted = collada.scene.Node("b", [second], transforms=[collada.scene.TranslateTransform(0, 0, 7)])
    moved = collada.scene.Node("c", [lifted], transforms=[collada.scene.TranslateTransform(3, 0, 0)])
    document.scene = collada.scene.Scene("s", [collada.scene.Node("a", [first]), moved])
    document.scenes.append(document.scene)
    content = io.BytesIO()
    document.write(content)
    mesh = meshes.read(content.getvalue(), "dae")
    assert len(mesh.faces) == 2
    triangle = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    expected = {*map(tuple, triangle.tolist()), *map(tuple, (triangle + np.array([3, 0, 7])).tolist())}
    assert {*map(tuple, mesh.vertices.tolist())} == expected
