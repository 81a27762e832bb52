"""`deps` and `params` in dvc.yaml against what the stages import and read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.imports import imported

ROOT = Path(__file__).parents[1]
SYSTEMS = [f"model/{path.name}" for path in (ROOT / "model").glob("*.py") if "class Model(" in path.read_text()]
# Modules that can't change what a stage makes: how it is started, how parameters are read, how
# work is spread, how files are written.
PLUMBING = {
    "model/layers/__init__.py",
    "pipeline/records/parallel.py",
    "pipeline/records/journal.py",
    *(str(path.relative_to(ROOT)) for path in (ROOT / "pipeline" / "runtime").glob("*.py")),
    *(str(path.relative_to(ROOT)) for path in (ROOT / "pipeline").rglob("__init__.py")),
}


def imports(path: str) -> set[str]:
    """Project files that a project file imports, itself included, all the way down."""
    found, queue = set(), [path]
    while queue:
        current = queue.pop()
        if current in found:
            continue
        found.add(current)
        queue += imported(current)
    return found


def stages() -> dict[str, dict]:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


# Stages for which a minute is nothing to run in vain name rooms, these name what they use, but for one file, which
# lies in a room of which they use all the rest.
ROOM = {"pipeline/shards/resident.py"}
COSTLY: dict[str, set[str]] = {
    "train": set(),
    "baselines": ROOM,
    "metrics": ROOM,
}


@pytest.mark.parametrize("name", sorted(stages()))
def test_deps_are_the_imports(name: str) -> None:
    stage = stages()[name].get("do", stages()[name])
    module = stage["cmd"].split()[2]
    code = [dep for dep in stage["deps"] if dep.startswith(("pipeline/", "model"))]
    network = {"model/${item}.py"} & set(code)
    expected = imports(module.replace(".", "/") + ".py")
    if network:  # what any system imports
        expected = expected.union(*map(imports, SYSTEMS)) - set(SYSTEMS)
    expected -= PLUMBING
    listed, rooms = set(), []
    for dep in set(code) - network:
        files = {str(p.relative_to(ROOT)) for p in (ROOT / dep).rglob("*.py")} if (ROOT / dep).is_dir() else {dep}
        rooms += [files & expected] if (ROOT / dep).is_dir() else []
        listed |= files - PLUMBING
    assert expected <= listed
    assert all(rooms), "a room of which it uses nothing"
    single = {dep for dep in set(code) - network if not (ROOT / dep).is_dir()} - PLUMBING
    assert single <= expected
    if name in COSTLY:
        assert listed - expected == COSTLY[name]


def test_params_are_the_sections_read() -> None:
    for name, stage in stages().items():
        text = (ROOT / f"pipeline/{name}.py").read_text()
        own = re.search(rf'load\("{name}", Params\)', text) is not None
        assert own == (name in stage.get("do", stage).get("params", [])), name
