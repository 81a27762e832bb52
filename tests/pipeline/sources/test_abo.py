from __future__ import annotations

from pathlib import Path

from pipeline.sources.registry import find
from tests.pipeline.sources import trees


def test_a_category_is_the_type_of_the_product(tmp_path: Path) -> None:
    trees.write_abo(tmp_path, ["a"])
    trees.write(tmp_path / "3dmodels" / "original" / "X" / "B075X4QMX3.glb", trees.box_glb())
    found = [(model.ref.synset, model.ref.model_id) for model in find(tmp_path).models]
    assert found == [("abo", "B075X4QMX3"), ("desk", "B000000000")]
    assert {model.ref.layout for model in find(tmp_path / "3dmodels").models} == {"abo"}
