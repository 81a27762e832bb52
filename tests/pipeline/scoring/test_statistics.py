from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.scoring import statistics
from pipeline.scoring.statistics import intervals, paired, per_shape

NAN = np.nan


def named(index: Iterable[int]) -> list[str]:
    return [f"shape{i:05d}" for i in index]


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float64)[:, None]


@st.composite
def samples(draw):
    """Rows (N, 2) with some NaN, and the shape of each."""
    rows = draw(st.lists(st.tuples(st.integers(0, 5), *[st.floats(-10, 10)] * 2), min_size=1, max_size=30))
    values = np.array([row[1:] for row in rows])
    values[draw(st.lists(st.integers(0, len(rows) - 1), max_size=5)), 0] = np.nan
    return values, named(row[0] for row in rows)


@pytest.mark.parametrize("skew", [False, True])
def test_as_scipy_where_every_shape_has_one_row(skew):
    rng = np.random.default_rng(3)
    values = rng.exponential(1, 150) if skew else rng.normal(0.4, 0.1, 150)
    mean, low, high = intervals(values[:, None], named(range(150)))[:, 0]
    expected = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", random_state=1)
    assert mean == pytest.approx(values.mean(), abs=1e-12)
    # The 2.5 % quantile of 2,000 draws of a normal mean has a standard error of 0.06 standard errors of that mean.
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval), abs=0.25 * expected.standard_error)


def test_as_the_formula_for_the_mean_of_many_clusters():
    rng = np.random.default_rng(4)
    sizes = rng.integers(1, 9, 2000)
    index = np.repeat(np.arange(2000), sizes)
    values = rng.normal(0, 1, 2000)[index] + rng.normal(0, 0.5, len(index))
    mean, low, high = intervals(values[:, None], named(index))[:, 0]
    # Ratio estimator: variance = sum of (cluster's sum - cluster's size x mean)^2 / N^2.
    error = np.sqrt((np.bincount(index, values - values.mean()) ** 2).sum()) / len(index)
    assert mean == pytest.approx(values.mean(), abs=1e-12)
    assert (mean - low, high - mean) == pytest.approx((1.96 * error, 1.96 * error), rel=0.12)
    naive = values.std() / len(index) ** 0.5
    assert high - low > 1.8 * 2 * 1.96 * naive  # what it would be if views were independent


def test_two_shapes_by_hand():
    """Three rows of 0 and one of 1: the draws have means 0, 1/4 or 1, each end with a probability of 1/4."""
    assert intervals(column(0, 0, 0, 1), ["a", "a", "a", "b"])[:, 0] == pytest.approx([0.25, 0, 1])


def test_three_shapes_by_hand(monkeypatch):
    """Of the 27 draws 1 has the mean 0 and 1 the mean 1, so 4 % lie at or below 0: the 2.5 % quantile is 0."""
    monkeypatch.setattr(statistics, "RESAMPLES", 20_000)
    mean, low, high = intervals(column(0, 0.5, 1), ["a", "b", "c"])[:, 0]
    assert (mean, low, high) == pytest.approx((0.5, 0, 1))
    means = np.concatenate([w @ column(0, 0.5, 1) for w in statistics._draws(3, 0)])[:, 0] / 3
    share = [np.isclose(means, k / 6).mean() for k in range(7)]
    assert share == pytest.approx(np.array([1, 3, 6, 7, 6, 3, 1]) / 27, abs=0.015)


def test_one_shape_has_no_spread():
    mean, low, high = intervals(column(0.1, 0.7, 0.2), ["a"] * 3)[:, 0]
    assert low == high == mean == pytest.approx(1 / 3)


def test_the_same_view_twice_says_nothing_new():
    values, shapes = np.random.default_rng(0).normal(size=(40, 2)), named(range(40))
    twice = intervals(np.repeat(values, 2, axis=0), np.repeat(shapes, 2).tolist())
    np.testing.assert_allclose(twice, intervals(values, shapes), atol=1e-12)
    as_if_independent = intervals(np.repeat(values, 2, axis=0), named(range(80)))
    assert (np.ptp(as_if_independent[1:], axis=0) < 0.85 * np.ptp(twice[1:], axis=0)).all()


def test_values_that_were_not_taken_are_left_out_of_their_column_alone():
    values, shapes = np.random.default_rng(1).normal(size=(60, 3)), named(np.arange(60) // 3)
    some = values.copy()
    some[np.arange(60) % 3 > 0, 1] = NAN
    some[:, 2] = NAN
    found = intervals(some, shapes)
    np.testing.assert_array_equal(found[:, 0], intervals(values, shapes)[:, 0])
    np.testing.assert_allclose(found[:, 1], intervals(values[::3, 1:2], shapes[::3])[:, 0], atol=1e-12)
    assert np.isnan(found[:, 2]).all()


def test_draws_without_a_value_are_dropped():
    """Of 12 shapes one has a value: a third of the draws lack it, the others all have this mean."""
    found = intervals(column(5, *[NAN] * 11), named(range(12)))[:, 0]
    assert found == pytest.approx([5, 5, 5], abs=1e-12)


@settings(deadline=None, max_examples=25)
@given(samples(), st.floats(-5, 5), st.floats(0.01, 100))
def test_shift_and_scale(data, shift, scale):
    values, shapes = data
    plain = intervals(values, shapes)
    np.testing.assert_allclose(intervals(values * scale + shift, shapes), plain * scale + shift, atol=1e-9 * scale)
    np.testing.assert_allclose(intervals(-values, shapes)[0], -plain[0], atol=1e-12)


@settings(deadline=None, max_examples=25)
@given(samples(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(data, random):
    values, shapes = data
    order = list(range(len(shapes)))
    random.shuffle(order)
    shuffled = intervals(values[order], [shapes[i] for i in order])
    np.testing.assert_allclose(shuffled, intervals(values, shapes), atol=1e-10)


@settings(deadline=None, max_examples=25)
@given(samples())
def test_the_interval_lies_within_the_values(data):
    values, shapes = data
    mean, low, high = intervals(values, shapes)
    known = ~np.isnan(mean)
    smallest, largest = (np.array([f(c[~np.isnan(c)]) for c in values.T[known]]).reshape(-1) for f in (np.min, np.max))
    assert (
        (smallest - 1e-9 <= low[known]).all() and (low <= high)[known].all() and (high[known] <= largest + 1e-9).all()
    )


def test_the_seed_says_every_byte():
    values, shapes = np.random.default_rng(0).normal(size=(30, 2)), named(range(30))
    assert intervals(values, shapes, 7).tobytes() == intervals(values, shapes, 7).tobytes()
    assert (intervals(values, shapes, 7)[1:] != intervals(values, shapes, 8)[1:]).all()


def test_draws_come_in_chunks_without_a_difference(monkeypatch):
    assert next(statistics._draws(10_000, 0)).shape == (104, 10_000)  # 8 MB
    whole = np.concatenate(list(statistics._draws(7, 0)))
    monkeypatch.setattr(statistics, "CHUNK", 70)
    chunks = list(statistics._draws(7, 0))
    assert {chunk.shape for chunk in chunks} == {(10, 7)}
    np.testing.assert_array_equal(np.concatenate(chunks), whole)
    assert whole.shape == (2000, 7) and (whole.sum(1) == 7).all()


def test_paired_is_the_interval_of_the_difference():
    rng = np.random.default_rng(5)
    shape = rng.normal(0, 1, (50, 1)).repeat(4, 0)  # what makes a shape hard is hard for both
    a, b = shape + 0.1 + rng.normal(0, 0.1, (200, 1)), shape + rng.normal(0, 0.1, (200, 1))
    shapes = named(np.arange(200) // 4)
    difference, low, high, share = paired(a, b, shapes)[:, 0]
    assert (difference, low, high) == pytest.approx(tuple(intervals(a - b, shapes)[:, 0]))
    wins = (a.reshape(50, 4).mean(1) > b.reshape(50, 4).mean(1)).mean()
    assert low > 0 and share == wins and 0.5 < share < 1
    assert intervals(a, shapes)[1, 0] < intervals(b, shapes)[2, 0]  # unpaired they can't be told apart


def test_shares_by_hand():
    """Shape a is won, b lost, c a draw by its mean; of d one side is missing, e has one row that counts."""
    a = column(0.3, 0.1, 0.1, 0.1, 0.2, 0.7, NAN, NAN, 0.9)
    b = column(0.1, 0.2, 0.2, 0.2, 0.1, 0.7, 0.5, 0.1, 0.1)
    difference, _, _, share = paired(a, b, list("aabccdeef"))[:, 0]
    assert difference == pytest.approx((0.2 - 0.1 - 0.1 - 0.1 + 0.1 + 0 + 0.8) / 7)
    assert share == (1 + 0 + 0.5 + 0.5 + 1) / 5
    assert paired(b, a, list("aabccdeef"))[3, 0] == 1 - share


def test_equal_systems_are_a_draw():
    a = np.random.default_rng(0).uniform(size=(20, 1))
    assert paired(a, a.copy(), named(np.arange(20) // 2))[:, 0].tolist() == [0, 0, 0, 0.5]


def test_sums_and_numbers_of_shapes():
    sums, counts = per_shape(np.array([[1, NAN], [2, 4], [4, NAN]]), ["b", "a", "b"])
    assert sums.tolist() == [[2, 4], [5, 0]] and counts.tolist() == [[1, 1], [2, 0]]


def test_refused():
    with pytest.raises(ValueError, match=r"expected rows \(N, K\) and N shapes, got \(2, 1\) and 3"):
        intervals(column(1, 2), ["a"] * 3)
    with pytest.raises(ValueError, match=r"expected rows \(N, K\) and N shapes, got \(0, 2\) and 0"):
        intervals(np.zeros((0, 2)), [])
    with pytest.raises(ValueError, match="expected finite values, or NaN for none, got infinity"):
        intervals(column(1, np.inf), ["a", "b"])
    with pytest.raises(ValueError, match=r"the same rows and columns of both, got \(2, 1\) and \(1, 1\)"):
        paired(column(1, 2), column(1), ["a", "b"])
