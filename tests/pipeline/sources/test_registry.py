from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline import catalog
from pipeline.geometry import meshes
from pipeline.runtime import params
from pipeline.sources import survey
from pipeline.sources.layout import ModelRef
from pipeline.sources.registry import LAYOUTS, find, rotation
from tests.meshes import CHAIR, TABLE, box, write_v2
from tests.pipeline.sources import trees

MODELS = {(CHAIR, "a1"): box(1, 2, 1), (CHAIR, "b2"): box(1, 1, 1), (TABLE, "c3"): box(2, 1, 1)}


def refs_of(root: Path) -> list[ModelRef]:
    return [model.ref for model in find(root)[0]]


@pytest.mark.parametrize("zipped", [True, False])
def test_v2_in_zips_and_folders(tmp_path: Path, zipped: bool) -> None:
    refs = refs_of(write_v2(tmp_path, MODELS, zipped))
    assert [(ref.synset, ref.model_id) for ref in refs] == sorted(MODELS)
    for ref in refs:
        assert ref.layout == "shapenet-v2" and ref.extension == "obj" and ("!/" in ref.mesh) == zipped
        assert ref.read(tmp_path) == MODELS[ref.synset, ref.model_id]


def test_v2_in_a_zip_with_backslashes(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / f"{CHAIR}.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(f"{CHAIR}\\a1\\models\\model_normalized.obj"), box(1, 2, 1))
    (ref,) = refs_of(tmp_path)
    assert (ref.synset, ref.model_id, ref.layout) == (CHAIR, "a1", "shapenet-v2") and ref.read(tmp_path) == box(1, 2, 1)


def test_v2_in_capitals_and_a_synset_within_itself(tmp_path: Path) -> None:
    write_v2(tmp_path / "deep" / CHAIR, {(CHAIR, "a1"): box(1, 2, 1)}, zipped=False)
    path = tmp_path / "capitals" / CHAIR / "b2" / "models" / "MODEL_NORMALIZED.OBJ"
    path.parent.mkdir(parents=True)
    path.write_bytes(box(1, 2, 1))
    found = [(ref.synset, ref.model_id, ref.layout, bool(ref.mesh)) for ref in refs_of(tmp_path)]
    assert found == [(CHAIR, "a1", "shapenet-v2", True), (CHAIR, "b2", "shapenet-v2", True)]


def test_v1_and_a_folder_above_the_synsets(tmp_path: Path) -> None:
    path = tmp_path / "ShapeNetCore.v1" / CHAIR / "a1" / "model.obj"
    path.parent.mkdir(parents=True)
    path.write_bytes(MODELS[CHAIR, "a1"])
    (path.parent / "model.mtl").touch()
    (path.parent / "images").mkdir()
    (ref,) = refs_of(tmp_path)
    assert (ref.synset, ref.model_id, ref.layout) == (CHAIR, "a1", "shapenet-v1")
    assert ref.read(tmp_path) == MODELS[CHAIR, "a1"]


def test_front_of_v1_is_turned_to_that_of_v2() -> None:
    rotation = LAYOUTS["shapenet-v1"].rotation
    assert (rotation @ [1, 0, 0] == [0, 0, -1]).all() and (rotation @ [0, 1, 0] == [0, 1, 0]).all()
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_a_zip_replaced_while_running_is_read_anew(tmp_path: Path) -> None:
    (ref,) = refs_of(write_v2(tmp_path, {(CHAIR, "a1"): box(1, 2, 1)}))
    before = ref.read(tmp_path)
    write_v2(tmp_path, {(CHAIR, "a1"): box(1, 2, 12)})
    assert ref.read(tmp_path) == box(1, 2, 12) != before


def test_missing_root_and_broken_zips(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dataset.root: expected a folder of meshes, found none at '.*nowhere'"):
        find(tmp_path / "nowhere")
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    for content, found in (
        (empty.getvalue(), "found no entries"),
        (b"", "not a zip file"),
        (b"PK", "not a zip"),
    ):
        (tmp_path / f"{CHAIR}.zip").write_bytes(content)
        with pytest.raises(ValueError, match=f"{CHAIR}.zip: expected a zip of meshes, .*{found}"):
            find(tmp_path)


def test_every_layout_is_told_by_looking(tmp_path: Path) -> None:
    writers = {
        "shapenet-v2": trees.write_shapenet_v2,
        "3d-r2n2": trees.write_r2n2,
        "core55": trees.write_core55,
        "pix3d": trees.write_pix3d,
        "3d-future": trees.write_future3d,
        "modelnet": trees.write_modelnet,
        "gso": trees.write_gso,
        "abo": trees.write_abo,
        "omniobject3d": trees.write_omniobject3d,
        "objaverse": trees.write_objaverse,
        "partnet": trees.write_partnet,
        "thingi10k": trees.write_thingi10k,
        "folders": trees.write_folders,
    }
    assert {*writers, "shapenet-v1"} == set(LAYOUTS)
    for name, write in writers.items():
        write(tmp_path / name, ["a"])
        (ref,) = refs_of(tmp_path / name)
        assert ref.layout == name and (ref.model_id == "a" or (ref.model_id,) == (*trees.ids(name, ["a"]),))
    assert {ref.layout for ref in refs_of(tmp_path)} == {*writers} - {"folders"}


@pytest.mark.parametrize("name", ["modelnet", "gso", "abo", "omniobject3d", "objaverse", "partnet", "thingi10k"])
def test_models_of_every_layout_come_out_upright(tmp_path: Path, name: str) -> None:
    getattr(trees, f"write_{name}")(tmp_path, ["a", "b"])
    refs = refs_of(tmp_path)
    assert [ref.model_id for ref in refs] == sorted(trees.ids(name, ["a", "b"]))
    for ref in refs:
        mesh, affine = meshes.normalise(meshes.read(ref.read(tmp_path), ref.extension), rotation(ref))
        assert np.allclose(np.abs(mesh.vertices).max(axis=0), trees.HALF / 0.8 * 15 / 16, atol=1e-6)
        assert np.linalg.det(affine[:3, :3]) > 0


def test_categories_are_listed_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trees.write_future3d(tmp_path, ["a", "b"])
    monkeypatch.setattr(catalog, "load", lambda *_: params.Dataset(str(tmp_path), "auto", ("x",), 0))
    catalog.main(1)
    told = capsys.readouterr()
    assert told.out == '    - "king-size-bed" # 2 models\n' and told.err == "recognised 2 models of 3d-future\n"
    trees.write_shapenet_v2(tmp_path, ["a", "b", "c"])
    catalog.main(3)
    assert capsys.readouterr().out == '    - "03001627" # chair, 3 models\n'


def test_meshes_that_are_no_model_s_are_told(tmp_path: Path) -> None:
    trees.write_gso(tmp_path, ["a"])
    trees.write(tmp_path / "a" / "meshes" / "collision.obj", trees.box_mesh())  # beside a model
    assert find(tmp_path).spare == []
    trees.write_thingi10k(tmp_path / "b", ["a", "b"])
    for name in ("b/raw_meshes/x.stl", "c/meshes/model.OBJ", "chair/y.glb"):
        trees.write(tmp_path / name, trees.box_mesh())
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        for name in ("meshes/model.obj", "meshes/more/part.obj", "__MACOSX/meshes/._model.obj"):
            archive.writestr(name, trees.box_mesh())
    looked = find(tmp_path)
    assert looked.spare == ["b/raw_meshes/x.stl", "c/meshes/model.OBJ", "chair/y.glb"]
    told = "3 meshes that are no model of these layouts, as 'b/raw_meshes/x.stl'"
    assert told in survey.doubts(looked)
