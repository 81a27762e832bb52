from __future__ import annotations

from pipeline.sources.categories import NAMES, category, meant


def test_names_tell_categories_apart():
    assert category("03001627") == "chair"
    assert category("12345678") == "12345678"
    assert len(NAMES) == len(set(NAMES.values())) == 57
    assert all(len(synset) == 8 and synset.isdigit() for synset in NAMES)
    assert "overall" not in NAMES.values()


def test_a_category_is_found_by_either_name_and_first_as_it_stands():
    assert meant("chair", ["03001627", "02691156"]) == meant("03001627", ["03001627"]) == "03001627"
    assert meant("03001627", ["chair"]) == meant("chair", ["chair", "03001627"]) == "chair"
    assert meant("king-size-bed", ["king-size-bed"]) == "king-size-bed"
    assert meant("chair", ["02691156"]) is None and meant("chairs", ["03001627"]) is None
