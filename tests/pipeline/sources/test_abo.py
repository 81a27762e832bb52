from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.sources.registry import find
from tests.pipeline.sources import trees


def test_a_category_is_the_type_of_the_product(tmp_path: Path) -> None:
    trees.write_abo(tmp_path, ["a"])
    trees.write(tmp_path / "3dmodels" / "original" / "X" / "B075X4QMX3.glb", trees.box_glb())
    found = [(model.ref.synset, model.ref.model_id) for model in find(tmp_path).models]
    assert found == [("abo", "B075X4QMX3"), ("desk", "B000000000")]
    assert {model.ref.layout for model in find(tmp_path / "3dmodels").models} == {"abo"}


@pytest.mark.parametrize(
    ("content", "found"), [(b"no gzip", "expected a file of gzip"), (b"\x1f\x8b\x08", "expected a file of gzip")]
)
def test_a_damaged_list_is_named(tmp_path: Path, content: bytes, found: str) -> None:
    trees.write_abo(tmp_path, ["B0"])
    trees.write(tmp_path / "listings" / "metadata" / "listings_0.json.gz", content)
    with pytest.raises(ValueError, match=f"listings_0.json.gz: .*{found}"):
        find(tmp_path)
