from __future__ import annotations

from pipeline.pages.picks import Pick, choose, headline, ranks, spread, telling

OF_POINTS = "chamfer_unsquared", "f_score_1%"


def views(synset: str, model: str, *scores: float, score: str = "iou", failed: str = "0") -> list[dict[str, str]]:
    row = {"synset": synset, "model_id": model, "failed": failed}
    return [row | {"view": str(i), score: str(v)} for i, v in enumerate(scores)]


def test_systems_are_shown_by_what_all_are_compared_by_if_they_have_it() -> None:
    judges = "iou_32", "chamfer_unsquared"
    sample = dict.fromkeys((*judges, *OF_POINTS), "0.5")
    assert headline(sample, judges) == judges
    assert headline(sample | {"iou_32": ""}, judges) == OF_POINTS
    assert headline(dict.fromkeys(OF_POINTS, "0.5"), judges) == OF_POINTS


def test_rows_are_at_evenly_spaced_ranks_of_median_views() -> None:
    scores = views("a", "good", 0.9, 0.1, 0.8) + views("a", "bad", 0.2, 0.3) + views("a", "fair", 0.5)
    scores += views("b", "only", 0.4)
    # Medians: good 0.8 (view 2), fair 0.5, bad 0.2 (the worse of two, view 0).
    picks = choose(scores, 4, "iou")
    found = [(p.score["model_id"], p.score["view"], p.rank, p.models) for p in picks]
    assert found == [("good", "2", 1, 3), ("bad", "0", 3, 3), ("only", "0", 1, 1)]
    assert [p.score["model_id"] for p in choose(scores, 2, "iou")] == ["fair", "only"]
    assert choose(list(reversed(scores)), 4, "iou") == picks


def test_distances_rank_from_the_least_up() -> None:
    score = "chamfer_unsquared"
    scores = views("a", "far", 0.9, 0.1, 0.8, score=score) + views("a", "near", 0.2, 0.3, score=score)
    picks = choose(scores, 2, score)
    assert [(p.score["model_id"], p.score["view"], p.rank) for p in picks] == [("near", "1", 1), ("far", "2", 2)]


def test_fewer_rows_than_categories_are_spread() -> None:
    scores = [row for name in "abcdefgh" for row in views(name, name, 0.5)]
    assert [p.score["synset"] for p in choose(scores, 4, "iou")] == ["b", "d", "f", "h"]
    assert len(choose(scores, 8, "iou")) == 8


def test_every_model_has_a_rank_in_its_category() -> None:
    scores = views("a", "good", 0.9, 0.1, 0.8) + views("a", "bad", 0.2, 0.3) + views("b", "only", 0.4)
    found = ranks(scores, "iou")
    assert {key: (p.score["view"], p.rank, p.models) for key, p in found.items()} == {
        ("a", "good"): ("2", 1, 2),
        ("a", "bad"): ("0", 2, 2),
        ("b", "only"): ("0", 1, 1),
    }


def test_the_ends_come_first_then_the_middle_then_a_failure() -> None:
    rows = [row for n in range(9) for row in views("a", f"m{n}", 0.9 - n / 10, failed=str(int(n == 7)))]
    order = [model for _, model in telling(rows)]
    assert order[:6] == ["m0", "m8", "m4", "m7", "m2", "m6"]
    assert sorted(order) == [f"m{n}" for n in range(9)]


def test_a_gallery_has_of_all_categories_and_by_all_systems_what_tells_most() -> None:
    def ranked(synset: str, *names: str) -> list[Pick]:
        rows = [row for n, name in enumerate(names) for row in views(synset, name, 0.9 - n / 10)]
        return list(ranks(rows, "iou").values())

    first = ranked("a", "p", "q", "r", "s") + ranked("b", "x")
    second = ranked("a", "q", "p", "s", "r") + ranked("b", "x")
    found = spread({"s": first, "t": second}, 4)
    assert found == [("a", "p"), ("b", "x"), ("a", "q"), ("a", "s")]  # the best of both, the worst of the first
    assert sorted(spread({"s": first, "t": second}, 99)) == [*(("a", name) for name in "pqrs"), ("b", "x")]
