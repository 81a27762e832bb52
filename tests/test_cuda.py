"""Tests marked `cuda` are found, or skipped with a reason, on a machine that has a GPU and few libraries."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LACKING = (
    "PIL",
    "distributed",
    "dvc",
    "lxml",
    "matplotlib",
    "open3d",
    "pytorch3d",
    "safetensors",
    "torchvision",
    "trimesh",
)
SCRIPT = f"""
import sys
sys.modules.update(dict.fromkeys({LACKING}))
import pytest
sys.exit(pytest.main(["-m", "cuda", "--collect-only", "-q", "-p", "no:cacheprovider"]))
"""


@pytest.mark.long
def test_they_are_found_without_the_libraries_of_others() -> None:
    others = set((ROOT / "tests").rglob("test_*.py")) - {Path(__file__)}
    marked = {path.relative_to(ROOT) for path in others if "pytest.mark.cuda" in path.read_text(encoding="utf-8")}
    run = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    assert set(map(Path, re.findall(r"^(?:SKIPPED .* )?(tests/[\w/]+\.py):", run.stdout, re.M))) == marked
