from __future__ import annotations

from collections import Counter

import pytest

from pipeline.training.order import Batches


def test_every_round_has_every_item_once_in_another_order() -> None:
    walk = [item for batch in Batches(12, 4, range(6), seed=0) for item in batch]
    assert sorted(walk[:12]) == sorted(walk[12:]) == list(range(12))
    assert walk[:12] != walk[12:] != list(range(12))


def test_batches_are_full_where_they_do_not_divide_the_data_or_exceed_it() -> None:
    walk = list(Batches(5, 4, range(5), seed=0))
    assert [len(batch) for batch in walk] == [4] * 5
    assert set(Counter(item for batch in walk for item in batch).values()) == {4}
    assert Counter(next(iter(Batches(3, 7, range(1), seed=0)))).most_common(1)[0][1] == 3


def test_any_step_can_be_asked_for_without_those_before() -> None:
    assert list(Batches(7, 3, range(20), seed=1))[11:] == list(Batches(7, 3, range(11, 20), seed=1))


def test_the_order_is_a_function_of_the_seed() -> None:
    assert list(Batches(50, 5, range(4), seed=1)) == list(Batches(50, 5, range(4), seed=1))
    assert list(Batches(50, 5, range(4), seed=1)) != list(Batches(50, 5, range(4), seed=2))


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_each_batch(processes: int) -> None:
    whole = list(Batches(10, 6, range(4), seed=0))
    shares = [list(Batches(10, 6, range(4), 0, rank, processes)) for rank in range(processes)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert {len(part) for part in parts} == {6 // processes}
        assert sorted(item for part in parts for item in part) == sorted(batch)


def test_groups_have_the_same_share_and_every_item_of_a_group_too() -> None:
    groups = ["a"] * 2 + ["b"] * 8 + ["c"] * 4
    walk = [item for batch in Batches(14, 6, range(40), seed=0, groups=groups) for item in batch]
    assert Counter(groups[item] for item in walk) == {"a": 80, "b": 80, "c": 80}
    for start in range(0, 240, 3):
        assert sorted(groups[item] for item in walk[start : start + 3]) == ["a", "b", "c"]
    assert set(Counter(item for item in walk if item < 2).values()) == {40}
    assert set(Counter(item for item in walk if 2 <= item < 10).values()) == {10}
    assert set(Counter(item for item in walk if item >= 10).values()) == {20}
    assert list(Batches(14, 6, range(40), 0, groups=groups))[30:] == list(
        Batches(14, 6, range(30, 40), 0, groups=groups)
    )
