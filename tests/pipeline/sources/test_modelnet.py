from __future__ import annotations

from pathlib import Path

from pipeline.sources import splits
from pipeline.sources.registry import find
from tests.pipeline.sources import trees


def test_the_folders_are_the_split_but_for_a_tenth_that_validates(tmp_path: Path) -> None:
    for name in (
        *(f"train/night_stand_{n:04}" for n in range(1, 41)),
        "test/night_stand_0041",
        "test/night_stand_0042",
    ):
        trees.write(tmp_path / "ModelNet40" / "night_stand" / f"{name}.off", b"OFF")
    found = find(tmp_path).models
    assert {model.ref.synset for model in found} == {"night_stand"} and len(found) == 42
    split = {model.ref.model_id: model.split for model in found}
    assert [name for name, own in split.items() if own == "test"] == ["night_stand_0041", "night_stand_0042"]
    validating = [name for name in split if splits.validates(name) and split[name] != "test"]
    assert 0 < len(validating) < 12 and all((split[name] == "val") == (name in validating) for name in list(split)[:40])
    assert {model.split_source for model in found} == {"modelnet folders"}


def test_a_single_category(tmp_path: Path) -> None:
    for name in ("train/range_hood_0001.off", "test/range_hood_0002.off"):
        trees.write(tmp_path / name, b"x")
    found = [(model.ref.layout, model.ref.synset, model.split) for model in find(tmp_path).models]
    assert [own[:2] for own in found] == 2 * [("modelnet", "range_hood")] and found[1][2] == "test"


def test_other_names_are_those_of_a_plain_folder(tmp_path: Path) -> None:
    for name in ("desk/train/table.off", "desk/table_0001.off", "desk/train/table_0001.obj"):
        trees.write(tmp_path / name, b"OFF")
    assert {model.ref.layout for model in find(tmp_path).models} == {"folders"}
