from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def run(folder: Path, module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_refused_input_ends_with_one_line(tmp_path: Path) -> None:
    result = run(tmp_path, "pipeline.catalog")
    assert result.returncode == 1
    assert result.stderr == "error: params.yaml: expected a parameter file, found none\n"
    assert "Traceback" in run(tmp_path, "pipeline.catalog", ONEVIEW_TRACEBACK="1").stderr
