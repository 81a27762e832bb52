from __future__ import annotations

from pathlib import Path

from pipeline.sources.registry import find
from tests.pipeline.sources import trees


def test_files_of_a_thing_stay_together(tmp_path: Path) -> None:
    trees.write_thingi10k(tmp_path, ["a", "b", "c"])
    assert [(m.ref.synset, m.ref.model_id, m.group) for m in find(tmp_path).models] == [
        ("thingi10k", str(n), "") for n in range(3)
    ]
    trees.write(tmp_path / "notes" / "contextual_data.csv", b"Thing ID,Date\n70,2014\n")  # of something else
    assert not any(m.doubt for m in find(tmp_path).models)
    trees.write(tmp_path / "metadata" / "input_summary.csv", b"ID, Thing ID, License\n0, 70, x\n1, 70, x\n2, 71, x\n")
    trees.write(tmp_path / "metadata" / "contextual_data.csv", b"Thing ID, Date, Category\n70, 2014, Toys & Games\n")
    assert [(m.ref.synset, m.ref.model_id, m.group) for m in find(tmp_path).models] == [
        ("thingi10k", "2", "thing 71"),
        ("toys-games", "0", "thing 70"),
        ("toys-games", "1", "thing 70"),
    ]
