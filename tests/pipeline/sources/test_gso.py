from __future__ import annotations

import zipfile
from pathlib import Path

from pipeline.sources.registry import find
from tests.pipeline.sources import trees


def test_an_object_is_a_folder_or_a_zip_of_its_name(tmp_path: Path) -> None:
    trees.write_gso(tmp_path, ["Weisshai_Great_White_Shark"])
    trees.write(tmp_path / "Without notes" / "meshes" / "model.obj", trees.box_mesh())
    with zipfile.ZipFile(tmp_path / "Lovestruck.zip", "w") as archive:
        archive.writestr("meshes/model.obj", trees.box_mesh())
        archive.writestr("metadata.pbtxt", 'categories { first: "Shoe" second: "x" }')
    found = [(model.ref.synset, model.ref.model_id) for model in find(tmp_path).models]
    assert found == [
        ("gso", "Without notes"),
        ("office-desk", "Weisshai_Great_White_Shark"),
        ("shoe", "Lovestruck"),
    ]
