"""The image's text, as far as that can be told without building it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

parsing = pytest.importorskip("dockerfile_parse")
pathspec = pytest.importorskip("pathspec")

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
STEPS = [(step["instruction"], step["value"]) for step in parsing.DockerfileParser(str(ROOT)).structure]


def values(*instructions: str) -> list[str]:
    return [value for instruction, value in STEPS if instruction in instructions]


def test_an_argument_chooses_between_two_stages_on_one_base() -> None:
    assert STEPS[1] == ("ARG", "DEVICE=cpu")
    base, *stages, last = values("FROM")
    assert stages == ["base AS cpu", "base AS cuda"] and last == "${DEVICE}" and base.endswith(" AS base")
    known = {"ARG", "FROM", "RUN", "WORKDIR", "COPY", "ENV", "EXPOSE", "ENTRYPOINT", "CMD", "COMMENT"}
    assert {instruction for instruction, _ in STEPS} <= known
    devices = re.findall(r"ONEVIEW_DEVICE=(\w+)", TEXT)
    assert devices == ["cpu", "auto"]


def test_its_python_is_one_that_the_project_takes() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    (version,) = re.findall(r"^python:([\d.]+)-slim-bookworm ", values("FROM")[0])
    assert SpecifierSet(setup["options"]["python_requires"]).contains(version)


def test_it_has_the_system_packages_that_the_makefile_looks_for() -> None:
    (line,) = re.findall(r"for pair in (.*); do", (ROOT / "Makefile").read_text(encoding="utf-8"))
    needed = {pair.partition(":")[2] for pair in line.split()}
    installed = set(values("RUN")[0].split())
    assert len(needed) == 4 and needed | {"git", "make"} <= installed


def test_what_is_run_is_a_shells_and_what_is_called_is_a_list() -> None:
    for command in values("RUN"):
        result = subprocess.run(["sh", "-n"], input=command, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    assert json.loads(values("ENTRYPOINT")[0]) == ["oneview"] and json.loads(values("CMD")[0]) == ["--help"]


def test_it_installs_as_the_makefile_does() -> None:
    """But for what is left out of a layer."""
    made = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = [line for line in made.splitlines() if line.startswith("\t.venv/bin/uv pip ")]
    assert len(commands) == 2
    for command in commands:
        words = set(command.split()) - {"--quiet", "\t.venv/bin/uv"}
        assert any(words <= set(run.split()) for run in values("RUN")), command


def test_what_is_copied_is_there_and_what_is_made_is_not() -> None:
    ignored = pathspec.GitIgnoreSpec.from_lines((ROOT / ".dockerignore").read_text().splitlines())
    for value in values("COPY"):
        *sources, target = value.split()
        assert target == "./" and all((ROOT / source).exists() for source in sources)
        assert not any(map(ignored.match_file, sources))
    kept = [
        "data/weights/recall.safetensors",
        "data/README.md",
        "pipeline/web.py",
        ".dvc/config",
        "Makefile",
        "LICENSE",
    ]
    assert all((ROOT / name).exists() and not ignored.match_file(name) for name in kept)
    for name in (".git/HEAD", ".venv/bin/python", "data/shards/03001627/train-000.h5", "pipeline/__pycache__/web.pyc"):
        assert ignored.match_file(name), name


def test_without_docker_and_podman_that_is_said(tmp_path: Path) -> None:
    words = [shutil.which("make") or "make", "--no-print-directory", "-C", str(ROOT), "image"]
    result = subprocess.run(words, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert result.returncode == 2 and result.stderr.startswith("Docker or Podman is needed, found neither.\n")
    for name in ("docker", "podman"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
        (tmp_path / name).chmod(0o755)
        result = subprocess.run([*words, "DEVICE=cuda"], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
        assert result.stdout == f"{name} build --build-arg DEVICE=cuda --tag oneview:cuda .\n"
        (tmp_path / name).unlink()
