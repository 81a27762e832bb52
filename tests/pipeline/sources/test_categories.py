from __future__ import annotations

from pipeline.sources.categories import NAMES, category


def test_names_tell_categories_apart():
    assert category("03001627") == "chair"
    assert category("12345678") == "12345678"
    assert len(NAMES) == len(set(NAMES.values())) == 57
    assert all(len(synset) == 8 and synset.isdigit() for synset in NAMES)
    assert "overall" not in NAMES.values()
