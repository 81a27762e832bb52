from __future__ import annotations

from pathlib import Path

from pipeline.records.journal import open_journal


def test_values_last_and_versions_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "j.jsonl"
    with open_journal(path, "1") as journal:
        assert journal.get("a") is None
        journal.add("a", ["x", ""])
        journal.add("b", ["y"])
        journal.add("a", ["z"])
    with open_journal(path, "1") as journal:
        assert journal.get("a") == ["z"] and journal.get("b") == ["y"]
    assert len(path.read_text().splitlines()) == 2
    with open_journal(path, "2") as journal:
        assert journal.get("a") is None


def test_a_torn_line_costs_that_line(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with open_journal(path, "1") as journal:
        journal.add("a", ["x"])
        journal.add("b", ["y"])
    path.write_text(path.read_text()[:-4])
    with open_journal(path, "1") as journal:
        assert journal.get("a") == ["x"] and journal.get("b") is None
        journal.add("c", ["z"])
        lines = path.read_text().splitlines()  # as a killed run would leave it
    assert any('"c"' in line and line.endswith("]") for line in lines)
    path.write_text("\n".join(lines))
    with open_journal(path, "1") as journal:
        assert journal.get("a") == ["x"] and journal.get("c") == ["z"]


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with open_journal(path, "1") as journal:
        journal.add("caf\udce9", ["caf\udce9"])
    with open_journal(path, "1") as journal:
        assert journal.get("caf\udce9") == ["caf\udce9"]
