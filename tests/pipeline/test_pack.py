from __future__ import annotations

import csv
import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline import catalog, pack, render, voxelize
from pipeline.geometry.meshes import MeshError
from pipeline.records import catalogue, records
from pipeline.records.quality import Quality
from pipeline.runtime.params import Dataset, Variants
from pipeline.shards import layout
from pipeline.shards.layout import ShardDataset
from pipeline.sources.layout import ModelRef
from tests.meshes import CHAIR, box, write_v2

BROKEN = b"v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
MODELS = {(CHAIR, f"m{i}"): box(1, 2, 1 + i / 4) for i in range(9)} | {(CHAIR, "nan"): BROKEN}
RENDER = render.Params(0, 2, 24, 36, (30.0, 30.0), (0.0, 40.0), (1.0, 1.2), depth=False, normals=False)
VOXELIZE = voxelize.Params(seed=0, resolution=16, points=300)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Catalogue, renders and voxels of nine boxes and a broken mesh."""
    folder, here = tmp_path_factory.mktemp("project"), Path.cwd()
    os.chdir(folder)
    try:
        root = write_v2(folder / "raw", MODELS)
        catalog.catalog(Dataset(str(root), "auto", (CHAIR,), 0.5))
        entries = catalogue.read_table(catalogue.CATALOG / f"{CHAIR}.csv")
        for job, out in ((render.job(RENDER), records.RENDERS), (voxelize.job(VOXELIZE), records.VOXELS)):
            records.make(job, root, entries, out / f"{CHAIR}.zip", 0)
    finally:
        os.chdir(here)
    return folder


@pytest.fixture(autouse=True)
def inside(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / CHAIR).iterdir())}


def test_every_model_is_in_a_shard_or_listed_with_a_reason(project: Path) -> None:
    pack.pack(CHAIR, pack.Params(1000), project / "shards")
    packed = [
        model
        for split in layout.SPLITS
        if list((project / "shards" / CHAIR).glob(f"{split}-*"))
        for model in ShardDataset(project / "shards", [CHAIR], split).models
    ]
    with (project / "shards" / CHAIR / "status.csv").open() as file:
        table = {row["model_id"]: row for row in csv.DictReader(file)}
    assert sorted(table) == sorted(model_id for _, model_id in MODELS)
    assert sorted(packed) == sorted((CHAIR, name) for name, row in table.items() if row["status"] == "packed")
    assert len(packed) == 9
    assert (table["nan"]["status"], table["nan"]["reason"]) == ("catalog", "not_finite")
    with records.Archive(records.VOXELS / f"{CHAIR}.zip") as voxels:
        for name, row in table.items():
            note = [row[key] for key in pack.NOTE]
            if row["status"] == "packed":
                assert np.array_equal(np.array(note, np.float32), voxels[name]["notes"]) and note[1] == "1.0"
            else:
                assert note == [""] * len(pack.NOTE)
    for split in layout.SPLITS:
        for path in (project / "shards" / CHAIR).glob(f"{split}-*"):
            with layout.open_shard(path) as file:
                for model_id in file["model_id"][:]:
                    assert table[model_id.decode()]["split"] == split


def test_a_row_holds_what_the_stages_made(project: Path) -> None:
    pack.pack(CHAIR, pack.Params(1000), project / "shards")
    path = next((project / "shards" / CHAIR).glob("train-*"))
    with layout.open_shard(path) as file, records.Archive(records.RENDERS / f"{CHAIR}.zip") as renders:
        name = file["model_id"][0].decode()
        view = renders[name]
        for key in ("views", "masks", "cameras", "world_to_view"):
            assert np.array_equal(file[key][0], view[key]), key
        grid = np.unpackbits(file["occupancy"][0]).reshape(16, 16, 16)
        # The box, its longest side 2 scaled to 15/16: 15 of 16 cells along y, half of that along x.
        assert grid.any(axis=(0, 2)).sum() == 16 and grid.any(axis=(1, 2)).sum() == 8
        points, affine = file["points"][0], file["affine"][0]
        depth = 1 + int(name[1:]) / 4
        source = points @ affine[:3, :3].T + affine[:3, 3]
        assert np.allclose((np.abs(source) / [0.5, max(1, 1), depth / 2]).max(axis=1), 1, atol=1e-5)


def test_maps_are_packed_where_rendered(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack.pack(CHAIR, pack.Params(1000), tmp_path / "plain")
    with layout.open_shard(next((tmp_path / "plain" / CHAIR).glob("train-*"))) as file:
        assert not {"depth", "normals", "color"} & set(file)
    monkeypatch.setattr(records, "RENDERS", tmp_path / "renders")
    entries = catalogue.read_table(catalogue.CATALOG / f"{CHAIR}.csv")
    job = render.job(dataclasses.replace(RENDER, depth=True, normals=True, color=True))
    records.make(job, project / "raw", entries, records.RENDERS / f"{CHAIR}.zip", 0)
    pack.pack(CHAIR, pack.Params(1000), tmp_path / "maps")
    items = ShardDataset(tmp_path / "maps", [CHAIR], "train", targets=("depth", "normals", "color"))
    with records.Archive(records.RENDERS / f"{CHAIR}.zip") as renders:
        for item in range(len(items)):
            record, got = renders[items.models[item // 2][1]], items[item]
            for name in ("views", "depth", "normals", "color"):
                assert np.array_equal(got[name][0], record[name][item % 2]) and got[name].any(), name


def test_same_records_same_bytes_and_many_files(project: Path) -> None:
    for name in ("one", "two"):
        pack.pack(CHAIR, pack.Params(2), project / name)
    one, two = contents(project / "one"), contents(project / "two")
    assert one == two
    trains = [name for name in one if name.startswith("train")]
    assert len(trains) > 1
    assert len({model for _, model in ShardDataset(project / "one", [CHAIR], "train").models}) > 2


def test_failure_leaves_the_old_shards(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack.pack(CHAIR, pack.Params(1000), project / "shards")
    before = contents(project / "shards")

    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(pack, "write_status", fail)
    with pytest.raises(OSError, match="No space left"):
        pack.pack(CHAIR, pack.Params(2), project / "shards")
    assert contents(project / "shards") == before
    assert [path.name for path in (project / "shards").iterdir()] == [CHAIR]


def test_nothing_to_pack_is_refused(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> tuple[str, str, str]:
        return "render", "failed", ""

    monkeypatch.setattr(pack, "status", none)
    with pytest.raises(ValueError, match=f"pack {CHAIR}: expected models with views and a grid, found none of 10"):
        pack.pack(CHAIR, pack.Params(2), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_models_with_other_views_than_most_are_rejected(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = records.Archive.shape
    odd = {"m3": (3, 24, 36)}

    def shape(archive: records.Archive, model_id: str, name: str) -> tuple[int, ...]:
        return odd.get(model_id) or whole(archive, model_id, name)

    assert whole(records.Archive(records.RENDERS / f"{CHAIR}.zip"), "m3", "views") == (2, 24, 36)
    monkeypatch.setattr(records.Archive, "shape", shape)
    pack.pack(CHAIR, pack.Params(1000), tmp_path / "shards", 0.2)
    with (tmp_path / "shards" / CHAIR / "status.csv").open() as file:
        table = {row["model_id"]: (row["status"], row["reason"], row["message"]) for row in csv.DictReader(file)}
    message = "expected views of shape (2, 24, 36), as most of the category, got (3, 24, 36)"
    assert table["m3"] == ("pack", "shape", message) and table["m4"][0] == "packed"
    with pytest.raises(ValueError, match=r"pack 03001627: 1 of 9 models rejected \(1 shape\), as m3"):
        pack.pack(CHAIR, pack.Params(1000), tmp_path / "shards", 0.1)


def test_a_category_by_its_name_has_the_same_shards(project: Path) -> None:
    for folder, suffix in ((catalogue.CATALOG, "csv"), (records.RENDERS, "zip"), (records.VOXELS, "zip")):
        shutil.copy(folder / f"{CHAIR}.{suffix}", folder / f"chair.{suffix}")
    for name in (CHAIR, "chair"):
        pack.pack(name, pack.Params(1000), project / "named")
    assert {path.name: path.read_bytes() for path in (project / "named/chair").iterdir()} == contents(project / "named")
    assert {synset for synset, _ in ShardDataset(project / "named", ["chair"], "train").models} == {CHAIR}


def test_a_variant_of_a_model_that_is_not_packed_is_rejected(project: Path, tmp_path: Path) -> None:
    def entry(name: str, *stretch: float) -> records.Entry:
        return records.Entry(ModelRef(CHAIR, name, "shapenet-v2", "m.obj"), "train", "hash", "", "", "ok", "", stretch)

    entries = [entry("m"), entry("m~1", 1.0, 1.2, 1.0), entry("n"), entry("n~1", 1.0, 1.2, 1.0)]
    statuses = [("render", "timeout", "expected at most 1 s"), *3 * [("packed", "", "")]]
    pack.refuse_orphans(entries, statuses)
    told = "expected the model m, of which it is a variant, packed as well"
    assert statuses[1] == ("pack", "origin", told) and statuses[2:] == 2 * [("packed", "", "")]


def test_variants_have_computed_grids_where_models_bring_some(project: Path, tmp_path: Path) -> None:
    ref = ModelRef(CHAIR, "m1~1", "shapenet-v2", f"{CHAIR}.zip/{CHAIR}/m1/models/model_normalized.obj")
    own = next(e for e in catalogue.read_table(catalogue.CATALOG / f"{CHAIR}.csv") if e.ref.model_id == "m1")
    variant = dataclasses.replace(own, ref=dataclasses.replace(own.ref, model_id=ref.model_id), stretch=(1.0, 1.0, 2.0))
    job = voxelize.job(dataclasses.replace(VOXELIZE, grids="ready"))
    grid = np.unpackbits(records.record_of(job, project / "raw", variant)["occupancy"]).reshape(16, 16, 16)
    # 1 x 2 x 2.5: the longest side has 15 of 16 cells, the others their share of it.
    cells = [grid.any(axis=axes).sum() for axes in ((1, 2), (0, 2), (0, 1))]
    assert np.allclose(cells, [6, 12, 15], atol=1)
    with pytest.raises(MeshError, match="expected a ready-made grid, found none"):
        records.record_of(job, project / "raw", own)


def test_variants_are_shards_of_their_own(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack.pack(CHAIR, pack.Params(1000), tmp_path / "plain")
    plain = contents(tmp_path / "plain")
    for module, name in ((catalog, "CATALOG"), (records, "RENDERS"), (records, "VOXELS")):
        monkeypatch.setattr(module, name, tmp_path / name)
    root = project / "raw"
    catalog.catalog(Dataset(str(root), "auto", (CHAIR,), 0.5, Variants(2)), catalogue.CATALOG)
    entries = catalogue.read_table(catalogue.CATALOG / f"{CHAIR}.csv")
    for job, out in ((render.job(RENDER), records.RENDERS), (voxelize.job(VOXELIZE), records.VOXELS)):
        records.make(job, root, entries, out / f"{CHAIR}.zip", 0)
    pack.pack(CHAIR, pack.Params(1000), tmp_path / "varied")
    varied = contents(tmp_path / "varied")
    # Nothing else changes by them.
    assert varied.keys() - plain.keys() == {"variants-000.h5"}
    assert {name: varied[name] for name in plain if name != "status.csv"} == {
        name: data for name, data in plain.items() if name != "status.csv"
    }
    data = ShardDataset(tmp_path / "varied", [CHAIR], "train", targets=("occupancy", "points"), variants=True)
    stretches = {entry.ref.model_id: np.array(entry.stretch) for entry in entries if entry.stretch}
    own = data.origins.index(0, 1)
    assert len(stretches) == 2 * own == len(data.models) - own
    with layout.open_shard(tmp_path / "varied" / CHAIR / "variants-000.h5") as file:
        affines = dict(zip([name.decode() for name in file["model_id"][:]], file["affine"][:], strict=True))
    looks = []
    for n in range(own, len(data.models)):
        (_, name), model = data.models[n], data.model(n)
        sides = np.array([1, 2, 1 + int(name[1]) / 4])
        expected = np.abs(stretches[name]) * sides
        points, affine = model["points"], affines[name]
        assert np.allclose(np.ptp(points, axis=0), expected / expected.max() * 15 / 16, atol=0.01)
        source = points @ affine[:3, :3].T + affine[:3, 3]
        assert np.allclose((np.abs(source) / (sides / 2)).max(axis=1), 1, atol=1e-5)
        grid = np.unpackbits(model["occupancy"]).reshape(16, 16, 16)
        cells = [grid.any(axis=axes).sum() for axes in ((1, 2), (0, 2), (0, 1))]
        assert np.allclose(cells, expected / expected.max() * 15, atol=2)
        looks.append(model["views"])
    assert len({look.tobytes() for look in looks}) == len(looks)


def test_what_is_not_good_enough_is_listed_with_its_reason(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with records.Archive(records.VOXELS / f"{CHAIR}.zip") as voxels:
        fills = {name: float(voxels[name]["notes"][0]) for name in voxels.model_ids}
    limit = sorted(fills.values())[4]
    pack.pack(CHAIR, pack.Params(1000, Quality(fill_ratio=(0.0, limit))), project / "sifted", max_rejected=0)
    with (project / "sifted" / CHAIR / "status.csv").open() as file:
        table = {row["model_id"]: row for row in csv.DictReader(file)}
    left = {name for name, row in table.items() if row["reason"] == "fill_ratio"}
    assert left == {name for name, fill in fills.items() if fill > limit} and left
    assert f"pack {CHAIR}: {len(left)} models left out or moved" in capsys.readouterr().out
    kept = [
        model for path in (project / "sifted" / CHAIR).glob("*.h5") for model in layout.open_shard(path)["model_id"]
    ]
    assert {name.decode() for name in kept} == set(fills) - left
