"""What stages import: nobody waits for a library that the work at hand does not need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.records import records
from tests.meshes import CHAIR, box, write_v2

ROOT = Path(__file__).parents[2]
HEAVY = ("IPython", "dash", "dask", "h5py", "joblib", "matplotlib", "open3d", "plotly", "scipy", "torch", "trimesh")


def imported(script: str, *arguments: str, folder: Path | None = None) -> set[str]:
    """Those of HEAVY that a script has imported when it ends."""
    text = f"{script}\nimport json, sys\nprint(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    run = subprocess.run(
        [sys.executable, "-c", text, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "ONEVIEW_WORKERS": "1", "ONEVIEW_DEVICE": "auto"},
        capture_output=True,
        check=True,
        text=True,
    )
    return set(json.loads(run.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("model", set()),
        ("pipeline.catalog", set()),
        ("pipeline.render", set()),
        ("pipeline.voxelize", set()),
        ("pipeline.pack", {"h5py"}),
        ("pipeline.geometry.solid", {"open3d", "scipy"}),
        ("pipeline.predict", set()),
        ("pipeline.answers.network", {"torch"}),
    ],
)
def test_modules_import_what_they_use(module: str, expected: set[str]) -> None:
    assert imported(f"import {module}") == expected


TRAVEL = "import sys; from pathlib import Path; from tests.road import travel; travel(Path(sys.argv[1]), *sys.argv[2:])"


@pytest.mark.long
def test_stages_that_find_every_record_import_nothing_to_make_one(tmp_path: Path) -> None:
    root = write_v2(tmp_path / "raw", {(CHAIR, f"m{i}"): box(1, 1, 1 + i) for i in range(12)})
    assert "torch" in imported(TRAVEL, str(root), CHAIR, folder=tmp_path)
    made = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*.zip")}
    assert len(made) == 2
    for path in made:
        path.unlink()
    assert imported(TRAVEL, str(root), CHAIR, folder=tmp_path) == {"h5py"}
    assert {path: path.read_bytes() for path in made} == made
    next((tmp_path / records.CACHE / "voxelize").rglob("*.npz")).unlink()
    assert imported(TRAVEL, str(root), CHAIR, folder=tmp_path) == {"h5py", "open3d", "scipy"}


PREDICT = """
from pathlib import Path
import torch
from tests.constant_system import write_checkpoint
from tests.photos import photo
from pipeline import predict
write_checkpoint(Path("a.pt"), torch.full((8, 8, 8), 0.6))
photo(Path("chair.png"), (255, 255, 255))
predict.main([Path("chair.png")], Path("chair.glb"), checkpoint=Path("a.pt"))
"""


@pytest.mark.long
def test_a_photo_waits_for_torch_alone(tmp_path: Path) -> None:
    assert imported(PREDICT, folder=tmp_path) == {"torch"}
    assert (tmp_path / "chair.glb").is_file()
