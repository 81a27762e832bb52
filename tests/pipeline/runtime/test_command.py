from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.runtime.command import progress

ROOT = Path(__file__).parents[3]
MODULES = sorted(path.stem for path in (ROOT / "pipeline").glob("[!_]*.py"))
NEEDED: dict[str, tuple[str, ...]] = dict.fromkeys(("render", "voxelize", "pack"), ("chair",))
NEEDED |= dict.fromkeys(("train", "metrics"), ("r3d",))
NEEDED |= {
    "predict": ("photo.png", "--out", "mesh.glb"),
    "score": ("predictions",),
    "imagine": ("--out", "shapes"),
    "export": ("r3d", "--out", "r3d.safetensors"),
    "inspect": ("shard.h5",),
    "show": ("axes.png",),
    "explain": ("photo.png", "--out", "explained.png"),
}


def command(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"pipeline.{module}", *arguments]


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {"PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    return subprocess.run(
        words, cwd=folder, env=os.environ | settings | environment, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("module", MODULES)
def test_help_tells_usage_example_and_arguments_and_touches_nothing(tmp_path: Path, module: str) -> None:
    # With a numpy that can't be imported: no library is waited for.
    (tmp_path / "numpy.py").write_text("raise SystemExit('numpy was imported')")
    result = run(tmp_path, *command(module, "--help"), PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert result.returncode == 0 and not result.stderr
    assert result.stdout.startswith(f"usage: python -m pipeline.{module} [-h]")
    assert f"\n    python -m pipeline.{module}" in result.stdout
    _, *entries = re.split(r"^  (?=\S)", result.stdout.partition("\n\npositional arguments:\n")[2], flags=re.M)
    _, *options = re.split(r"^  (?=-)", result.stdout.partition("\n\noptions:\n")[2], flags=re.M)
    for entry in entries + options:
        assert len(re.split(r"\s{2,}", entry.strip(), maxsplit=1)) == 2, entry
    assert os.listdir(tmp_path) == ["numpy.py"]


@pytest.mark.parametrize("module", MODULES)
def test_an_unknown_argument_is_refused_and_touches_nothing(tmp_path: Path, module: str) -> None:
    result = run(tmp_path, *command(module, *NEEDED.get(module, ()), "--force"))
    assert result.returncode == 2 and not result.stdout
    assert result.stderr.startswith("usage: ")
    assert result.stderr.endswith(f"python -m pipeline.{module}: error: unrecognized arguments: --force\n")
    assert not os.listdir(tmp_path)


def test_refused_input_ends_with_one_line(tmp_path: Path) -> None:
    result = run(tmp_path, *command("catalog"))
    assert result.returncode == 1
    assert result.stderr == "error: params.yaml: expected a parameter file, found none\n"
    assert "Traceback" in run(tmp_path, *command("catalog"), ONEVIEW_TRACEBACK="1").stderr


def test_a_library_says_nothing_about_its_future(tmp_path: Path) -> None:
    code = "import warnings\nwarnings.warn('it will go', FutureWarning)\nraise ValueError('it\\n  went')\n"
    (tmp_path / "numpy.py").write_text(code)
    result = run(tmp_path, *command("train", "r3d"), PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert result.returncode == 1 and not result.stdout and result.stderr == "error: it went\n"


def interruptible() -> None:
    """A child of a shell's background job would ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_during_the_imports_is_one_line(tmp_path: Path, number: signal.Signals) -> None:
    """A library whose import takes long."""
    (tmp_path / "numpy.py").write_text("open('begun', 'w').close()\nimport time\ntime.sleep(60)\n")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    process = subprocess.Popen(
        command("train", "r3d"), cwd=tmp_path, env=environment, stderr=subprocess.PIPE, preexec_fn=interruptible
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, error = process.communicate(timeout=50)
    assert process.returncode == 1 and error == b"stopped; run it again to go on from here\n"


def test_a_bar_leaves_one_line_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("render chair", 40, "model") as bar:
        for number in range(40):
            bar.update()
            if number == 9:
                bar.write("a word in between")
            time.sleep(0.01)
    with progress("hidden", 40, "model", shown=False) as bar:
        bar.update()
    word, line, rest = capsys.readouterr().out.split("\n")
    assert word == "a word in between" and not rest
    assert line.startswith("render chair: 100%") and "40/40 [" in line and "\r" not in line


def test_a_bar_that_is_stopped_says_how_far_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), progress("render chair", 40, "model", done=10) as bar:
        bar.update(5)
        raise KeyboardInterrupt
    assert "15/40" in capsys.readouterr().out


def test_a_bar_is_drawn_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with progress("render chair", 2, "model"):
        pass
    assert capsys.readouterr().out.count("\r") > 1
