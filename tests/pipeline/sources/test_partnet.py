from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh

from pipeline.geometry import meshes
from pipeline.geometry.meshes import MeshError
from pipeline.sources import tree
from pipeline.sources.registry import find
from tests.meshes import obj_bytes
from tests.pipeline.sources import trees


def part(folder: Path, name: str, x: float) -> None:
    box = trimesh.creation.box((1, 1, 1))
    box.apply_translation([x, 0, 0])
    trees.write(folder / f"{name}.obj", obj_bytes(box))


@pytest.mark.parametrize("zipped", [False, True])
def test_all_parts_are_one_model(tmp_path: Path, zipped: bool) -> None:
    for model, parts in {"1000": ("original-1", "original-2", "new-0"), "1001": ("original-7",)}.items():
        for n, name in enumerate(parts):
            part(tmp_path / "chair" / model / "objs", name, 3.0 * n)
    (tmp_path / "chair/1000/objs/original-1.obj").rename(tmp_path / "chair/1000/objs/original-1.OBJ")
    trees.write(tmp_path / "chair" / "1000" / "objs" / "new-9.obj", b"# empty\n")
    trees.write(tmp_path / "chair" / "1000" / "result.json", b"[]")
    if zipped:
        files = [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
            for path in files:
                archive.write(path, path.relative_to(tmp_path))
                path.unlink()
    refs = [model.ref for model in find(tmp_path).models if model.ref.mesh]
    assert [(ref.synset, ref.model_id, ref.extension) for ref in refs] == [
        ("chair", "1000", "parts"),
        ("chair", "1001", "parts"),
    ]
    data = refs[0].read(tmp_path)
    assert data == refs[0].read(tmp_path) and len(refs[0].files(tmp_path)) == 4
    mesh = meshes.read(data, "parts")
    assert len(mesh.vertices) == 24 and len(mesh.faces) == 36
    solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert solid.volume == pytest.approx(3) and np.allclose(solid.bounds[:, 0], [-0.5, 6.5])


def test_the_folder_or_zip_above_is_the_category_where_no_notes_are(tmp_path: Path) -> None:
    part(tmp_path / "lamp" / "1" / "objs", "original-1", 0)
    part(tmp_path / "data_v0" / "2" / "textured_objs", "original-1", 0)
    part(tmp_path / "3" / "objs", "new-0", 0)
    with zipfile.ZipFile(tmp_path / "Sofa.zip", "w") as archive:
        archive.write(tmp_path / "lamp" / "1" / "objs" / "original-1.obj", "4/objs/original-1.obj")
    found = [(model.ref.synset, model.ref.model_id) for model in find(tmp_path).models]
    assert found == [("lamp", "1"), ("partnet", "2"), ("partnet", "3"), ("sofa", "4")]


def test_a_broken_part_is_named(tmp_path: Path) -> None:
    part(tmp_path / "7" / "objs", "original-1", 0)
    trees.write(tmp_path / "7" / "objs" / "original-2.obj", b"v 0 0 0\nf 1 2 3\n")
    (model,) = find(tmp_path).models
    with pytest.raises(MeshError, match="^original-2.obj: expected vertex indices") as caught:
        meshes.read(model.ref.read(tmp_path), model.ref.extension)
    assert caught.value.reason == "bad_index"
    (tmp_path / "7" / "objs" / "original-2.obj").write_bytes(b"")
    trees.write(tmp_path / "7" / "objs" / "original-1.obj", b"# nothing\n")
    with pytest.raises(MeshError, match="expected faces"):
        meshes.read(model.ref.read(tmp_path), model.ref.extension)


def test_categories_groups_and_the_official_split(tmp_path: Path) -> None:
    trees.write_partnet(tmp_path, ["11", "12", "13"])
    trees.write(tmp_path / "data_v0" / "12" / "meta.json", json.dumps({"model_cat": "Desk", "model_id": "11"}).encode())
    lists = tmp_path / "stats" / "train_val_test_split"
    trees.write(lists / "Desk.train.json", json.dumps([{"anno_id": "11", "model_id": "x"}]).encode())
    trees.write(lists / "Desk.test.json", json.dumps([{"anno_id": 12}]).encode())
    found = find(tmp_path).models
    assert [(model.ref.synset, model.group, model.split) for model in found] == [
        ("desk", "11", "train"),
        ("desk", "11", "test"),
        ("desk", "13", ""),
    ]
    assert [model.split_source[:8] for model in found] == ["partnet:", "partnet:", ""]


def test_meshes_of_other_names_in_such_a_folder_are_models_of_their_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        part(tmp_path / "chairs" / "objs", name, 0)
    assert [(model.ref.layout, model.ref.model_id) for model in find(tmp_path).models] == [
        ("folders", "objs.a"),
        ("folders", "objs.b"),
    ]


def test_the_stamp_of_a_folder_is_that_of_its_files(tmp_path: Path) -> None:
    part(tmp_path / "7" / "objs", "original-1", 0)
    (model,) = find(tmp_path).models
    before = [tree.stamp(tmp_path, location) for location in model.ref.files(tmp_path)]
    part(tmp_path / "7" / "objs", "original-2", 0)
    assert before == [tree.stamp(tmp_path, location) for location in model.ref.files(tmp_path)][:1]
    assert len(model.ref.files(tmp_path)) == 2
