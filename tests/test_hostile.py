"""Hostile meshes go the whole road: no crash, no hang, no memory past the bound, a reason for each that is left out."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pipeline import catalog
from pipeline.runtime.params import Dataset
from tests import hostile
from tests.meshes import CHAIR

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
COUNT, SIDE = 10, 1600  # mutants of each kind; 2 * 1599^2 = 5.1 million faces in the large mesh
SECONDS, GIGABYTES = 60, 4
# Runs the road, then prints the memory (kB) of the largest process that it had.
SCRIPT = """
import resource, sys
from pathlib import Path
from tests.road import travel
travel(Path(sys.argv[1]), sys.argv[2])
print("peak", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, set[str]]:
    """A project that has gone the road over hostile meshes, what it printed, and the model ids."""
    folder = tmp_path_factory.mktemp("hostile")
    for name in ("outside", "project"):
        (folder / name).mkdir()
    names = hostile.write(folder / "raw", folder / "outside", COUNT, SIDE)
    before = listing(folder)
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder / "raw"), CHAIR],
        cwd=folder / "project",
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "ONEVIEW_MODEL_SECONDS": str(SECONDS), "ONEVIEW_MODEL_GB": str(GIGABYTES)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert run.returncode == 0, run.stderr
    inside = {path for path in listing(folder) if path.startswith("project/")}
    assert {path for path in listing(folder) if path not in inside} == before
    assert all(path.startswith("project/data/") for path in inside)
    return folder / "project", run.stdout, names


def listing(folder: Path) -> set[str]:
    return {os.path.relpath(os.path.join(place, name), folder) for place, _, names in os.walk(folder) for name in names}


def statuses(project: Path) -> dict[str, tuple[str, str]]:
    """Model id -> (packed or the stage that rejected it, reason)."""
    with (project / "data" / "shards" / CHAIR / "status.csv").open(encoding="utf-8") as file:
        return {row["model_id"]: (row["status"], row["reason"]) for row in csv.DictReader(file)}


def test_each_is_packed_or_has_a_reason(road: tuple[Path, str, set[str]]) -> None:
    project, _, names = road
    found = statuses(project)
    assert set(found) == names and len(names) > 300
    assert not [name for name, (_, reason) in found.items() if reason in ("failed", "crashed")]
    expected = {
        "zip up": "unsafe_path",
        "zip root": "unsafe_path",
        "zip bomb": "too_large",
        "zip lie": "unreadable",
        "zip damaged": "unreadable",
        "zip sound": "",
        "link out": "outside_root",
        "link up": "outside_root",
        "link to nothing": "unreadable",
        "link to itself": "unreadable",
        "device": "outside_root",
        "pipe": "unreadable",
    }
    assert {name: found[name][1] for name in expected} == expected
    reasons = {kind: Counter(found[f"{kind} {n} é"][1] for n in range(COUNT)) for kind in hostile.MUTATIONS}
    for kind, reason in {
        "nan": "not_finite",
        "infinite": "not_finite",
        "overflow": "not_finite",
        "words": "unreadable",
        "comma": "unreadable",
        "index past the end": "bad_index",
        "index past 64 bits": "unreadable",
        "index 0": "bad_index",
        "negative index past the start": "bad_index",
        "fractional index": "unreadable",
        "zero area": "no_area",
        "no faces": "no_faces",
        "empty": "no_faces",
        "comment": "no_faces",
        "null bytes": "no_faces",
    }.items():
        assert reasons[kind] == {reason: COUNT}, kind
    for kind in hostile.SOUND | {"giant triangle", "two corners", "long line"}:
        assert reasons[kind] == {"": COUNT}, kind


def test_memory_stays_below_the_bound(road: tuple[Path, str, set[str]]) -> None:
    _, output, _ = road
    peak = int(output.split("peak")[1])
    assert peak * 1024 < GIGABYTES * 1e9 + 1e9  # and what a worker needs by itself, with all libraries


def test_past_max_rejected_the_stage_fails_with_a_summary(
    road: tuple[Path, str, set[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(road[0])
    with pytest.raises(ValueError, match=rf"catalog {CHAIR}: \d+ of \d+ models rejected \(\d+ bad_index, .*\d+ unsafe"):
        catalog.catalog(Dataset(str(road[0].parent / "raw"), "auto", (CHAIR,), 0.1), tmp_path / "catalog")
    assert not (tmp_path / "catalog").exists()
