from __future__ import annotations

from pathlib import Path

from pipeline.sources.registry import find
from tests.pipeline.sources import trees


def test_a_scan_lies_in_the_folder_of_its_object_and_archives_are_counted(tmp_path: Path) -> None:
    trees.write_omniobject3d(tmp_path, ["a", "b"])
    trees.write(tmp_path / "raw" / "raw_scans" / "anise.tar.gz", b"x")
    looked = find(tmp_path)
    assert [(model.ref.synset, model.ref.model_id) for model in looked.models] == [
        ("desk", "desk_000"),
        ("desk", "desk_001"),
    ]
    assert looked.foreign == {".tar.gz": 1}
