from __future__ import annotations

from pipeline.pack import NOTE
from pipeline.pages.dataset import LISTED, dataset


def model(name: str, split: str = "train", doubt: str = "0.0", **other: str) -> dict[str, str]:
    row = {"synset": "1", "category": "chair", "model_id": name, "split": split, "status": "packed", "reason": ""}
    note = {"fill_ratio": "0.25", "components": "1.0", "disagreement": doubt, "lidded": "0.0", "uncovered": "0.0"}
    return row | {"message": ""} | note | other


REJECTED = {"status": "render", "reason": "empty"} | dict.fromkeys(NOTE, "")


def test_models_are_counted_by_category_and_split() -> None:
    rows = [model("a"), model("b", "test"), model("c", "test", **REJECTED), model("d", category="lamp")]
    text = dataset(rows)
    assert "<tr><td>chair</td><td>1</td><td>1</td><td>1</td><td>25.0%</td></tr>" in text
    assert "<tr><td>all</td><td>2</td><td>1</td><td>1</td><td>25.0%</td></tr>" in text
    assert "1 of 4 (1 render: empty)" in text and "0 of 3 grids" in text


def test_rejected_models_have_their_reasons_and_messages_are_text() -> None:
    rows = [model("a"), model("b\udcff", **REJECTED)]
    rows[1]["message"] = "expected <b> & found \udce4"
    text = dataset(rows)
    assert "expected &lt;b&gt; &amp; found ?" in text and "<td>b?</td>" in text
    text.encode()  # UTF-8 can say it


def test_grids_that_lack_surface_are_doubtful() -> None:
    text = dataset([model("a", uncovered="0.17", lidded="0.3"), model("b", uncovered="0.002", lidded="0.3")])
    assert "<td>a</td><td>train</td><td>0.0%</td><td>17.0%</td><td>30.0%</td>" in text and "<td>b</td>" not in text


def test_the_most_doubtful_grids_come_first() -> None:
    rows = [model(f"m{n}", doubt=str(n / 1000)) for n in range(LISTED + 50)]
    text = dataset(rows)
    assert f"{LISTED + 40} of {LISTED + 50} grids" in text and "and 40 more" in text
    places = [text.index(f"<td>m{n}</td>") for n in (149, 148, 147)]
    assert places == sorted(places) and "<td>m49</td>" not in text
