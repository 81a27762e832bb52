"""Runs that are killed, disks that are full or read-only: nothing is lost, nothing is left half-written."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.meshes import CHAIR, box, write_v2
from tests.road import STAGES

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
MODELS = {(CHAIR, f"m{i:02}"): box(1, 1, 1 + i / 10) for i in range(30)}
SIZE = 400  # kB
KILLS = int(os.environ.get("ONEVIEW_KILLS", "15"))
KILLED = ("catalog", "voxelize", "pack")


def start(root: Path, folder: Path, workers: int = 2, stages: Sequence[str] = STAGES) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.road", str(root), CHAIR, *stages],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "ONEVIEW_WORKERS": str(workers), "ONEVIEW_DEVICE": "cpu"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def told(run: subprocess.Popen) -> str:
    """What a run that ended wrote to standard error."""
    return run.communicate()[1].decode()


def outputs(folder: Path) -> dict[str, bytes]:
    """All that the stages hand on, by path."""
    places = ("catalog", "renders", "voxels", "shards")
    found = [path for place in places for path in (folder / "data" / place).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_killed_at_any_moment_the_shards_are_the_same(tmp_path: Path) -> None:
    """SIGKILL at random moments, to the stage alone or with all its workers, whatever their number.

    Rendering, which goes the very way of voxelizing but takes seconds to be imported, is done beforehand.
    """
    root, whole, broken = write_v2(tmp_path / "raw", MODELS), tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    assert start(root, whole, stages=("catalog", "render")).wait() == 0
    fresh = tmp_path / "fresh"
    shutil.copytree(whole, fresh)
    shutil.rmtree(fresh / "data" / "catalog")
    begun = time.monotonic()
    assert start(root, whole, stages=KILLED).wait() == 0
    longest = time.monotonic() - begun
    expected = outputs(whole)
    shutil.copytree(fresh, broken)
    assert sum(path.endswith(".h5") for path in expected) >= 3
    rng, kills = random.Random(0), 0
    while kills < KILLS:
        run = start(root, broken, rng.choice((1, 2, 3)), KILLED)
        try:
            assert run.wait(rng.uniform(0, longest)) == 0, told(run)
            assert outputs(broken) == expected
            shutil.rmtree(broken)
            shutil.copytree(fresh, broken)
        except subprocess.TimeoutExpired:
            if rng.random() < 0.5:
                run.kill()  # its workers follow it by themselves
            else:
                os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            kills += 1
            whole_files = {name: content for name, content in outputs(broken).items() if "/." not in name}
            assert all(expected[name] == content for name, content in whole_files.items())
    run = start(root, broken, stages=KILLED)
    assert run.wait() == 0, told(run)
    assert outputs(broken) == expected
    assert not list(broken.rglob("*.tmp"))


def test_workers_do_not_outlive_a_killed_stage(tmp_path: Path) -> None:
    root = write_v2(tmp_path / "raw", MODELS)
    (tmp_path / "project").mkdir()
    run = start(root, tmp_path / "project", stages=("catalog", "voxelize"))
    deadline = time.monotonic() + 120
    while not list((tmp_path / "project").glob("data/cache/voxelize/*/*.npz")):
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.02)
    run.kill()
    run.wait()
    while alive(run.pid):
        assert time.monotonic() < deadline
        time.sleep(0.5)


def alive(group: int) -> bool:
    """Whether a process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of SIZE kB in memory, which only root can have."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def refusal(root: Path, folder: Path, stages: Sequence[str] = STAGES) -> str:
    """The last line of what a run that has to fail says."""
    run = start(root, folder, stages=stages)
    message = told(run)
    assert run.returncode != 0
    return message.strip().splitlines()[-1]


def test_a_full_disk_is_told_and_nothing_is_half_written(tmp_path: Path, disk: Path) -> None:
    root, whole = write_v2(tmp_path / "raw", MODELS), tmp_path / "whole"
    whole.mkdir()
    assert start(root, whole).wait() == 0
    expected, stopped = outputs(whole), set()
    for room in (10, 60, 150, 200):  # kB, so that each stage has its turn
        shutil.rmtree(disk / "data", ignore_errors=True)
        (disk / "filler").write_bytes(bytes((SIZE - room) * 1024 - 8192))
        if room > 100:
            shutil.copytree(whole / "data" / "renders", disk / "data" / "renders")
        message = refusal(root, disk, KILLED)
        assert "No space left on device: '" in message, (room, message)
        assert all(expected[name] == content for name, content in outputs(disk).items())
        stopped.add(message.split("data/")[1].split("/")[0].split(".")[0])
        (disk / "filler").unlink()
    assert len(stopped) > 1, stopped


def test_a_read_only_disk_is_told(tmp_path: Path, disk: Path) -> None:
    root = write_v2(tmp_path / "raw", MODELS)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert "Read-only file system: '" in refusal(root, disk) and not list(disk.iterdir())
