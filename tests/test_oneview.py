"""`oneview` as a command and as a module, from another folder than the project's."""

from __future__ import annotations

import configparser
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import trimesh

from pipeline.__main__ import ROAD, commands
from pipeline.training import checkpoints
from tests.constant_system import write_checkpoint
from tests.photos import photo

ROOT = Path(__file__).parents[1]
COMMAND = (sys.executable, "-c", "import oneview; oneview.main()")


def run(folder: Path, *words: str, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(path), "COLUMNS": "100", "ONEVIEW_DEVICE": "cpu"}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("given", [(), ("--help",)])
def test_help_lists_what_is_no_stage_and_waits_for_no_library(tmp_path: Path, given: tuple[str, ...]) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('numpy was imported')")
    result = run(tmp_path, *COMMAND, *given)
    assert result.returncode == 0 and not result.stderr
    assert result.stdout.startswith("usage: oneview [-h] COMMAND\n")
    assert "  predict     photos in, shapes out\n" in result.stdout
    assert commands() and not {*commands()} & {*ROAD}
    assert not any(f"\n  {name} " in result.stdout for name in ROAD)
    shown = run(tmp_path, *COMMAND, "predict", "--help").stdout
    assert shown.startswith("usage: oneview predict [-h] --out OUT ") and "python -m" not in shown
    assert "\n    oneview predict chair.jpg --out chair.glb\n" in shown


def test_what_is_no_command_is_refused(tmp_path: Path) -> None:
    result = run(tmp_path, *COMMAND, "render", "chair")
    assert result.returncode == 2 and "oneview: error: argument COMMAND: invalid choice: 'render'" in result.stderr


def test_the_command_is_the_modules(tmp_path: Path) -> None:
    result = run(tmp_path, *COMMAND, "predict", "no.png", "--out", "mesh.glb")
    assert (result.returncode, result.stderr) == (1, "error: no.png: expected photos, found none\n")


def test_three_lines_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    write_checkpoint(checkpoints.CHECKPOINTS / "constant.pt", torch.full((8, 8, 8), 0.6))
    photo(tmp_path / "chair.png", (255, 255, 255))
    oneview = importlib.import_module("oneview")
    oneview.load(system="constant").predict("chair.png").save("chair.glb")
    assert trimesh.load_mesh("chair.glb").is_watertight
    with pytest.raises(ValueError, match="no.pt: expected a trained system, found no file"):
        oneview.load("no.pt")


@pytest.mark.long
def test_an_editable_install_puts_the_command_anywhere(tmp_path: Path) -> None:
    """As `make` sets it up, without a network."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or pytest.skip("uv is not installed")
    project = tmp_path / "project"
    for name in ("pipeline", "model"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("oneview.py", "setup.cfg", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, project)
    line = next(line for line in (ROOT / "Makefile").read_text().splitlines() if "--editable ." in line)
    options = [word for word in line.split() if word.startswith("--") and word not in ("--python", "--editable")]
    words = [uv, "pip", "install", "--python", sys.executable, *options, "--target", str(tmp_path / "site")]
    result = run(project, *words, "--editable", ".")
    assert result.returncode == 0, result.stderr
    (added,) = (tmp_path / "site").glob("*.pth")
    assert added.read_text().strip() == str(project)
    script = tmp_path / "site/bin/oneview"
    assert script.read_text().startswith("#!") and "from oneview import main" in script.read_text()
    assert run(tmp_path, sys.executable, str(script), "--help", path=project).stdout.startswith("usage: oneview ")


def test_the_entry_point_is_there() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    name, _, target = setup["options.entry_points"]["console_scripts"].strip().partition(" = ")
    module, _, function = target.partition(":")
    assert name == "oneview" and callable(getattr(importlib.import_module(module), function))
