"""The walls of the house: which room may import which, and that nothing is carried in a circle."""

from __future__ import annotations

import ast
import graphlib
import re

import pytest

from tests.imports import ROOT, imported

# Every arrow there is, from the ground up: a room or a stage, and what it may import. A room is a folder with an
# `__init__.py` that says the same in words; a stage or a command is a file of pipeline/.
WALLS = {
    "runtime": "",
    "families": "",
    "geometry": "",
    "layers": "",
    "model": "layers",
    "shards": "runtime",
    "sources": "geometry runtime",
    "records": "geometry runtime sources",
    "scoring": "geometry runtime shards sources",
    "training": "model runtime scoring shards",
    "pages": "geometry scoring",
    "travel": "model runtime scoring shards sources training",
    "findings": "answers families geometry model pages records runtime scoring shards sources training",
    "answers": "geometry layers model pages runtime scoring shards sources training",
    "exhibits": "answers model pages runtime scoring shards sources training",
    "others": "geometry scoring sources",
    "synthesize": "families runtime",
    "catalog": "records runtime sources",
    "render": "geometry records runtime sources",
    "voxelize": "geometry records runtime sources",
    "pack": "records runtime shards",
    "train": "model runtime shards training",
    "metrics": "model runtime scoring shards training",
    "baselines": "layers metrics runtime scoring shards",
    "compare": "runtime scoring sources",
    "show": "geometry pages runtime sources",
    "score": "metrics others runtime scoring shards",
    "report": "exhibits metrics pages runtime scoring shards training",
    "predict": "answers runtime sources",
    "imagine": "answers geometry pages runtime sources training",
    "export": "model runtime scoring training travel",
    "inspect": "findings runtime",
    "web": "answers geometry runtime synthesize training",
    "explain": "answers pages runtime sources",
    "__main__": "runtime",
}
ALLOWED = {name: set(others.split()) for name, others in WALLS.items()}
FILES = [str(path.relative_to(ROOT)) for top in ("pipeline", "model") for path in sorted((ROOT / top).rglob("*.py"))]


def room(path: str) -> str | None:
    """The room that a file lies in, or the stage that it is; None for pipeline/__init__.py, which is neither."""
    top, *folders, name = path.removesuffix(".py").split("/")
    if top == "model" or folders:
        return folders[0] if folders else top
    return None if name == "__init__" else name


ROOMS = {name for path in FILES if path.endswith("/__init__.py") and (name := room(path))}


def test_imports_stay_within_the_walls() -> None:
    wrong = []
    for path in FILES:
        if here := room(path):
            assert here in ALLOWED, f"{path}: expected a room or stage of WALLS, got '{here}'"
            allowed = ALLOWED[here] | {here, None}
            beyond = sorted(file for file in imported(path) if room(file) not in allowed)
            wrong += [f"{path} imports {file}; {here} may import: {WALLS[here] or 'nothing'}" for file in beyond]
    assert not wrong, "\n".join(wrong)


def test_every_door_is_used() -> None:
    used = {(room(path), room(file)) for path in FILES for file in imported(path)}
    assert {(here, there) for here, others in ALLOWED.items() for there in others} <= used


def test_no_circles() -> None:
    graphlib.TopologicalSorter(ALLOWED).prepare()  # CycleError names the rooms
    graphlib.TopologicalSorter({path: imported(path) for path in FILES}).prepare()


def test_rooms_know_no_stage_and_networks_nothing_of_the_pipeline() -> None:
    assert set().union(*(ALLOWED[name] for name in ROOMS)) <= ROOMS
    assert {room(file) for path in FILES if path.startswith("model/") for file in imported(path)} <= {"model", "layers"}


@pytest.mark.parametrize("path", [path for path in FILES if path.endswith("/__init__.py")])
def test_a_room_says_what_it_may_know_and_hands_nothing_on(path: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    words = ast.get_docstring(tree) or ""
    assert words and not imported(path)
    if path == "model/__init__.py":  # the contract, and how a system is found
        return
    assert len(tree.body) == 1, f"{path}: expected a docstring and nothing else"
    if (here := room(path)) and path.count("/") < 3:  # a folder in a room knows what the room may
        assert {name for name in re.findall(r"`(\w+)`", words) if name in WALLS} == ALLOWED[here], words
