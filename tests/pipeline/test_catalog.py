from __future__ import annotations

import csv
import os
import zipfile
from pathlib import Path

import pytest

from pipeline import catalog
from pipeline.files import sha256
from pipeline.params import Dataset
from tests.meshes import CHAIR, TABLE, box, write_v2

GOOD = {(CHAIR, f"m{i}"): box(1, 1, 1 + i) for i in range(4)}


def rows(folder: Path, synset: str) -> list[dict[str, str]]:
    with (folder / f"{synset}.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_model_is_listed_with_what_was_found(tmp_path: Path) -> None:
    broken = {(CHAIR, "nan"): b"v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", (CHAIR, "cut"): box(1, 1, 1)[:-3]}
    root = write_v2(tmp_path / "raw", GOOD | broken)
    catalog.catalog(Dataset(str(root), (CHAIR,), 0.5), tmp_path / "catalog")
    table = {row["model_id"]: row for row in rows(tmp_path / "catalog", CHAIR)}
    assert sorted(table) == ["cut", "m0", "m1", "m2", "m3", "nan"]
    assert table["nan"]["status"] == "not_finite" and table["cut"]["status"] == "truncated"
    assert table["nan"]["detail"] == "expected finite vertices, got 1 with NaN or infinity"
    good = table["m1"]
    assert good["status"] == "ok" and good["sha256"] == sha256(GOOD[CHAIR, "m1"])
    assert (good["vertices"], good["faces"], good["layout"]) == ("8", "12", "shapenet-v2")
    entries = catalog.read_table(tmp_path / "catalog" / f"{CHAIR}.csv")
    assert [entry.ref.read(root) for entry in entries if entry.ref.model_id == "m2"] == [GOOD[CHAIR, "m2"]]


def test_a_changed_mesh_changes_its_category_alone(tmp_path: Path) -> None:
    dataset = Dataset(str(tmp_path / "raw"), (CHAIR, TABLE), 0)
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
    catalog.catalog(Dataset(str(root), (CHAIR,), 0.5), tmp_path / "catalog")
    table = {row["model_id"]: row for row in rows(tmp_path / "catalog", CHAIR)}
    assert table["m2"]["status"] == "unreadable" and "expected a whole zip entry, got" in table["m2"]["detail"]
    assert [row["status"] for name, row in sorted(table.items()) if name != "m2"] == ["ok"] * 3


def test_duplicates_are_named(tmp_path: Path) -> None:
    root = write_v2(tmp_path / "raw", GOOD)
    write_v2(root / "again", {(CHAIR, "m0"): box(5, 5, 5)}, zipped=False)
    catalog.catalog(Dataset(str(root), (CHAIR,), 0.5), tmp_path / "catalog")
    statuses = [row["status"] for row in rows(tmp_path / "catalog", CHAIR) if row["model_id"] == "m0"]
    assert statuses == ["ok", "duplicate"]


def test_official_split_where_there_is_one(tmp_path: Path) -> None:
    root = write_v2(tmp_path / "raw", GOOD)
    header = "id,synsetId,subSynsetId,modelId,split\n"
    (root / "all.csv").write_text(header + f"000001,{CHAIR},03001627,m0,test\n000002,{CHAIR},03001627,m1,val\n")
    catalog.catalog(Dataset(str(root), (CHAIR,), 0), tmp_path / "catalog")
    table = {row["model_id"]: (row["split"], row["split_source"]) for row in rows(tmp_path / "catalog", CHAIR)}
    assert table["m0"] == ("test", "all.csv") and table["m1"] == ("val", "all.csv")
    assert table["m2"] == (catalog.hashed_split("m2"), "hash")
    (root / "all.csv").write_text(header + f"000001,{CHAIR},03001627,m0,tset\n")
    with pytest.raises(ValueError, match="model m0: expected split train, val or test, got 'tset'"):
        catalog.catalog(Dataset(str(root), (CHAIR,), 0), tmp_path / "catalog")
    (root / "all.csv").write_text("id,modelId\n")
    with pytest.raises(ValueError, match="all.csv: expected a column split"):
        catalog.official_splits(root / "all.csv")


def test_hashed_split_is_70_10_20_and_knows_the_id_alone() -> None:
    splits = [catalog.hashed_split(f"model{i}") for i in range(10000)]
    for split, share in {"train": 0.7, "val": 0.1, "test": 0.2}.items():
        assert splits.count(split) / 10000 == pytest.approx(share, abs=3 * (share * (1 - share) / 10000) ** 0.5)


def test_refusals_leave_the_old_tables(tmp_path: Path) -> None:
    root, out = write_v2(tmp_path / "raw", GOOD), tmp_path / "catalog"
    catalog.catalog(Dataset(str(root), (CHAIR,), 0), out)
    before = (out / f"{CHAIR}.csv").read_bytes()
    with pytest.raises(ValueError, match=f"expected models of '{TABLE}' in .* found only .*{CHAIR}"):
        catalog.catalog(Dataset(str(root), (CHAIR, TABLE), 0), out)
    write_v2(root, GOOD | {(CHAIR, "bad"): b"f 1 2 3\n"})
    with pytest.raises(ValueError, match=r"1 of 5 models rejected \(1 bad_index\).*at most max_rejected = 0.1"):
        catalog.catalog(Dataset(str(root), (CHAIR,), 0.1), out)
    assert (out / f"{CHAIR}.csv").read_bytes() == before and sorted(os.listdir(tmp_path)) == [
        "catalog",
        "raw",
    ]


def test_table_of_a_category_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1.csv: expected the catalogue of this category"):
        catalog.read_table(tmp_path / "1.csv")
