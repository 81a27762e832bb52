from __future__ import annotations

import gzip
import json
from pathlib import Path

from pipeline.sources.registry import find
from tests.pipeline.sources import trees

UIDS = [f"{n:032x}" for n in range(4)]


def found(root: Path) -> list[tuple[str, str, str]]:
    return [(model.ref.layout, model.ref.synset, model.ref.model_id) for model in find(root).models]


def test_categories_are_those_of_lvis_or_else_of_the_annotations(tmp_path: Path) -> None:
    for n, uid in enumerate(UIDS):
        trees.write(tmp_path / "glbs" / f"000-00{n % 2}" / f"{uid}.glb", trees.box_glb())
    assert found(tmp_path) == [("objaverse", "objaverse", uid) for uid in UIDS]
    trees.write(tmp_path / "lvis-annotations.json.gz", gzip.compress(json.dumps({"Arm chair": UIDS[:1]}).encode()))
    notes = {uid: {"categories": [{"name": "furniture-home"}, {"name": "x"}]} for uid in UIDS[:3]}
    notes[UIDS[2]] = {"categories": []}
    trees.write(tmp_path / "metadata" / "000-000.json.gz", gzip.compress(json.dumps(notes).encode()))
    trees.write(tmp_path / "metadata" / "000-001.json", json.dumps(notes).encode())
    trees.write(tmp_path / "metadata" / "000-077.json", b"of a folder that is not there")
    assert sorted(found(tmp_path), key=lambda row: row[2]) == [
        ("objaverse", category, uid)
        for category, uid in zip(("arm-chair", "furniture-home", "objaverse", "objaverse"), UIDS, strict=True)
    ]


def test_a_folder_of_glb_files_with_their_annotations(tmp_path: Path) -> None:
    trees.write(tmp_path / f"{UIDS[0]}.glb", trees.box_glb())
    assert found(tmp_path) == [("folders", tmp_path.name.lower(), UIDS[0])]
    trees.write(tmp_path / "annotations.json", json.dumps({UIDS[0]: {"categories": [{"name": "Animals"}]}}).encode())
    assert found(tmp_path) == [("objaverse", "animals", UIDS[0])]
