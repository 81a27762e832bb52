from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.runtime.files import atomic_folder, atomic_write, told
from tests.imports import ROOT


def test_replaces_a_file_and_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    for content in ("one", "two"):
        with atomic_write(target) as temporary:
            temporary.write_text(content)
        assert target.read_text() == content
    folder = tmp_path / "folder"
    for name in ("old", "new"):
        with atomic_write(folder) as temporary:
            temporary.mkdir()
            (temporary / name).touch()
    assert os.listdir(folder) == ["new"] and sorted(os.listdir(tmp_path)) == ["folder", "new"]


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def left(folder: Path, owner: str) -> Path:
    path = folder / f".a.txt.{owner}.xyz.tmp"
    path.mkdir()
    (path / "a.txt").write_text("half")
    return path


def test_what_killed_runs_left_is_cleared_away_but_nobody_elses_work(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    own = platform.node()
    left(tmp_path, f"{gone.pid}@{own}")
    kept = [left(tmp_path, owner) for owner in (f"{os.getpid()}@{own}", f"1@{own}", f"{gone.pid}@elsewhere", "x@y")]
    with atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert sorted(tmp_path.iterdir()) == sorted([*kept, tmp_path / "a.txt"])


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a[1].txt") as first:
        first.write_text("first")
        with atomic_write(tmp_path / "a[1].txt") as second:
            second.write_text("second")
    assert (tmp_path / "a[1].txt").read_text() == "first" and os.listdir(tmp_path) == ["a[1].txt"]


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk's end; the disk itself is filled in `test_unbreakable.py`."""
    script = (
        "import resource; from pathlib import Path; from pipeline.runtime.files import atomic_write\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"with atomic_write(Path({str(tmp_path / 'a.txt')!r})) as temporary: temporary.write_bytes(bytes(2000))"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert f"File too large: '{tmp_path / 'a.txt'}'" in result.stderr and not os.listdir(tmp_path)


def test_an_error_of_the_system_is_told_without_its_number(tmp_path: Path) -> None:
    with pytest.raises(OSError) as found:
        (tmp_path / "none").read_bytes()
    assert told(found.value) == f"{tmp_path / 'none'}: No such file or directory"
    assert told(OSError(28, "No space left on device")) == "No space left on device"
    assert told(OSError("of another kind")) == told(ValueError("of another kind")) == "of another kind"


def test_a_folder_is_replaced_with_all_that_was_made_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    for names in (["a.csv", "b.csv", "status.md"], ["c.csv"]):
        with atomic_folder(folder, "*.csv", "status.md") as temporary:
            for name in names:
                (temporary / name).touch()
        assert sorted(os.listdir(folder)) == names
    for name in ("notes.md", "sub/d.csv", ".hidden"):
        other = folder / name
        other.parent.mkdir(exist_ok=True)
        other.write_text("mine")
        shown = re.escape(str(folder / name.split("/")[0]))
        with pytest.raises(ValueError, match=f"^{shown}: expected only .*.csv, status.md in .*, as it is made anew"):
            atomic_folder(folder, "*.csv", "status.md").__enter__()
        assert other.read_text() == "mine" and (folder / "c.csv").exists()
        other.unlink()
        if other.parent != folder:
            other.parent.rmdir()
    assert os.listdir(tmp_path) == ["made"]
