"""The DVC commands of README.md and docs/reruns.md, run for real in a project whose stages take no time."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.scoring.figures import FEW, HEADLINE
from pipeline.scoring.tables import WIDTH
from tests.test_docs import PAGES, blocks, commands

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
CATEGORY = "03001627"  # the one that the pages name
CALLED = {" ".join(c) for page in ("README.md", "docs/reruns.md") for c in commands(PAGES[page]) if c[0] == "dvc"}
FIGURES = [HEADLINE.get(name, name) for name in FEW]  # in overall.json
# Makes the paths that it is told, as the stage would in minutes: figures, other files, folders of tables. No run is
# like another.
STAND_IN = f"""
import json, random, sys
from pathlib import Path
found = round(random.random(), 4)
for path in map(Path, sys.argv[1:]):
    (path.parent if path.suffix else path).mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        path.write_text(json.dumps(dict.fromkeys({FIGURES}, found)))
    else:
        table = path if path.suffix else path / "{CATEGORY}.csv"
        table.write_text(f"samples,views,iou,chamfer_unsquared,val_iou,val_chamfer\\n1,1,{{found}},1,1,1\\n")
"""


class Project:
    """The project's params.yaml and dvc.yaml in a folder of their own, where stages only pretend."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in ("pipeline", "model"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in (".dvcignore", ".gitignore"):
            shutil.copy(ROOT / name, folder)
        text = (ROOT / "params.yaml").read_text(encoding="utf-8")
        one, count = re.subn(r"(?<=^  categories:).*?(?=^  \w)", f' ["{CATEGORY}"]\n', text, flags=re.M | re.S)
        assert count == 1
        (folder / "params.yaml").write_text(one)
        (folder / "stand_in.py").write_text(STAND_IN)
        pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
        for stage in pipeline["stages"].values():
            stage = stage.get("do", stage)
            outs = [*itertools.chain.from_iterable([out] if isinstance(out, str) else out for out in stage["outs"])]
            stage["cmd"] = " ".join(["python stand_in.py", *outs, *stage.get("metrics", [])])
        (folder / "dvc.yaml").write_text(json.dumps(pipeline))
        for command in ("git init -q", "dvc init -q", "git add .", "git commit -qm Start"):
            self.run(*command.split())

    def run(self, *command: str) -> str:
        name = {
            f"GIT_{who}_{what}": "somebody@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | name | {"PATH": path, "HOME": str(self.folder), "DVC_NO_ANALYTICS": "1"}
        result = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, f"{shlex.join(command)}\n{result.stdout}{result.stderr}"
        return result.stdout

    def entries(self) -> dict[str, dict]:
        return yaml.safe_load((self.folder / "params.yaml").read_text(encoding="utf-8"))["systems"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("project"))
    made.run("dvc", "repro")
    return made


def test_a_sweep_as_the_page_has_it(project: Project) -> None:
    (block,) = [block for block in blocks(PAGES["docs/reruns.md"], "sh") if "--queue" in block]
    before = project.entries()
    for command in commands(f"```sh\n{block}```\n"):
        if command[-1] == "--run-all":
            queued = re.findall(r"^\w{7}\s+(\S+)", project.run("dvc", "queue", "status"), re.M)
            assert len(queued) == 9 + 2
            project.run("dvc", "queue", "remove", *queued[1:])  # one of them says it all
        if command[-1] == "NAME":
            command = [*command[:-1], *queued[:1]]
        shown = project.run(*command)
        if command[1:3] == ["exp", "show"]:
            assert "iou_32" in shown and "systems.r3d.latent" in shown and queued[0] in shown
            assert max(map(len, shown.splitlines())) <= WIDTH
    swept, untouched = project.entries(), {entry: values for entry, values in before.items() if entry != "r3d"}
    assert swept.pop("r3d") | {"latent": 0, "heads": 0} == before["r3d"] | {"latent": 0, "heads": 0} != before["r3d"]
    assert swept == untouched, "an experiment with one entry leaves those that share its values as they were"
    project.run("git", "checkout", "-q", ".")


@pytest.mark.parametrize("command", sorted(command for command in CALLED if not command.startswith("dvc exp")))
def test_other_commands(project: Project, command: str) -> None:
    words = (sorted(map(str, project.folder.glob(word))) or [word] for word in command.split())
    shown = project.run(*itertools.chain.from_iterable(words))
    if command.startswith("dvc metrics show"):
        assert "category_mean_shape" in shown and max(map(len, shown.splitlines())) <= WIDTH
    if command.startswith("dvc plots show"):
        charts = (project.folder / "dvc_plots/index.html").read_text(encoding="utf-8")
        titles = set(re.findall(r'"title": {"text": "([^"]+)"', charts))
        assert titles == {"data/curves/r3d.csv", "data/views/r3d.csv"}  # which tell systems apart


def test_a_shared_value_reruns_all_that_share_it(project: Project) -> None:
    path = project.folder / "params.yaml"
    text = path.read_text(encoding="utf-8")
    selected = "selected_systems: {r3d: r3d, r3d_causal: r3d, r3d_seed: r3d}\n"
    path.write_text(re.sub(r"selected_systems:.*?\n\n", f"{selected}\n", text, flags=re.S))
    trained = ("train@r3d", "train@r3d_causal", "train@r3d_seed")
    project.run("dvc", "repro", "-q", "-s", *trained)
    path.write_text(path.read_text(encoding="utf-8").replace("    latent: 128\n", "    latent: 96\n"))
    assert set(re.findall(r"^train@\w+", project.run("dvc", "status", *trained), re.M)) == {*trained[:2]}
