from __future__ import annotations

import csv
import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from pipeline import catalog
from pipeline.records import catalogue, checks, records
from pipeline.runtime.files import sha256
from pipeline.runtime.params import Dataset, Variants
from pipeline.sources import splits
from pipeline.sources.layout import ModelRef
from tests.meshes import CHAIR, TABLE, box, write_v2


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


GOOD = {(CHAIR, f"m{i}"): box(1, 1, 1 + i) for i in range(4)}


def rows(folder: Path, synset: str) -> list[dict[str, str]]:
    with (folder / f"{synset}.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_model_is_listed_with_what_was_found(tmp_path: Path) -> None:
    broken = {(CHAIR, "nan"): b"v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", (CHAIR, "cut"): box(1, 1, 1)[:-3]}
    root = write_v2(tmp_path / "raw", GOOD | broken)
    catalog.catalog(Dataset(str(root), "auto", (CHAIR,), 0.5), tmp_path / "catalog")
    table = {row["model_id"]: row for row in rows(tmp_path / "catalog", CHAIR)}
    assert sorted(table) == ["cut", "m0", "m1", "m2", "m3", "nan"]
    assert table["nan"]["status"] == "not_finite" and table["cut"]["status"] == "truncated"
    assert table["nan"]["detail"] == "expected finite vertices, got 1 with NaN or infinity"
    good = table["m1"]
    assert good["status"] == "ok" and good["sha256"] == sha256(GOOD[CHAIR, "m1"])
    assert (good["vertices"], good["faces"], good["layout"]) == ("8", "12", "shapenet-v2")
    entries = catalogue.read_table(tmp_path / "catalog" / f"{CHAIR}.csv")
    assert [entry.ref.read(root) for entry in entries if entry.ref.model_id == "m2"] == [GOOD[CHAIR, "m2"]]


def test_what_nobody_thought_of_costs_one_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def catalogued(root: Path, ref: ModelRef, data: bytes) -> tuple[str, list[Any]]:
        return "", [1 / (ref.model_id != "m1")][:0]

    monkeypatch.setattr(checks.looks, "catalogued", catalogued)
    root = write_v2(tmp_path / "raw", GOOD)
    catalog.catalog(Dataset(str(root), "auto", (CHAIR,), 0.5), tmp_path / "catalog", color=True)
    table = {row["model_id"]: (row["status"], row["detail"]) for row in rows(tmp_path / "catalog", CHAIR)}
    assert table.pop("m1") == ("failed", "ZeroDivisionError: division by zero")
    assert set(table.values()) == {("ok", "")}


def test_a_changed_mesh_changes_its_category_alone(tmp_path: Path) -> None:
    dataset = Dataset(str(tmp_path / "raw"), "auto", (CHAIR, TABLE), 0)
    tables = []
    for depth in (1, 2):
        write_v2(tmp_path / "raw", GOOD | {(TABLE, "t"): box(1, depth, 1)})
        catalog.catalog(dataset, tmp_path / "catalog")
        tables.append({path.name: path.read_bytes() for path in (tmp_path / "catalog").iterdir()})
    assert tables[0][f"{CHAIR}.csv"] == tables[1][f"{CHAIR}.csv"]
    assert tables[0][f"{TABLE}.csv"] != tables[1][f"{TABLE}.csv"]


def test_a_damaged_zip_entry_is_a_reason(tmp_path: Path) -> None:
    root = write_v2(tmp_path / "raw", GOOD)
    path = root / f"{CHAIR}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for (synset, model_id), data in GOOD.items():
            archive.writestr(f"{synset}/{model_id}/models/model_normalized.obj", data)
        offset = archive.getinfo(f"{CHAIR}/m2/models/model_normalized.obj").header_offset
    content = bytearray(path.read_bytes())
    content[offset + 90 : offset + 100] = b"\xff" * 10
    path.write_bytes(content)
    catalog.catalog(Dataset(str(root), "auto", (CHAIR,), 0.5), tmp_path / "catalog")
    table = {row["model_id"]: row for row in rows(tmp_path / "catalog", CHAIR)}
    assert table["m2"]["status"] == "unreadable" and "expected a whole zip entry, got" in table["m2"]["detail"]
    assert [row["status"] for name, row in sorted(table.items()) if name != "m2"] == ["ok"] * 3


def test_duplicates_are_named(tmp_path: Path) -> None:
    root = write_v2(tmp_path / "raw", GOOD)
    write_v2(root / "again", {(CHAIR, "m0"): box(5, 5, 5)}, zipped=False)
    catalog.catalog(Dataset(str(root), "auto", (CHAIR,), 0.5), tmp_path / "catalog")
    statuses = [row["status"] for row in rows(tmp_path / "catalog", CHAIR) if row["model_id"] == "m0"]
    assert statuses == ["ok", "duplicate"]


def test_official_split_where_there_is_one(tmp_path: Path) -> None:
    root = write_v2(tmp_path / "raw", GOOD)
    header = "id,synsetId,subSynsetId,modelId,split\n"
    (root / "all.csv").write_text(header + f"000001,{CHAIR},03001627,m0,test\n000002,{CHAIR},03001627,m1,val\n")
    catalog.catalog(Dataset(str(root), "auto", (CHAIR,), 0), tmp_path / "catalog")
    table = {row["model_id"]: (row["split"], row["split_source"]) for row in rows(tmp_path / "catalog", CHAIR)}
    source = f"all.csv:{sha256((root / 'all.csv').read_bytes())[:8]}"
    assert table["m0"] == ("test", source) and table["m1"] == ("val", source) and table["m2"] == ("", source)
    statuses = {row["model_id"]: row["status"] for row in rows(tmp_path / "catalog", CHAIR)}
    assert statuses == {"m0": "ok", "m1": "ok", "m2": "no_split", "m3": "no_split"}
    catalog.catalog(Dataset(str(root), "hash", (CHAIR,), 0), tmp_path / "catalog")
    table = {row["model_id"]: (row["split"], row["split_source"]) for row in rows(tmp_path / "catalog", CHAIR)}
    assert table["m0"] == (splits.hashed("m0"), "hash")


def test_a_folder_without_a_mesh_is_missing(tmp_path: Path) -> None:
    root = write_v2(tmp_path / "raw", GOOD, zipped=False)
    (root / CHAIR / "empty").mkdir()
    (root / CHAIR / "bare" / "models").mkdir(parents=True)
    (root / CHAIR / "bare" / "models" / "model_normalized.mtl").touch()
    catalog.catalog(Dataset(str(root), "auto", (CHAIR,), 0.5), tmp_path / "catalog")
    table = {row["model_id"]: (row["status"], row["detail"]) for row in rows(tmp_path / "catalog", CHAIR)}
    assert len(table) == 6
    for name in ("bare", "empty"):
        assert table[name] == ("missing", "expected a mesh in the model's folder, found none")


def test_the_known_broken_models_of_v1_are_rows_with_a_reason(tmp_path: Path) -> None:
    """Two of them have no vertices in ShapeNetCore.v1; of the third, the folder may be all that there is."""
    broken = {
        ("03624134", "67ada28ebc79cc75a056f196c127ed77"): b"# no vertices\nmtllib model.mtl\n",
        ("04090263", "4a32519f44dc84aabafe26e2eb69ebf4"): b"mtllib model.mtl\nf 1 2 3\nf 1//1 3//2 4//3\n",
        ("04074963", "b65b590a565fa2547e1c85c5c15da7fb"): None,
    }
    for (synset, model_id), data in broken.items():
        for name, content in ((model_id, data), ("sound", box(1, 2, 3))):
            folder = tmp_path / "raw" / synset / name
            folder.mkdir(parents=True)
            (folder / "model.mtl").touch()
            if content is not None:
                (folder / "model.obj").write_bytes(content)
    synsets = tuple(synset for synset, _ in broken)
    catalog.catalog(Dataset(str(tmp_path / "raw"), "auto", synsets, 0.5), tmp_path / "catalog")
    found = {r["model_id"]: r for synset in synsets for r in rows(tmp_path / "catalog", synset)}
    assert {r["layout"] for r in found.values()} == {"shapenet-v1"} and found["sound"]["status"] == "ok"
    assert [found[model_id]["status"] for _, model_id in broken] == ["no_faces", "bad_index", "missing"]


def reads(root: Path, capfd: pytest.CaptureFixture[str]) -> str:
    capfd.readouterr()
    catalog.catalog(Dataset(str(root), "auto", (CHAIR,), 0.5))
    return next(line for line in capfd.readouterr().out.splitlines() if "unchanged" in line)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_did_not_change_is_not_read_again(tmp_path: Path, capfd: pytest.CaptureFixture[str], zipped: bool) -> None:
    root = write_v2(tmp_path / "raw", GOOD, zipped)
    for path in root.rglob("*.*"):
        os.utime(path, (1e9, 1e9))
    assert reads(root, capfd) == "catalog: 4 models, 0 unchanged"
    before = rows(catalogue.CATALOG, CHAIR)
    assert reads(root, capfd) == "catalog: 4 models, 4 unchanged"
    assert rows(catalogue.CATALOG, CHAIR) == before
    if zipped:
        write_v2(root, GOOD | {(CHAIR, "m2"): box(1, 1, 9)})
    else:
        path = root / CHAIR / "m2" / "models" / "model_normalized.obj"
        path.write_bytes(box(1, 1, 9))
        os.utime(path, (1e9, 1e9))  # the same size and time of change: its inode was changed all the same
    assert reads(root, capfd) == "catalog: 4 models, 3 unchanged"
    assert {row["model_id"] for row, old in zip(rows(catalogue.CATALOG, CHAIR), before, strict=True) if row != old} == {
        "m2"
    }


def test_a_file_that_is_still_young_is_read_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = write_v2(tmp_path / "raw", GOOD, zipped=False)
    assert reads(root, capfd) == reads(root, capfd) == "catalog: 4 models, 0 unchanged"


def test_a_killed_run_is_gone_on_with(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = write_v2(tmp_path / "raw", GOOD)
    reads(root, capfd)
    lines = checks.CACHE.read_text().splitlines()
    checks.CACHE.write_text("\n".join(lines[:2]) + "\n" + lines[2][:30])
    assert reads(root, capfd) == "catalog: 4 models, 2 unchanged"


def test_links_out_of_the_root_are_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = write_v2(tmp_path / "raw", GOOD, zipped=False)
    outside = write_v2(tmp_path / "outside", GOOD | {(TABLE, "t"): box(1, 1, 1)}, zipped=False)
    mesh = root / CHAIR / "m0" / "models" / "model_normalized.obj"
    mesh.unlink()
    mesh.symlink_to(outside / CHAIR / "m0" / "models" / "model_normalized.obj")
    (root / TABLE).symlink_to(outside / TABLE)
    catalog.catalog(Dataset(str(root), "auto", (CHAIR,), 0.5))
    assert [row["status"] for row in rows(catalogue.CATALOG, CHAIR)] == ["outside_root", "ok", "ok", "ok"]
    told = capfd.readouterr().out
    assert f"catalog: 1 links to folders out of dataset.root, as '{TABLE}'; dataset.follow_links follows them\n" in told
    assert "rejected (1 outside_root)" in told and "dataset.follow_links follows them" in told
    with pytest.raises(ValueError, match=f"found only {CHAIR} .chair.; 1 links .*'{TABLE}'; dataset.follow_lin"):
        catalog.catalog(Dataset(str(root), "auto", (TABLE,), 0.5))
    catalog.catalog(Dataset(str(root), "auto", (CHAIR, TABLE), 0, follow_links=True))
    assert [row["status"] for row in rows(catalogue.CATALOG, CHAIR)] == 4 * ["ok"]
    assert [row["status"] for row in rows(catalogue.CATALOG, TABLE)] == ["ok"]


def test_what_was_recognised_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = write_v2(tmp_path / "raw", GOOD, zipped=False)
    (root / "sofa").mkdir()
    for name in ("a.fbx", "b.fbx", "c.tar.gz"):
        (root / "sofa" / name).write_bytes(b"x")
    catalog.catalog(Dataset(str(root), "auto", (CHAIR,), 0))
    told = capfd.readouterr().out
    assert "catalog: recognised 4 models of shapenet-v2\n" in told
    assert "catalog: 3 files that can't be read (2 .fbx, 1 .tar.gz); unpack archives, convert the others" in told
    with pytest.raises(
        ValueError, match=r"expected models of 'sofa' .*; 3 files that can't be read \(2 .fbx, 1 .tar.g"
    ):
        catalog.catalog(Dataset(str(root), "auto", ("sofa",), 0))


def test_a_split_that_is_given_goes_before_the_names_of_plain_folders(tmp_path: Path) -> None:
    for name in ("train/a.obj", "test/b.obj"):
        path = tmp_path / "raw" / "chair" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(box(1, 2, 3))

    def told(split: str) -> dict[str, tuple[str, str]]:
        catalog.catalog(Dataset(str(tmp_path / "raw"), split, ("chair",), 0))
        return {row["model_id"]: (row["split"], row["split_source"]) for row in rows(catalogue.CATALOG, "chair")}

    assert told("auto")["test.b"] == ("test", "folders train and test")
    assert told("hash")["test.b"] == (splits.hashed("test.b"), "hash")
    (tmp_path / "raw" / "all.csv").write_text("synsetId,modelId,split\nchair,train.a,test\nchair,test.b,train\n")
    assert [split for split, _ in told("auto").values()] == ["train", "test"]


def test_folders_of_one_model_each_are_doubted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("bowl/a/model.obj", "cup/b/model.obj", "jug/c/model.obj"):
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(box(1, 2, 3))
    dataset = Dataset(str(tmp_path / "raw"), "hash", ("bowl",), 0)
    catalog.catalog(dataset)
    assert "catalog: 3 folders of one model each, which are taken for categories" in capfd.readouterr().out
    (path.parent.parent / "d.obj").write_bytes(box(1, 2, 3))
    catalog.catalog(dataset)
    assert "of one model each" not in capfd.readouterr().out


def test_a_list_that_covers_nothing_of_a_category_stops(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = write_v2(tmp_path / "raw", GOOD | {(TABLE, "t"): box(1, 1, 1)})
    (root / "all.csv").write_text(f"synsetId,modelId,split\n{CHAIR},m0,train\n{TABLE},u,val\n{TABLE},v,val\n")
    source = f"all.csv:{sha256((root / 'all.csv').read_bytes())[:8]}"
    with pytest.raises(ValueError) as caught:
        catalog.catalog(Dataset(str(root), "auto", (CHAIR, "table"), 0))
    expected = f"catalog table: expected its 1 models, as 't', in {source}, which lists 2 others, as 'u'"
    assert str(caught.value) == expected and not catalogue.CATALOG.exists()
    (root / "all.csv").write_text("synsetId,modelId,split\nchair,m0,train\ntable,t,test\n")
    catalog.catalog(Dataset(str(root), "auto", (CHAIR, "table"), 0))
    told = capfd.readouterr().out
    assert "warning: expected models to validate with, found none of split val; see dataset.split" in told
    assert "catalog: no models of split train in table\n" in told and "no models of split test in chair\n" in told
    assert "3 models of these" not in told


def test_axes_may_be_given_where_the_data_set_does_not_know_them(tmp_path: Path) -> None:
    path = tmp_path / "raw" / "post" / "a.obj"
    path.parent.mkdir(parents=True)
    path.write_bytes(box(1, 2, 3))
    own = Dataset(str(tmp_path / "raw"), "hash", ("post",), 0)
    keys = set()
    for up, front, axes in (("", "", ""), ("z", "", "z -y"), ("", "x", "y x"), ("-x", "y", "-x y")):
        catalog.catalog(replace(own, up=up, front=front))
        (entry,) = catalogue.read_table(catalogue.CATALOG / "post.csv")
        assert entry.ref.axes == axes
        keys.add(records.Job("test", lambda *_: {}, None).key(entry))
    assert len(keys) == 4
    for up, front, message in (("up", "", "got 'up' and ''"), ("z", "-z", "got 'z' and '-z'")):
        with pytest.raises(ValueError, match=f"dataset.up, dataset.front: expected two different ones of .*{message}"):
            catalog.catalog(replace(own, up=up, front=front))
    root = write_v2(tmp_path / "v2", GOOD)
    with pytest.raises(ValueError, match="dataset.up: expected none for shapenet-v2, whose axes are known, got 'z'"):
        catalog.catalog(replace(own, root=str(root), categories=(CHAIR,), up="z"))


def test_models_that_are_there_twice_cost_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for model in ("a", "b"):
        for end in ("glb", "obj"):
            path = tmp_path / "raw" / "chair" / model / f"model.{end}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(trimesh.creation.box((1, 2, 3)).export(file_type="glb") if end == "glb" else box(1, 2, 3))
    catalog.catalog(Dataset(str(tmp_path / "raw"), "auto", ("chair",), 0))
    assert [(row["model_id"], row["status"]) for row in rows(catalogue.CATALOG, "chair")] == [
        (f"{model}.model", status) for model in "ab" for status in ("ok", "duplicate")
    ]
    assert "2 models are there twice, of which the first is taken" in capfd.readouterr().out


def test_a_category_is_called_as_params_call_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = write_v2(tmp_path / "raw", GOOD | {(TABLE, "t"): box(1, 1, 1), ("02691156", "a"): box(1, 1, 1)})
    catalog.catalog(Dataset(str(root), "auto", ("chair", TABLE), 0), tmp_path / "catalog")
    assert sorted(os.listdir(tmp_path / "catalog")) == [f"{TABLE}.csv", "chair.csv"]
    assert [row["synset"] for row in rows(tmp_path / "catalog", "chair")] == 4 * [CHAIR]
    assert "1 models of 1 categories not in dataset.categories: airplane\n" in capfd.readouterr().out
    with pytest.raises(ValueError, match="expected every category once, got '03001627' by two names"):
        catalog.catalog(Dataset(str(root), "auto", ("chair", CHAIR), 0))
    with pytest.raises(ValueError, match=f"'sofa' in .* found only 02691156 .airplane., {CHAIR} .chair., {TABLE}"):
        catalog.catalog(Dataset(str(root), "auto", ("sofa",), 0))


def test_a_folder_of_meshes_names_its_categories(tmp_path: Path) -> None:
    for name in ("chair/a.obj", "Garden Bench/b.obj"):
        (tmp_path / "raw" / name).parent.mkdir(parents=True)
        (tmp_path / "raw" / name).write_bytes(box(1, 2, 3))
    catalog.catalog(Dataset(str(tmp_path / "raw"), "hash", ("chair", "garden-bench"), 0), tmp_path / "catalog")
    assert [row["synset"] for row in rows(tmp_path / "catalog", "chair")] == ["chair"]
    assert [row["model_id"] for row in rows(tmp_path / "catalog", "garden-bench")] == ["b"]


def test_refusals_leave_the_old_tables(tmp_path: Path) -> None:
    root, out = write_v2(tmp_path / "raw", GOOD), tmp_path / "catalog"
    catalog.catalog(Dataset(str(root), "auto", (CHAIR,), 0), out)
    before = (out / f"{CHAIR}.csv").read_bytes()
    with pytest.raises(ValueError, match=f"expected models of '{TABLE}' in .* found only .*{CHAIR}"):
        catalog.catalog(Dataset(str(root), "auto", (CHAIR, TABLE), 0), out)
    write_v2(root, GOOD | {(CHAIR, "bad"): b"f 1 2 3\n"})
    with pytest.raises(ValueError, match=r"1 of 5 models rejected \(1 bad_index\).*at most max_rejected = 0.1"):
        catalog.catalog(Dataset(str(root), "auto", (CHAIR,), 0.1), out)
    assert (out / f"{CHAIR}.csv").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["catalog", "data", "raw"]


def test_table_of_a_category_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1.csv: expected the catalogue of this category"):
        catalogue.read_table(tmp_path / "1.csv")


def test_training_models_have_variants(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = {(CHAIR, f"m{i}"): box(1, 1, 1 + i) for i in range(12)} | {(CHAIR, "cut"): box(1, 1, 1)[:-3]}
    root = write_v2(tmp_path / "raw", models)
    plain = Dataset(str(root), "auto", (CHAIR,), 0.5)
    catalog.catalog(plain, tmp_path / "catalog")
    before = rows(tmp_path / "catalog", CHAIR)
    dataset = replace(plain, variants=Variants(2, 1.5, 3))
    catalog.catalog(dataset, tmp_path / "catalog")
    after = rows(tmp_path / "catalog", CHAIR)
    assert after[: len(before)] == before and all(not row["stretch"] for row in before)
    training = {row["model_id"]: row for row in before if row["split"] == "train" and row["status"] == "ok"}
    made = after[len(before) :]
    assert 0 < len(training) < 12 and f"{2 * len(training)} variants of training models" in capsys.readouterr().out
    assert [row["model_id"] for row in made] == [f"{name}~{n}" for name in training for n in (1, 2)]
    drawn = np.array([[float(factor) for factor in row["stretch"].split()] for row in made])
    assert len(np.unique(drawn)) > 2 * len(made) and (drawn[:, 1:] > 0).all() and {-1, 1} == set(np.sign(drawn[:, 0]))
    assert np.abs(drawn).min() >= 1 / 1.5 - 1e-3 and np.abs(drawn).max() <= 1.5 + 1e-3 and np.abs(drawn).max() > 1.3
    for row in made:
        own = training[row["model_id"].split("~")[0]]
        assert row["split"] == "variants" and row["status"] == "ok"
        assert all(row[name] == own[name] for name in ("mesh", "sha256", "split_source", "layout"))
    entries = catalogue.read_table(tmp_path / "catalog" / f"{CHAIR}.csv")
    assert entries[-1].stretch == tuple(drawn[-1]) and entries[0].stretch == ()
    catalog.catalog(dataset, tmp_path / "again")
    assert rows(tmp_path / "again", CHAIR) == after
    catalog.catalog(replace(dataset, variants=Variants(1, 1.5, 3)), tmp_path / "again")
    fewer = rows(tmp_path / "again", CHAIR)[len(before) :]
    assert fewer == made[::2]
    catalog.catalog(replace(dataset, variants=Variants(2, 1.5, 4)), tmp_path / "again")
    assert rows(tmp_path / "again", CHAIR)[len(before)]["stretch"] != made[0]["stretch"]


def test_what_can_not_be_varied_is_left_and_what_would_be_taken_for_a_variant_refused() -> None:
    own = dict.fromkeys(catalogue.COLUMNS, "") | {"synset": CHAIR, "model_id": "m", "status": "ok", "split": "train"}
    has = own | {"mesh": "m.obj", "grid": "m.binvox", "parts_sha256": "aa"}
    (made,) = catalog.variants([has], Variants(1))
    assert made["grid"] == made["parts_sha256"] == ""
    for table in ([own], [has | {"views": "m"}], [has | {"split": "val"}], [has | {"status": "no_area"}]):
        assert catalog.variants(table, Variants(1)) == []
    with pytest.raises(ValueError, match="expected no model called as a variant is, found 'm~1'"):
        catalog.variants([has, has | {"model_id": "m~1", "split": "test"}], Variants(1))
