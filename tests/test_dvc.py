"""What reruns: the promises of the README's table, one by one, in a small project."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.sources import registry, splits
from tests.meshes import CHAIR, TABLE, box, write_v2

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
COUNT = 7  # models of a category, so that each split has some of either
MODELS = {(CHAIR, f"c{i}"): box(1, 2, 1 + i / 10) for i in range(COUNT)}
MODELS |= {(TABLE, f"t{i}"): box(2, 1, 1 + i / 10) for i in range(COUNT)}


class Project:
    """A small project in a folder of its own, and the stages that `dvc repro` ran in it."""

    def __init__(self, folder: Path):
        self.folder = folder

    @classmethod
    def new(cls, folder: Path) -> Project:
        self = cls(folder)
        for name in ("pipeline", "model", "dvc.yaml", "params.yaml"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, folder / name)
        write_v2(folder / "raw", MODELS)
        self.change("dataset", root="raw", categories=[CHAIR, TABLE])
        self.change("synthesize", models_per_category=1)
        self.change("render", views=2, height=24, width=32)
        self.change("voxelize", resolution=16, points=200)
        self.change("train", samples=32, batch_size=4, validations=1)
        self.change("metrics", points=200, views=1)
        self.change("report", rows=2, models=3)
        values = yaml.safe_load((folder / "params.yaml").read_text())
        values["systems"]["r3d"] |= {"image_size": [24, 32], "resolution": 16}
        (folder / "params.yaml").write_text(json.dumps(values))
        for command in ("git init -q", f"{sys.executable} -m dvc init -q"):
            subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
        for name in (".dvcignore", ".gitignore"):
            shutil.copy(ROOT / name, folder)
        return self

    def change(self, section: str, **changes: object) -> None:
        path = self.folder / "params.yaml"
        values = yaml.safe_load(path.read_text())
        values[section] |= changes
        path.write_text(json.dumps(values))  # YAML too, and every synset in quotes

    def edit(self, module: str, old: str, new: str) -> None:
        text = (self.folder / module).read_text()
        assert old in text
        (self.folder / module).write_text(text.replace(old, new))

    def repro(self, **environment: str) -> tuple[set[str], str]:
        """Names of the stages that ran, and all that was printed."""
        result = self.dvc("repro", **environment)
        assert result.returncode == 0, result.stdout + result.stderr
        return set(re.findall(r"Running stage '([^']+)'", result.stdout)), result.stdout

    def dvc(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        # With bytecode, which some machines leave out: it must not count as a change.
        settings = {"PATH": path, "ONEVIEW_DEVICE": "cpu", "DVC_NO_ANALYTICS": "1", "PYTHONDONTWRITEBYTECODE": ""}
        return subprocess.run(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=self.folder,
            env=os.environ | settings | environment,
            capture_output=True,
            text=True,
        )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """Where everything was made once, not to be changed, and the stages that ran for it."""
    project = Project.new(tmp_path_factory.mktemp("project"))
    return project.folder, project.repro()[0]


@pytest.fixture
def project(finished: tuple[Path, set[str]], tmp_path: Path) -> Project:
    """A copy of it for one test."""
    return Project(shutil.copytree(finished[0], tmp_path / "project"))


CATEGORIES = (CHAIR, TABLE)
SCORED = {"metrics@r3d", "compare", "report"}
LEARNT = {"train@r3d", *SCORED}
REPACKED = {"baselines", *LEARNT}


def per_category(*names: str) -> set[str]:
    return {f"{name}@{synset}" for name in names for synset in CATEGORIES}


def test_everything_runs_once(finished: tuple[Path, set[str]]) -> None:
    folder, ran = finished
    assert ran == {"synthesize", "catalog", *per_category("render", "voxelize", "pack"), *REPACKED}
    assert {path.name for path in (folder / "data" / "shards").iterdir()} == {CHAIR, TABLE}


def test_nothing_changed_reruns_nothing(project: Project) -> None:
    assert project.repro()[0] == set()
    compiled = list(project.folder.glob("pipeline/*/__pycache__"))
    assert compiled
    for folder in compiled:
        shutil.rmtree(folder)
    (project.folder / "data" / "shards" / ".left.by.a.killed.run.tmp").mkdir()
    assert project.repro()[0] == set()


def test_workers_and_device_rerun_nothing(project: Project) -> None:
    assert project.repro(ONEVIEW_WORKERS="1", ONEVIEW_DEVICE="auto")[0] == set()


def test_one_mesh_reruns_its_category_and_computes_that_mesh_alone(project: Project) -> None:
    trained = next(i for i in range(COUNT) if splits.hashed(f"c{i}") == "train")
    write_v2(project.folder / "raw", MODELS | {(CHAIR, f"c{trained}"): box(1, 3, 1)})
    assert len(registry.find(project.folder / "raw")[0]) == 2 * COUNT
    ran, output = project.repro()
    assert ran == {"catalog", *(f"{name}@{CHAIR}" for name in ("render", "voxelize", "pack")), *REPACKED}
    assert f"render {CHAIR}: {COUNT} models, {COUNT - 1} from the cache" in output
    assert f"voxelize {CHAIR}: {COUNT} models, {COUNT - 1} from the cache" in output


def test_a_render_parameter_does_not_voxelize(project: Project) -> None:
    project.change("render", elevation_deg=[0.0, 30.0])
    assert project.repro()[0] == {*per_category("render", "pack"), *REPACKED}


def test_a_voxel_parameter_does_not_render(project: Project) -> None:
    project.change("voxelize", points=250)
    assert project.repro()[0] == {*per_category("voxelize", "pack"), *REPACKED}


def test_a_network_reruns_its_training(project: Project) -> None:
    project.edit("model/r3d.py", "FIRST_LOGVAR = -6.0", "FIRST_LOGVAR = -5.0")
    assert project.repro()[0] == LEARNT


def test_metrics_do_not_train(project: Project) -> None:
    project.edit("pipeline/scoring/scorer.py", "FIXED = (0.4, 0.5)", "FIXED = (0.4, 0.6)")
    assert project.repro()[0] == {"baselines", *SCORED}


def test_nobody_elses_file_is_lost(project: Project) -> None:
    mine = [project.folder / "data" / name for name in ("raw/mine.obj", "embedded/mine.obj", f"shards/{CHAIR}/notes")]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    project.change("synthesize", seed=1)
    first = project.dvc("repro")
    assert first.returncode and "error: data/embedded/mine.obj: expected no file but those" in first.stderr
    mine[1].rename(project.folder / "mine.obj")
    second = project.dvc("repro")
    assert second.returncode and f"error: data/shards/{CHAIR}/notes: expected only *.h5, status.csv" in second.stderr
    assert mine[0].read_text() == mine[2].read_text() == "mine"


def test_a_category_by_its_name_and_a_synset_without_quotes(project: Project) -> None:
    project.change("dataset", categories=["chair", TABLE])
    result = project.dvc("repro", "pack@chair")
    assert result.returncode == 0 and f"render chair: {COUNT} models, {COUNT} from the cache" in result.stdout
    assert (project.folder / "data/shards/chair/status.csv").is_file()
    text = (project.folder / "params.yaml").read_text()
    (project.folder / "params.yaml").write_text(text.replace('"chair"', CHAIR))
    result = project.dvc("repro")
    assert result.returncode and f'error: params.yaml: line 1: expected "{CHAIR}", got {CHAIR}; put it' in result.stderr


def test_what_is_no_longer_selected_is_put_away(project: Project) -> None:
    values = yaml.safe_load((project.folder / "params.yaml").read_text())
    values["systems"]["again"] = values["systems"]["r3d"]
    values["selected_systems"] = {"again": "r3d"}
    (project.folder / "params.yaml").write_text(json.dumps(values))
    assert project.repro()[0] == {"train@again", "metrics@again", "compare", "report"}
    assert project.repro()[0] == set()
    data = project.folder / "data"
    assert not [path for path in data.glob("*/r3d*") if path.parent.name not in ("checkpoints", "dvclive")]
    assert (data / "old/report/r3d/contact_sheet.png").is_file() and (data / "checkpoints/r3d.pt").is_file()
