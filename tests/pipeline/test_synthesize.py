from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from pipeline import catalog
from pipeline.families.registry import FAMILIES
from pipeline.records import catalogue
from pipeline.runtime.params import Dataset
from pipeline.synthesize import ROOT, SPLITS, Model, Params, build, model_id, synthesize

CLEAN = Params(seed=0, models_per_category=5, doubled=0.0, flipped=0.0, opened=0.0)
USUAL = Params(seed=0, models_per_category=5, doubled=0.7, flipped=0.7, opened=0.25)
CHAIR, TABLE = "03001627", "04379243"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthesize") / "raw"
    synthesize(folder, USUAL)
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "all.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def pieces(model: Model) -> list[trimesh.Trimesh]:
    groups = range(len(model.shape.pieces))
    return [trimesh.Trimesh(model.vertices, model.faces[model.groups == g], process=False) for g in groups]


def test_the_folder_holds_a_zip_per_synset_and_the_two_tables(root: Path) -> None:
    assert sorted(p.name for p in root.iterdir()) == [
        *(f"{s}.zip" for s in sorted(FAMILIES)),
        "all.csv",
        "synthesized.sha256",
        "taxonomy.json",
    ]
    layout = re.compile(r"(\d{8})/([0-9a-f]{32})/models/model_normalized\.(obj|json)")
    for synset in FAMILIES:
        names = list(members(root / f"{synset}.zip"))
        matches = [layout.fullmatch(name) for name in names]
        assert all(match and match[1] == synset for match in matches)
        assert names == sorted(names) and len(names) == 2 * USUAL.models_per_category


def test_taxonomy_has_the_official_fields(root: Path) -> None:
    taxonomy = json.loads((root / "taxonomy.json").read_text())
    assert [entry["synsetId"] for entry in taxonomy] == list(FAMILIES)
    assert taxonomy[4] == {"synsetId": CHAIR, "name": "chair", "children": [], "numInstances": 5}


def test_all_csv_has_the_official_columns_and_names_every_model(root: Path) -> None:
    header = (root / "all.csv").read_bytes().split(b"\n")[0]
    assert header == b"id,synsetId,subSynsetId,modelId,split\r"
    table = rows(root)
    stored = {tuple(n.split("/")[:2]) for s in FAMILIES for n in members(root / f"{s}.zip")}
    assert {(row["synsetId"], row["modelId"]) for row in table} == stored
    assert len({row["id"] for row in table}) == len(table) == len(stored)
    assert all(re.fullmatch(r"\d{6}", row["id"]) for row in table)


def test_every_category_has_every_split(root: Path) -> None:
    for synset in FAMILIES:
        assert {r["split"] for r in rows(root) if r["synsetId"] == synset} == {"train", "val", "test"}


@pytest.mark.parametrize("count", range(4, 41))
def test_splits_are_70_10_20_as_near_as_whole_numbers_allow(count: int) -> None:
    splits = Counter(SPLITS[index % len(SPLITS)] for index in range(count))
    for split, share in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
        assert abs(splits[split] - share * count) < 1 and splits[split] >= 1


def test_what_is_written_is_normalised_as_shapenetcore_v2(root: Path) -> None:
    for synset in FAMILIES:
        for name, data in members(root / f"{synset}.zip").items():
            if name.endswith(".obj"):
                mesh = trimesh.load(io.BytesIO(data), file_type="obj", process=False, maintain_order=True, force="mesh")
                written = np.array([line.split()[1:] for line in data.decode().splitlines() if line[0] == "v"], float)
                assert np.abs(written.mean(axis=0)).max() < 1e-6
                assert np.linalg.norm(mesh.bounds[1] - mesh.bounds[0]) == pytest.approx(1, abs=1e-5)


def test_json_leads_back_to_the_frame_of_the_source(root: Path) -> None:
    stored, model = members(root / f"{TABLE}.zip"), build(TABLE, 2, USUAL)
    record = json.loads(stored[f"{TABLE}/{model.model_id}/models/model_normalized.json"])
    assert sorted(record) == ["centroid", "id", "max", "min", "numVertices"]
    assert record["id"] == model.model_id and record["numVertices"] == len(model.vertices)
    diagonal = np.linalg.norm(np.subtract(record["max"], record["min"]))
    low = model.vertices.min(axis=0) * diagonal + record["centroid"]
    assert low == pytest.approx(record["min"], abs=1e-5)


def test_the_obj_is_the_model_that_build_returns(root: Path) -> None:
    model = build(CHAIR, 1, USUAL)
    lines = members(root / f"{CHAIR}.zip")[f"{CHAIR}/{model.model_id}/models/model_normalized.obj"].decode().split("\n")
    vertices = np.array([line.split()[1:] for line in lines if line.startswith("v ")], dtype=float)
    faces = np.array([line.split()[1:] for line in lines if line.startswith("f ")], dtype=int) - 1
    assert np.array_equal(vertices, model.vertices)
    assert np.array_equal(faces, model.faces)
    assert sum(line.startswith("g ") for line in lines) == len(model.shape.pieces)


def test_same_seed_same_bytes_and_stale_files_go(root: Path, tmp_path: Path) -> None:
    again = tmp_path / "raw"
    synthesize(again, dataclasses.replace(USUAL, seed=1, models_per_category=1))
    assert not set(digests(again).values()) & set(digests(root).values())
    with (again / "synthesized.sha256").open("a") as file:  # as a version that made another file would have it
        file.write(f"{hashlib.sha256(b'').hexdigest()}  stale.zip\n")
    (again / "stale.zip").write_bytes(b"")
    synthesize(again, USUAL)
    assert digests(again) == digests(root)
    assert list(tmp_path.iterdir()) == [again]


def test_the_hashes_are_those_of_the_files(root: Path) -> None:
    lines = dict(line.split("  ")[::-1] for line in (root / "synthesized.sha256").read_text().splitlines())
    assert lines == {name: digest for name, digest in digests(root).items() if name != "synthesized.sha256"}


@pytest.mark.parametrize("name", ["chair.obj", f"{CHAIR}/model.obj", f"{CHAIR}.zip", "all.csv", "sub/all.csv", "link"])
def test_a_folder_with_a_file_of_someone_else_is_left_alone(tmp_path: Path, name: str) -> None:
    folder, params = tmp_path / "embedded", dataclasses.replace(USUAL, models_per_category=1)
    synthesize(folder, params)
    if name == "link":
        (folder / name).symlink_to(tmp_path)
    else:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("mine")
    with pytest.raises(ValueError, match=f"^{re.escape(str(folder / name))}: expected no file but those that synth"):
        synthesize(folder, dataclasses.replace(params, seed=1))
    assert name == "link" or (folder / name).read_text() == "mine"
    assert len(list(folder.iterdir())) >= len(FAMILIES) + 3


def test_a_folder_that_was_there_before_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / f"{TABLE}.zip").write_text("mine")
    with pytest.raises(ValueError, match=f"{TABLE}.zip: expected no file but those that synthesize made"):
        synthesize(tmp_path, USUAL)
    assert [path.name for path in tmp_path.iterdir()] == [f"{TABLE}.zip"]


@pytest.mark.long
@pytest.mark.parametrize("kind", ["symlink", "hardlink", "copy"])
def test_what_dvc_makes_of_the_folder_is_read_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Whatever its cache.type: the files may be links out of the folder, and are read-only."""
    from dvc.repo import Repo

    monkeypatch.chdir(tmp_path)
    with Repo.init(no_scm=True) as repo, repo.config.edit("local") as config:
        config["cache"] = {"type": [kind]}
    few = dataclasses.replace(USUAL, models_per_category=1)
    synthesize(ROOT, few)
    before = digests(ROOT)
    with Repo() as repo:
        repo.add([str(ROOT)])
    assert (ROOT / f"{CHAIR}.zip").is_symlink() == (kind == "symlink")
    catalog.catalog(Dataset(str(ROOT), "auto", ("chair",), 0))
    assert [entry.status for entry in catalogue.read_table(catalogue.CATALOG / "chair.csv")] == ["ok"]
    synthesize(ROOT, few)
    assert digests(ROOT) == before and not (ROOT / f"{CHAIR}.zip").is_symlink()


def test_a_larger_set_begins_with_the_smaller(root: Path, tmp_path: Path) -> None:
    synthesize(tmp_path / "raw", dataclasses.replace(USUAL, models_per_category=8))
    for synset in FAMILIES:
        small, large = members(root / f"{synset}.zip"), members(tmp_path / "raw" / f"{synset}.zip")
        assert small.items() < large.items()
    small_rows, large_rows = (
        {(r["synsetId"], r["modelId"], r["split"]) for r in rows(p)} for p in (root, tmp_path / "raw")
    )
    assert small_rows < large_rows


def test_ids_are_stable_and_distinct() -> None:
    assert model_id(0, CHAIR, 0) == hashlib.sha256(b"oneview/0/03001627/0").hexdigest()[:32]
    ids = {model_id(seed, synset, i) for seed in (0, 1) for synset in FAMILIES for i in range(20)}
    assert len(ids) == 2 * 20 * len(FAMILIES)


@pytest.mark.parametrize("synset", sorted(FAMILIES))
def test_an_undamaged_model_is_closed_and_outward_in_every_part(synset: str) -> None:
    model = build(synset, 0, CLEAN)
    assert np.array_equal(model.faces, model.clean_faces)
    for mesh, _ in zip(pieces(model), model.shape.parts, strict=False):
        assert mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0


@pytest.mark.parametrize("synset", sorted(FAMILIES))
def test_the_exact_solid_is_in_the_frame_that_is_written(synset: str) -> None:
    model, start = build(synset, 1, USUAL), 0
    for piece in model.shape.pieces:
        stop = start + len(piece.vertices)
        assert np.abs(model.vertices[start:stop] - piece.vertices).max() <= 5e-7
        start = stop
    middles = np.array([part.vertices.mean(axis=0) for part in model.shape.parts])
    assert start == len(model.vertices) and model.shape.contains(middles).all()


def test_damage_leaves_the_solid_as_it_is() -> None:
    damaged, clean = (build(CHAIR, 0, dataclasses.replace(CLEAN, doubled=d, flipped=d, opened=d)) for d in (1.0, 0.0))
    assert np.array_equal(damaged.vertices, clean.vertices)
    assert np.array_equal(damaged.clean_faces, clean.faces)
    assert all(np.array_equal(a.planes, b.planes) for a, b in zip(damaged.shape.parts, clean.shape.parts, strict=True))


def test_doubled_faces_come_once_with_each_winding() -> None:
    model = build(CHAIR, 0, dataclasses.replace(CLEAN, doubled=1.0))
    assert len(model.faces) == 2 * len(model.clean_faces)
    there = {tuple(np.roll(f, -f.argmin())) for f in model.faces}
    assert there == {tuple(np.roll(f, -f.argmin())) for f in model.faces[:, ::-1]}
    assert len(there) == len(model.faces)


def test_flipped_models_have_half_of_their_faces_turned() -> None:
    model = build(CHAIR, 0, dataclasses.replace(CLEAN, flipped=1.0))
    turned = np.any(model.faces != model.clean_faces, axis=1)
    assert 0.3 < turned.mean() < 0.7
    assert not all(mesh.is_winding_consistent for mesh in pieces(model))


@pytest.mark.parametrize("synset", sorted(FAMILIES))
def test_opened_models_lose_whole_sides_and_no_vertex(synset: str) -> None:
    params = dataclasses.replace(CLEAN, opened=1.0)
    models = [build(synset, index, params) for index in range(4)]
    closed = [m.is_watertight for model in models for m, _ in zip(pieces(model), model.shape.parts, strict=False)]
    assert 0.1 < 1 - np.mean(closed) < 0.6
    for model in models:
        assert np.array_equal(np.unique(model.faces), np.arange(len(model.vertices)))


@pytest.mark.long
@pytest.mark.parametrize("field", ["doubled", "flipped", "opened"])
def test_damage_strikes_the_share_of_models_that_is_asked_for(field: str) -> None:
    values: dict[str, Any] = {**dataclasses.asdict(CLEAN), field: 0.3}
    params = Params(**values)
    models = [build(TABLE, index, params) for index in range(200)]
    struck = np.mean([not np.array_equal(model.faces, model.clean_faces) for model in models])
    assert abs(struck - 0.3) < 0.12


def test_an_unknown_synset_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"synset '00000000': expected one of 02691156, .*04379243"):
        build("00000000", 0, CLEAN)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("doubled", 1.5, r"doubled: expected a share in \[0, 1\], got 1.5"),
        ("seed", -1, "seed: expected at least 0, got -1"),
        ("models_per_category", 0, "models_per_category: expected at least 1, got 0"),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(field: str, value: float, message: str) -> None:
    values: dict[str, Any] = {**dataclasses.asdict(CLEAN), field: value}
    with pytest.raises(ValueError, match=message):
        Params(**values)
