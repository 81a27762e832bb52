from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import inspect

ROOT = Path(__file__).parents[2]
CUBE = np.zeros((8, 8, 8), bool)
CUBE[2:6, 2:6, 2:6] = True


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.save("good.npy", CUBE)
    np.save("empty.npy", CUBE & False)
    Path("bad.npy").write_bytes(b"no")
    return tmp_path


def test_codes_tell_fine_faulty_and_unreadable_apart(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inspect.main([Path("good.npy")])
    assert capsys.readouterr().out.startswith("good.npy: grid in NumPy array\n")
    with pytest.raises(SystemExit) as faulty:
        inspect.main([Path("good.npy"), Path("empty.npy")])
    assert (
        faulty.value.code == 1
        and "  FAULT  some cells are full, and some free: all are free" in capsys.readouterr().out
    )
    with pytest.raises(SystemExit) as unreadable:
        inspect.main([Path("bad.npy"), Path("empty.npy"), Path("good.npy")])
    told = capsys.readouterr()
    assert unreadable.value.code == 2 and told.err.startswith("error: bad.npy: ") and "good.npy: grid" in told.out


def test_a_picture_is_written_of_what_can_be_drawn(files: Path) -> None:
    inspect.main([Path("good.npy")], Path("out/a.png"))
    assert Image.open("out/a.png").width > 400
    with pytest.raises(ValueError, match="--picture: expected something to draw in empty.npy"):
        inspect.main([Path("empty.npy")], Path("b.png"))
    with pytest.raises(ValueError, match="--picture: expected one file to draw, got 2"):
        inspect.main([Path("good.npy"), Path("good.npy")], Path("b.png"))
    with pytest.raises(ValueError, match="--picture: expected a file ending in .png, got 'b.jpg'"):
        inspect.main([Path("good.npy")], Path("b.jpg"))


@pytest.mark.long
def test_the_process_ends_with_the_code(files: Path) -> None:
    words = [sys.executable, "-m", "pipeline.inspect", "empty.npy", "bad.npy"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2 and result.stderr.startswith("error: bad.npy: ") and "FAULT" in result.stdout
