from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.files import atomic_write


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


def test_what_a_killed_run_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".a.txt.xyz.tmp").mkdir()
    (tmp_path / ".a.txt.xyz.tmp" / "a.txt").write_text("half")
    with atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert os.listdir(tmp_path) == ["a.txt"]
