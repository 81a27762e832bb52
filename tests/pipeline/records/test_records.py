from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import catalog
from pipeline.geometry.meshes import Mesh, MeshError
from pipeline.records import catalogue, records
from pipeline.runtime.files import sha256
from pipeline.runtime.params import Dataset
from pipeline.sources.layout import ModelRef
from tests.meshes import CHAIR, box, write_v2

MODELS = {(CHAIR, f"m{i}"): box(1, 1, 1 + i) for i in range(5)}


def measure(model: str, mesh: Mesh, affine: np.ndarray, params: dict[str, str]) -> records.Record:
    """Depth of the mesh in its source's units; leaves a mark for every mesh that it is called for."""
    Path(params["marks"], model.replace("/", "-")).touch()
    if model.endswith(params["fails"]):
        raise MeshError("no_area", "expected an area, got none")
    if model.endswith(params["breaks"]):
        raise RuntimeError("surprise")
    return {"depth": np.ptp(mesh.vertices[:, 2]) * affine[2, 2]}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEVIEW_WORKERS", "1")
    return tmp_path


def exhaust(model: str, mesh: Mesh, affine: np.ndarray, params: None) -> records.Record:
    raise OSError(28, "No space left on device")


def test_a_full_disk_rejects_no_model(project: Path) -> None:
    root = write_v2(project / "raw", MODELS)
    catalog.catalog(Dataset(str(root), "auto", (CHAIR,), 1))
    entries = catalogue.read_table(catalogue.CATALOG / f"{CHAIR}.csv")
    with pytest.raises(OSError, match="No space left"):
        records.make(records.Job("exhaust", exhaust, None), root, entries, project / "out.zip", 1)
    assert not (project / "out.zip").exists()


def make(
    project: Path,
    models: dict,
    out: str = "out.zip",
    fails: str = "-",
    breaks: str = "-",
    max_rejected: float = 1,
) -> tuple[dict[str, float], list[str]]:
    """Depths by model, and the models that were computed rather than taken from the cache."""
    root = write_v2(project / "raw", models)
    catalog.catalog(Dataset(str(root), "auto", (CHAIR,), 1))
    marks = project / "marks"
    marks.mkdir(exist_ok=True)
    for mark in marks.iterdir():
        mark.unlink()
    params = {"marks": str(marks), "fails": fails, "breaks": breaks}
    job = records.Job("measure", measure, params)
    entries = catalogue.read_table(catalogue.CATALOG / f"{CHAIR}.csv")
    records.make(job, root, entries, project / out, max_rejected)
    with records.Archive(project / out) as archive:
        depths = {name: float(archive[name]["depth"]) for name in archive.model_ids}
    return depths, sorted(mark.name.split("-")[1] for mark in marks.iterdir())


def test_a_changed_mesh_costs_one_mesh(project: Path) -> None:
    depths, computed = make(project, MODELS)
    assert depths == pytest.approx({f"m{i}": 1 + i for i in range(5)}) and len(computed) == 5
    assert make(project, MODELS)[1] == []
    depths, computed = make(project, MODELS | {(CHAIR, "m3"): box(1, 1, 9)})
    assert computed == ["m3"] and depths["m3"] == pytest.approx(9)


def test_parameters_code_and_bytes_are_in_the_key() -> None:
    def key(digest: str = "aa", parts: str = "", layout: str = "shapenet-v2", where: str = "p", **changes: Any) -> str:
        job = records.Job("measure", measure, {"x": 1})
        ref = ModelRef(CHAIR, "m", layout, where)
        stretch = changes.pop("stretch", ())
        entry = records.Entry(ref, changes.pop("split", "train"), "hash", digest, parts, "ok", "", stretch)
        return replace(job, **changes).key(entry)

    assert key() == key(split="test", where="elsewhere")
    others = [
        key(params={"x": 2}),
        key(modules=("tests.meshes",)),
        key(stage="other"),
        key(digest="bb"),
        key(parts="cc"),
        key(layout="shapenet-v1"),
        key(stretch=(1.0, 1.2, 1.0)),
        key(stretch=(-1.0, 1.2, 1.0)),
    ]
    assert len({key(), *others}) == 9


def test_code_and_libraries_are_in_its_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {records.code_sha256(), records.code_sha256("pipeline.catalog")}
    monkeypatch.setattr(records.metadata, "version", lambda name: "0.0")
    assert len(before | {records.code_sha256()}) == 3


def test_a_broken_cache_file_is_made_again(project: Path) -> None:
    make(project, MODELS)
    good = (project / "out.zip").read_bytes()
    for n, file in enumerate(sorted((project / "data/cache/measure").rglob("*.npz"))[:2]):
        file.write_bytes(file.read_bytes()[: 40 * n])
    assert len(make(project, MODELS)[1]) == 2
    assert (project / "out.zip").read_bytes() == good


def test_archives_do_not_depend_on_workers_or_cache(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(project, MODELS)
    monkeypatch.setenv("ONEVIEW_WORKERS", "2")
    (project / "data" / "cache").rename(project / "gone")
    make(project, MODELS, out="two.zip")
    assert (project / "out.zip").read_bytes() == (project / "two.zip").read_bytes()


def test_rejects_are_listed_and_do_not_stop_the_rest(project: Path) -> None:
    depths, _ = make(project, MODELS, fails="m1", breaks="m2")
    assert sorted(depths) == ["m0", "m3", "m4"]
    with records.Archive(project / "out.zip") as archive:
        assert archive.rejects == {
            "m1": ["no_area", "expected an area, got none"],
            "m2": ["failed", "RuntimeError: surprise"],
        }


def test_too_many_rejects_stop_the_stage_and_leave_no_archive(project: Path) -> None:
    with pytest.raises(ValueError, match=r"measure out: 1 of 5 models rejected \(1 no_area\), as m1; expected a share"):
        make(project, MODELS, fails="m1", max_rejected=0.1)
    assert not (project / "out.zip").exists()


def test_a_mesh_that_changed_behind_the_catalogue_is_told(project: Path) -> None:
    make(project, MODELS)
    entry = catalogue.read_table(catalogue.CATALOG / f"{CHAIR}.csv")[0]
    job = records.Job("measure", measure, {"marks": str(project), "fails": "-", "breaks": "-"})
    assert records.record_of(job, project / "raw", entry)["depth"] == pytest.approx(1)
    write_v2(project / "raw", MODELS | {(CHAIR, "m0"): box(7, 7, 7)})
    with pytest.raises(MeshError) as caught:
        records.record_of(job, project / "raw", entry)
    assert caught.value.reason == "changed"
    (project / "raw" / f"{CHAIR}.zip").unlink()
    with pytest.raises(FileNotFoundError, match=f"{CHAIR}.zip"):
        records.record_of(job, project / "raw", entry)


def test_seeded_depends_on_every_part() -> None:
    first = records.seeded(0, "a", "cameras").random(3).tolist()
    assert first == records.seeded(0, "a", "cameras").random(3).tolist()
    assert first != records.seeded(1, "a", "cameras").random(3).tolist()
    assert first != records.seeded(0, "b", "cameras").random(3).tolist()


def measure_all(models: Sequence[records.Model], params: dict[str, str]) -> list[records.Record]:
    Path(params["marks"], f"together {len(models)}").touch()
    return [measure(model, mesh, affine, params) for model, mesh, affine in models]


@pytest.mark.long
@pytest.mark.parametrize("fails", ["-", "m1"])
def test_models_made_together_are_as_made_one_by_one(
    project: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """Five models, two at a time: one that fails takes no other along, and the archive is the same."""
    make(project, MODELS, fails=fails)
    monkeypatch.setattr(records, "AT_ONCE", 2)
    (project / "data" / "cache").rename(project / "gone")
    marks = project / "marks"
    for mark in marks.iterdir():
        mark.unlink()
    job = records.Job("measure", measure, {"marks": str(marks), "fails": fails, "breaks": "-"}, together=measure_all)
    entries = catalogue.read_table(catalogue.CATALOG / f"{CHAIR}.csv")
    records.make(job, project / "raw", entries, project / "together.zip", 1, gpu=True)
    assert (project / "together.zip").read_bytes() == (project / "out.zip").read_bytes()
    assert (marks / "together 2").exists()


def crash_all(models: Sequence[records.Model], params: dict[str, str]) -> list[records.Record]:
    if any(model.endswith("m3") for model, _, _ in models):
        os._exit(1)
    return measure_all(models, params)


@pytest.mark.long
def test_a_crash_among_models_made_together_costs_none_that_is_sound(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(project, MODELS)
    monkeypatch.setattr(records, "AT_ONCE", 2)
    (project / "data" / "cache").rename(project / "gone")
    params = {"marks": str(project / "marks"), "fails": "-", "breaks": "-"}
    job = records.Job("measure", measure, params, together=crash_all)
    entries = catalogue.read_table(catalogue.CATALOG / f"{CHAIR}.csv")
    records.make(job, project / "raw", entries, project / "together.zip", 1, gpu=True)
    assert (project / "together.zip").read_bytes() == (project / "out.zip").read_bytes()


def test_jobs_share_the_models_and_a_run_takes_what_they_made(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_v2(project / "raw", MODELS)
    catalog.catalog(Dataset(str(root), "auto", (CHAIR,), 1))
    entries = catalogue.read_table(catalogue.CATALOG / f"{CHAIR}.csv")
    marks = project / "marks"
    marks.mkdir()
    job = records.Job("measure", measure, {"marks": str(marks), "fails": "m3", "breaks": "-"})
    made: list[set[str]] = []
    for rank in (2, 0, 1, 0):
        records.make(job, root, entries, project / "out.zip", 0, part=records.part_of(rank, 3))
        made.append({path.name for path in marks.iterdir()})
        for path in marks.iterdir():
            path.unlink()
    assert not (project / "out.zip").exists()
    failed = f"{CHAIR}-m3"
    assert sorted(name for part in made[:3] for name in part) == sorted(f"{CHAIR}-m{n}" for n in range(5))
    assert made[3] <= {failed}
    assert "measure out, job 2 of 3: " in capsys.readouterr().out
    with pytest.raises(ValueError, match="1 of 5 models rejected"):
        records.make(job, root, entries, project / "out.zip", 0.1)
    records.make(job, root, entries, project / "out.zip", 0.5)
    assert {path.name for path in marks.iterdir()} == {failed}
    with records.Archive(project / "out.zip") as archive:
        assert archive.model_ids == ("m0", "m1", "m2", "m4") and list(archive.rejects) == ["m3"]


@pytest.mark.parametrize(
    ("own", "least", "most", "step", "count", "part"),
    [(3, 0, 15, 1, 16, (3, 16)), (1, 1, 16, 1, 16, (0, 16)), (30, 0, 30, 2, 16, (15, 16)), (7, 7, 7, 1, 1, (0, 1))],
)
def test_a_job_of_an_array_knows_its_part(
    own: int, least: int, most: int, step: int, count: int, part: records.Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"ID": own, "MIN": least, "MAX": most, "STEP": step, "COUNT": count}
    for name, number in told.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(number))
    monkeypatch.delenv("DVC_STAGE", raising=False)
    assert records.part_of(None, None) == part and records.part_of(1, 2) == (1, 2)
    monkeypatch.setenv("SLURM_ARRAY_TASK_MAX", str(most + 1))  # as of 1,3,7, whose places nobody knows
    with pytest.raises(ValueError, match=f"an array whose numbers go by steps, .*, got .* of {count} from {least} to"):
        records.part_of(None, None)
    monkeypatch.setenv("SLURM_ARRAY_TASK_MAX", str(most))
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", str(most + 10 * count))
    with pytest.raises(ValueError, match=f"got {most + 10 * count} of {count} from {least} to {most}"):
        records.part_of(None, None)
    monkeypatch.delenv("SLURM_ARRAY_TASK_COUNT")
    with pytest.raises(ValueError, match="or --rank and --world-size, got 'SLURM_ARRAY_TASK_COUNT'"):
        records.part_of(None, None)
    monkeypatch.setenv("DVC_STAGE", "render@chair")
    assert records.part_of(None, None) is None


def test_the_map_from_models_to_jobs_does_not_move(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    refs = [ModelRef(CHAIR, f"m{n}", "folders") for n in range(3000)]
    jobs = [records.job_of(ref, 7) for ref in refs]
    assert jobs[:5] == [int(sha256(f"{CHAIR}/m{n}".encode())[:8], 16) % 7 for n in range(5)]
    assert all(abs(jobs.count(rank) - 3000 / 7) < 4 * (3000 / 7) ** 0.5 for rank in range(7))
    assert records.part_of(None, None) is None and records.part_of(0, 1) == (0, 1)
    for rank, size in ((3, 3), (-1, 3), (0, None), (None, 3), (0, 0)):
        with pytest.raises(ValueError, match="--rank, --world-size: expected a rank from 0 below the world size, got"):
            records.part_of(rank, size)
