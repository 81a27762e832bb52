"""params.yaml: what entries share, DVC and the stages read alike, and a variation is what its line says."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

import model
from pipeline.runtime.params import SECTIONS, build, read

PATH = Path(__file__).parents[1] / "params.yaml"
TEXT = PATH.read_text(encoding="utf-8")
ENTRIES = read("systems", PATH)
NAMED = {anchor: entry for entry, anchor in re.findall(r"^  (\w+): &(\w+)", TEXT, re.M)}
VARIATIONS = [
    (entry, NAMED[anchor], yaml.safe_load(f"{{{own}}}"))
    for entry, anchor, own in re.findall(r"^  (\w+): \{<<: \*(\w+), (.+)\}(?: #.*)?$", TEXT, re.M)
]


def config(entry: str) -> Any:
    """As a stage builds it; the file is the one with the longest name that the entry's name begins with."""
    files = [path.stem for path in PATH.parent.glob("model/*.py") if entry.startswith(path.stem)]
    return build(model.system(max(files, key=len)).Config, ENTRIES[entry], entry)


def test_dvc_reads_what_stages_read() -> None:
    serialize = pytest.importorskip("dvc.utils.serialize")
    assert serialize.load_yaml(PATH) == {section: read(section, PATH) for section in SECTIONS}


def test_what_is_shared_is_said_once() -> None:
    assert len(VARIATIONS) == TEXT.count("{<<:") > 10, "a variation is one line"
    written = [entry for entry in ENTRIES if entry not in {name for name, *_ in VARIATIONS}]
    for first in written:
        for other in written:
            common = [key for key in ENTRIES[first] if ENTRIES[other].get(key) == ENTRIES[first][key]]
            assert first == other or len(common) <= 3, f"{first} and {other} share {common}"


@pytest.mark.parametrize(("entry", "base", "own"), VARIATIONS, ids=[entry for entry, *_ in VARIATIONS])
def test_a_variation_differs_in_what_its_line_says(entry: str, base: str, own: dict[str, Any]) -> None:
    varied, plain = asdict(config(entry)), asdict(config(base))
    assert all(plain.get(key) != value for key, value in own.items()), f"{entry} says what {base} says"
    assert {key for key in varied.keys() & plain if varied[key] != plain[key]} == own.keys() & plain
    assert own.items() <= ENTRIES[entry].items() and ENTRIES[entry] == ENTRIES[base] | own


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if re.fullmatch("r2n2_.+_.+_.", entry)])
def test_the_name_of_an_r2n2_says_what_it_is(entry: str) -> None:
    values = ENTRIES[entry]
    assert entry == f"r2n2_{values['layers']}_{values['cell']}_{values['kernel']}"
