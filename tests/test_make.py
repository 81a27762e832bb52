"""What `make demo` says, with a Python that only writes down what it is asked for."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHON = '#!/bin/sh\necho "$*" >> calls\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Set up long ago, with results."""
    for name in ("Makefile", "requirements.lock", "setup.cfg"):
        shutil.copy(ROOT / name, tmp_path)
    for name, text in {
        ".venv/bin/python": PYTHON,
        ".venv/ready": "",
        ".dvc/config": "",
        "data/comparison/summary.txt": "a table\n\na sentence\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / ".venv/bin/python").chmod(0o755)
    assert (tmp_path / ".venv/ready").stat().st_mtime <= time.time()
    return tmp_path


def demo(project: Path) -> tuple[list[str], list[str]]:
    """The lines that it prints, and the calls of Python."""
    result = subprocess.run(["make", "--no-print-directory", "demo"], cwd=project, capture_output=True, text=True)
    assert result.returncode == 0 and not result.stderr, result.stderr
    return result.stdout.splitlines(), (project / "calls").read_text().splitlines()


def test_demo_ends_with_the_table_the_verdict_and_the_page(project: Path) -> None:
    (project / ".git").mkdir()
    lines, calls = demo(project)
    assert calls == ["-m dvc repro"]
    where = "The page with everything on it: data/report/index.html"
    assert lines == ["", "a table", "", "a sentence", "", where]


def test_without_git_dvc_is_told_to_do_without(project: Path) -> None:
    lines, calls = demo(project)
    assert lines[0].startswith("This is no git repository, so DVC is set to do without")
    assert calls == ["-m dvc config --local core.no_scm true", "-m dvc repro"]
    (project / ".dvc/config.local").touch()
    (project / "calls").unlink()
    lines, calls = demo(project)
    assert lines[:2] == ["", "a table"] and calls == ["-m dvc repro"]


@pytest.mark.parametrize("user", ["0", "1000"])
def test_without_chromium_the_tests_of_pages_are_skipped(tmp_path: Path, user: str) -> None:
    """Where root can't install it, or nobody is root."""
    for name, does in {"id": f"echo {user}", "apt-get": "exit 100", "timeout": 'shift; "$@"'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    words = [shutil.which("make") or "make", "--no-print-directory", "-C", str(ROOT), "chromium"]
    result = subprocess.run(words, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert result.returncode == 0 and not result.stderr, result.stderr
    assert ("so the tests of pages are skipped" in result.stdout) == (user == "0")
