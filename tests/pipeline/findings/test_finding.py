from __future__ import annotations

from pipeline.findings.finding import WIDTH, Check, Finding, gathered


def test_words_fit_a_terminal_and_stand_below_each_other() -> None:
    checks = [Check("it holds"), Check("it is whole", "half of it " + "is gone, " * 30 + "the rest is there")]
    lines = Finding("a thing", {"a": "1", "long name": "word " * 60}, checks).text("some/file").splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert lines[:4] == ["some/file: a thing", "", "  a          1", f"  long name  {('word ' * 17).strip()}"]
    assert lines[4].startswith("             word") and "  ok     it holds" in lines
    assert any(line.startswith("  FAULT  it is whole: half of it is gone") for line in lines)


def test_many_faults_are_one_line() -> None:
    assert not gathered("all hold", {}, 5).fault
    assert gathered("all hold", {"b": "it is red", "c": "it is blue"}, 5).fault == "2 of 5 models fail, as b: it is red"
