from __future__ import annotations

import csv
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import catalog, pack, render
from pipeline.geometry.meshes import MeshError
from pipeline.records import catalogue, records
from pipeline.records.looks import Beside
from pipeline.runtime.params import Dataset
from pipeline.sources.layout import ModelRef
from tests.meshes import CHAIR, box
from tests.pipeline.sources.trees import png, write

PARAMS = render.Params(0, 2, 24, 36, (30.0, 30.0), (0.0, 40.0), (1.0, 1.2), False, False, color=True)
GREEN, RED = np.full((2, 2, 3), (0, 200, 0), np.uint8), np.full((2, 2, 3), (200, 0, 0), np.uint8)
NAMES = ("a", "b", "c")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEVIEW_WORKERS", "1")


def put(root: Path, name: str, part: str, data: bytes) -> None:
    """A file of a model, with a time at which it is long settled; a file of another content has another one."""
    path = root / CHAIR / name / part
    write(path, data)
    os.utime(path, (1e9 + sum(data), 1e9 + sum(data)))


def write_model(root: Path, name: str, picture: np.ndarray | None = GREEN) -> None:
    """A box in ShapeNetCore.v2's layout: blue in its MTL, with a texture that hides it, or the path to one."""
    obj = b"mtllib model_normalized.mtl\nusemtl paint\n" + box(1, 2, 3).replace(b"mtllib", b"#")
    put(root, name, "models/model_normalized.obj", obj)
    put(root, name, "models/model_normalized.mtl", b"newmtl paint\nKd 0 0 1\nmap_Kd ..\\images\\t.png\n")
    if picture is not None:
        put(root, name, "models/model_normalized.mtl", b"newmtl paint\nmap_Kd ..\\images\\t.png\n")
        put(root, name, "images/t.png", png(picture))


def make(root: Path, params: render.Params = PARAMS) -> tuple[dict[str, np.ndarray], set[str]]:
    """Mean colours of the objects in the pictures, by model, and the models whose records are new."""
    cached = set(Path("data/cache/render").rglob("*.npz"))
    catalog.catalog(Dataset(str(root), "hash", (CHAIR,), 0.0), color=params.color)
    entries = catalogue.read_table(catalogue.CATALOG / f"{CHAIR}.csv")
    job = render.job(params)
    records.make(job, root, entries, records.RENDERS / f"{CHAIR}.zip", 0.0)
    colours = {}
    with records.Archive(records.RENDERS / f"{CHAIR}.zip") as archive:
        for name in archive.model_ids:
            record = archive[name]
            masks = np.unpackbits(record["masks"], axis=-1)[..., :36] > 0
            colours[name] = record["color"][masks].mean(axis=0) if params.color else record["views"][masks].mean()
    new = {path.stem for path in Path("data/cache/render").rglob("*.npz")} - {path.stem for path in cached}
    return colours, {entry.ref.model_id for entry in entries if job.key(entry) in new}


def zipped(root: Path) -> None:
    with zipfile.ZipFile(root / f"{CHAIR}.zip", "w") as archive:
        for path in sorted((root / CHAIR).rglob("*.*")):
            archive.writestr(zipfile.ZipInfo(str(path.relative_to(root))), path.read_bytes())
            path.unlink()


@pytest.mark.long
@pytest.mark.parametrize("whole", [False, True], ids=["folders", "zip"])
def test_a_changed_texture_costs_one_model(whole: bool, tmp_path: Path) -> None:
    root = tmp_path / "raw"
    for name in NAMES:
        write_model(root, name)
    for step, picture in enumerate((GREEN, RED)):
        if whole and step:
            (root / f"{CHAIR}.zip").unlink()
            for name in NAMES:
                write_model(root, name)
        if step:
            put(root, "b", "images/t.png", png(picture))
        if whole:
            zipped(root)
        colours, made = make(root)
        assert made == ({"b"} if step else set(NAMES))
        for name, colour in colours.items():
            assert colour.argmax() == (0 if step and name == "b" else 1) and colour.min() == 0, name
        assert make(root)[1] == set()


@pytest.mark.long
def test_a_texture_that_comes_later_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "raw"
    for name in NAMES[:2]:
        write_model(root, name, None)
    assert all(colour.argmax() == 2 for colour in make(root)[0].values())
    assert "2 models name materials or textures that are not there, as" in capsys.readouterr().out
    put(root, "b", "models/t.png", png(GREEN))  # not where it is said to be, but beside the model
    put(root, "b", "models/model_normalized.mtl", b"newmtl paint\nmap_Kd C:\\theirs\\t.png\n")
    colours, made = make(root)
    assert made == {"b"} and colours["b"].argmax() == 1 and colours["a"].argmax() == 2
    assert f"1 models name materials or textures that are not there, as {CHAIR}/a" in capsys.readouterr().out


@pytest.mark.long
def test_without_colours_nobody_looks_at_textures(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    write_model(root, "a")
    plain = replace(PARAMS, color=False)
    before, _ = make(root, plain)
    write_model(root, "a", RED)
    after, made = make(root, plain)
    assert made == set() and before == after
    with (catalogue.CATALOG / f"{CHAIR}.csv").open() as file:
        assert [row["looks_sha256"] for row in csv.DictReader(file)] == [""]


def test_what_is_not_as_catalogued_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    write_model(root, "a")
    make(root)
    (entry,) = catalogue.read_table(catalogue.CATALOG / f"{CHAIR}.csv")
    put(root, "a", "images/t.png", png(RED))
    for changed in (entry, replace(entry, looks_sha256="")):
        with pytest.raises(MeshError, match="expected the catalogued materials and textures") as caught:
            records.record_of(render.job(PARAMS), root, changed)
        assert caught.value.reason == "changed"


def test_a_model_with_damaged_coordinates_is_drawn_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "raw"
    for name, corner in (("a", b"3/x"), ("b", b"3/1")):
        shape = b"v 0 0 0\nv 1 0 0\nv 0 1 1\nvt 0 0\nf 1/1 2/1 " + corner + b"\n"
        put(root, name, "models/model_normalized.obj", b"mtllib m.mtl\nusemtl m\n" + shape)
        put(root, name, "models/m.mtl", b"newmtl m\nKd 1 .5 0\nmap_Kd t.png\n")
        put(root, name, "models/t.png", png(GREEN))
    why = "expected whole texture coordinates, found damaged ones at 1 of 1 faces"
    for _ in range(2):  # the second time from the cache
        colours, _ = make(root)
        assert colours["a"].argmax() == 0 and colours["b"].argmax() == 1
        assert f"render {CHAIR}: 1 models drawn without what is damaged, as a: {why}\n" in capsys.readouterr().out
    with records.Archive(records.RENDERS / f"{CHAIR}.zip") as archive:
        assert [archive.remark(name) for name in archive.model_ids] == [why, ""]
        entries = catalogue.read_table(catalogue.CATALOG / f"{CHAIR}.csv")
        found = [pack.status(entry, archive, archive) for entry in entries]
    assert found == [("packed", "damaged_looks", why), ("packed", "", "")]


def test_files_beside_a_model_are_below_the_root_and_read_once(tmp_path: Path) -> None:
    write(tmp_path / "outside.png", b"theirs")
    root = tmp_path / "raw"
    write(root / "a/m.obj", b"")
    write(root / "a/t 1.png", b"one")
    beside = Beside(root, ModelRef("a", "m", "folders", "a/m.obj"))
    assert beside("t 1.png") == b"one" == beside("/home/else/t 1.png")
    assert beside("../../outside.png") is None and beside("none.png") is None and beside("../a") is None
    (root / "a/t 1.png").unlink()
    assert beside("t 1.png") == b"one"
    gazebo = "materials/textures/y.png"
    assert beside.locations("../../x/y.png") == ["a/y.png", gazebo]
    assert beside.locations("..\\y.png") == ["y.png", "a/y.png", gazebo]


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_mirrored_variant_is_mirrored_in_its_colours(mirrored: bool, tmp_path: Path) -> None:
    """A square with a red and a green half: seen from +Z, red at -X is on the left, and mirrored on the right."""
    root = tmp_path / "raw"
    halves = np.array([[[250, 0, 0], [0, 250, 0]]], np.uint8)
    square = b"v -1 0 0\nv 1 0 0\nv 1 1 0\nv -1 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3 4/4\n"
    put(root, "a", "models/model_normalized.obj", b"mtllib m.mtl\nusemtl m\n" + square)
    put(root, "a", "models/m.mtl", b"newmtl m\nmap_Kd t.png\n")
    put(root, "a", "models/t.png", png(halves))
    catalog.catalog(Dataset(str(root), "hash", (CHAIR,), 0.0), color=True)
    (entry,) = catalogue.read_table(catalogue.CATALOG / f"{CHAIR}.csv")
    job = render.job(replace(PARAMS, views=8))
    record = records.record_of(job, root, replace(entry, stretch=(-1.2 if mirrored else 1.2, 1.0, 1.0)))
    seen = 0
    for color, azimuth in zip(record["color"].astype(int), np.radians(record["cameras"][:, 0]), strict=True):
        red, green = ((color[..., c] - color[..., 1 - c] > 50) for c in (0, 1))
        if abs(np.cos(azimuth)) > 0.3:
            left = np.nonzero(red)[1].mean() < np.nonzero(green)[1].mean()
            assert left == ((np.cos(azimuth) > 0) != mirrored)
            seen += 1
    assert seen > 3
