"""The example of a system in docs/systems.md, added to a copy of the project as it says there, and by nothing else."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml

from tests.samples import SYNSETS, write_boxes

ROOT = Path(__file__).parents[2]
SECTION = (
    (ROOT / "docs/systems.md").read_text(encoding="utf-8").partition("## Adding a system\n")[2].partition("\n## ")[0]
)
BLOCKS = dict(re.findall(r"^```(\w+)\n(.*?)^```$", SECTION, re.M | re.S))
CODE, PARAMETERS = BLOCKS["python"], yaml.safe_load(BLOCKS["yaml"])
((ENTRY, NAME),) = PARAMETERS["selected_systems"].items()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project with the example in it, and small shards."""
    for name in ("pipeline", "model"):
        shutil.copytree(ROOT / name, tmp_path / name)
    assert f"`model/{NAME}.py`" in SECTION and not (tmp_path / f"model/{NAME}.py").exists()
    (tmp_path / f"model/{NAME}.py").write_text(CODE)
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section, entries in PARAMETERS.items():
        values[section] |= entries
    values["dataset"]["categories"] = list(SYNSETS)
    values["train"] |= {"samples": 800, "lr": 0.003, "validations": 3}
    (tmp_path / "params.yaml").write_text(json.dumps(values))
    write_boxes(tmp_path / "data/shards", PARAMETERS["systems"][ENTRY]["resolution"])
    return tmp_path


def module() -> ModuleType:
    """The example, in this process."""
    made = ModuleType(f"model.{NAME}")
    exec(compile(CODE, "systems.md", "exec", dont_inherit=True), made.__dict__)
    return made


@pytest.mark.long
def test_the_example_learns_by_the_command_of_dvc_yaml(project: Path) -> None:
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["train"]
    assert stage["foreach"] == "${selected_systems}" and "model/${item}.py" in stage["do"]["deps"]
    command = stage["do"]["cmd"].replace("${key}", ENTRY).replace("python", sys.executable, 1).split()
    settings = {"PYTHONPATH": str(project), "ONEVIEW_DEVICE": "cpu"}
    result = subprocess.run(command, cwd=project, env=os.environ | settings, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (project / f"data/checkpoints/{ENTRY}.pt").is_file()
    with (project / f"data/curves/{ENTRY}.csv").open() as file:
        scores = [float(row["val_iou"]) for row in csv.DictReader(file)]
    assert scores[-1] > max(0.45, scores[0]), scores


@pytest.mark.parametrize("views", [1, 3])
def test_the_example_keeps_the_contract(views: int) -> None:
    example, images = module(), torch.rand(2, views, 1, 48, 64)
    config = example.Config(**PARAMETERS["systems"][ENTRY])
    model = example.Model(config).eval()
    assert model.predict(images).shape == (2, *[config.resolution] * 3)
    assert torch.equal(model.predict(images), model.predict(images))
    assert model.features(images).shape[0] == 2 and model.features(images).ndim == 2
    grouped = [id(parameter) for part in model.parts().values() for parameter in part["params"]]
    assert sorted(grouped) == sorted(map(id, model.parameters()))


def test_the_outlines_meet_along_the_right_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A box and its three outlines, worked out by hand; i, j, k of a grid are x, y, z."""
    example = module()
    model = example.Model(example.Config(resolution=8, width=2))
    outlines = torch.full((1, 3, 8, 8), -1.0)
    x, y, z = slice(1, 7), slice(2, 4), slice(5, 8)
    outlines[0, 0, x, y] = outlines[0, 1, y, z] = outlines[0, 2, x, z] = 1
    monkeypatch.setattr(model.decoder, "forward", lambda features: outlines)
    box = torch.zeros(1, 8, 8, 8, dtype=torch.bool)
    box[0, x, y, z] = True
    assert torch.equal(model.predict(torch.zeros(1, 1, 1, 48, 64)) > 0, box)


def test_the_example_is_short_and_clean() -> None:
    assert len(CODE.splitlines()) <= 40
    if not importlib.util.find_spec("ruff"):
        pytest.skip("needs ruff")
    for check in ("check", "format --check"):
        command = [sys.executable, "-m", "ruff", *check.split(), "--stdin-filename", f"model/{NAME}.py", "-"]
        result = subprocess.run(command, cwd=ROOT, input=CODE, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
