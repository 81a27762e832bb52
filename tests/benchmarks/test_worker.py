from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
@pytest.mark.parametrize("stage", ["catalog", "render", "voxelize"])
def test_a_worker_costs_little_to_start(stage: str, tmp_path: Path) -> None:
    """A second and 350 MB are what importing torch takes; a tenth of both leaves room for a busy machine."""
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.worker", stage],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
        text=True,
    )
    found = json.loads(run.stdout.splitlines()[-1])
    assert 0 < found["core_seconds"] < 0.1 and 0 < found["own_megabytes"] < 35
