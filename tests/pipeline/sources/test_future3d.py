from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.sources.layout import Found, ModelRef
from pipeline.sources.registry import LAYOUTS, find
from tests.pipeline.sources import trees


def test_models_of_the_list_and_others(tmp_path: Path) -> None:
    base = tmp_path / "3D-FUTURE-model"
    rows = [
        {"model_id": "a", "super-category": "Bed", "category": "King-size Bed"},
        {"model_id": "b", "super-category": "Cabinet/Shelf/Desk", "category": None},
        {"model_id": "gone", "super-category": "Bed", "category": "Bunk Bed"},
        {"model_id": "e", "super-category": None, "category": None},
    ]
    trees.write(base / "model_info.json", json.dumps(rows).encode())
    for name in ("a/normalized_model.obj", "a/raw_model.obj", "b/raw_model.obj", "c/raw_model.obj", "e/raw_model.obj"):
        trees.write(base / name, trees.box_mesh())
    expected = [
        ("bunk-bed", "gone", ""),
        ("cabinet-shelf-desk", "b", "3D-FUTURE-model/b/raw_model.obj"),
        ("king-size-bed", "a", "3D-FUTURE-model/a/normalized_model.obj"),
        ("unnamed", "c", "3D-FUTURE-model/c/raw_model.obj"),
        ("unnamed", "e", "3D-FUTURE-model/e/raw_model.obj"),
    ]
    assert find(tmp_path)[0] == [Found(ModelRef(synset, name, "3d-future", mesh)) for synset, name, mesh in expected]


def test_front_z_is_turned_to_minus_z() -> None:
    rotation = LAYOUTS["3d-future"].rotation
    assert (rotation @ [0, 0, 1]).tolist() == [0, 0, -1] and (rotation @ [0, 1, 0]).tolist() == [0, 1, 0]
    assert (rotation @ [1, 0, 0]).tolist() == [-1, 0, 0]


@pytest.mark.parametrize("content", [b"{", b"{}", b"[1]", b"[null]", b'[{"model_id": "a"}]', b"\xff"])
def test_a_broken_list_is_named(tmp_path: Path, content: bytes) -> None:
    trees.write(tmp_path / "model_info.json", content)
    if content == b"{}":  # an empty list
        assert find(tmp_path)[0] == []
        return
    expected = "^model_info.json: expected a list of model_id, category and super-category, got (?!.*(Error|object))"
    with pytest.raises(ValueError, match=expected):
        find(tmp_path)
