"""What `python -m pipeline` lists."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

from pipeline.__main__ import ROAD, summaries

ROOT = Path(__file__).parents[2]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "pipeline", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_the_road_is_that_of_dvc() -> None:
    assert list(ROAD) == list(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])


def test_every_stage_and_command_has_a_line_that_fits(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('numpy was imported')")
    result = run(tmp_path)
    assert result.returncode == 0 and not result.stderr
    lines = result.stdout.splitlines()
    names = [line.split()[0] for line in lines if line.startswith("  ")]
    assert names[: len(ROAD)] == list(ROAD)
    assert names[len(ROAD) :] == ["explain", "export", "imagine", "inspect", "predict", "score", "show", "web"]
    assert sorted(names) == sorted(path.stem for path in (ROOT / "pipeline").glob("[!_]*.py"))
    assert "  catalog     every model found, checked, hashed and given a split" in lines
    assert max(map(len, lines)) <= 100
    assert os.listdir(tmp_path) == ["numpy.py"]


def test_every_module_says_which_stage_or_command_it_is() -> None:
    for name, line in summaries().items():
        text = (ROOT / f"pipeline/{name}.py").read_text()
        assert line and text.startswith(f'"""{"Stage" if name in ROAD else "Command"} {name}: {line}.\n')


def test_an_argument_is_refused(tmp_path: Path) -> None:
    assert run(tmp_path, "render").stderr.endswith("python -m pipeline: error: unrecognized arguments: render\n")
    assert run(tmp_path, "--help").stdout.startswith("usage: python -m pipeline [-h]\n")
