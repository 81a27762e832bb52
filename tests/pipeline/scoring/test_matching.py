from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.stats import wasserstein_distance, wasserstein_distance_nd

from pipeline.scoring.matching import auction, emd, emd_auction

SCHEDULE = (1e-4, 1e-2, 1.0)
seeds = st.integers(0, 10**6)


def cloud(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (count, 3))


@given(st.integers(1, 5), seeds)
def test_exact_is_the_best_of_all_permutations(count, seed):
    a, b = cloud(count, seed), cloud(count, seed + 1)
    every = [np.linalg.norm(a - b[list(order)], axis=1).mean() for order in permutations(range(count))]
    assert emd(a, b) == pytest.approx(min(every))


@pytest.mark.parametrize("seed", range(3))
def test_exact_agrees_with_the_transport_problem(seed):
    a, b = cloud(12, seed), cloud(12, seed + 10)
    assert emd(a, b) == pytest.approx(wasserstein_distance_nd(a, b), abs=1e-6)


@given(st.integers(1, 30), seeds)
def test_on_a_line_it_is_wassersteins_distance(count, seed):
    a, b = (np.outer(x, [1, 0, 0]) for x in np.random.default_rng(seed).normal(size=(2, count)))
    assert emd(a, b) == pytest.approx(wasserstein_distance(a[:, 0], b[:, 0]))


@given(st.integers(1, 30), seeds, st.floats(0.1, 5))
def test_symmetry_identity_motion_and_scale(count, seed, scale):
    a, b = cloud(count, seed), cloud(count, seed + 1)
    turn, _ = np.linalg.qr(cloud(3, seed + 2))
    value = emd(a, b)
    assert emd(b, a) == pytest.approx(value)
    assert emd(a, a[::-1]) == 0
    assert emd(scale * a @ turn + 1, scale * b @ turn + 1) == pytest.approx(scale * value)
    assert emd(a, a + np.array([0.1, 0, 0])) == pytest.approx(0.1)  # a shift can't be undone by other partners


@given(st.integers(1, 40), seeds, st.booleans())
def test_the_auction_is_within_its_tolerance_of_the_best(count, seed, crowded):
    a, b = cloud(count, seed), cloud(count, seed + 1)
    if crowded:  # many points in few places: bids that hardly differ
        a, b = a.round(0), b.round(0)
    costs = np.linalg.norm(a[:, None] - b, axis=2)
    partners, tolerance = auction(costs)
    assert sorted(partners) == list(range(count))
    assert tolerance in SCHEDULE
    best, found = emd(a, b), emd_auction(a, b)
    assert found == pytest.approx(costs[np.arange(count), partners].mean())
    assert best - 1e-9 <= found <= best + tolerance + 1e-9


def test_the_auction_of_1024_points_is_near_the_best():
    a, b = cloud(1024, 0), cloud(1024, 1) * [1, 0.5, 1]
    costs = np.linalg.norm(a[:, None] - b, axis=2)
    best = costs[linear_sum_assignment(costs)].mean()
    assert best <= emd_auction(a, b) <= best + SCHEDULE[1]


def test_a_long_price_war_goes_on_with_coarser_bids():
    # All want the same two of three columns; steps of 1e-4 would take thousands of bids.
    costs = np.array([[0.0, 0, 9], [0, 0, 9], [0, 0, 9]])
    partners, tolerance = auction(costs)
    assert sorted(partners) == [0, 1, 2]
    assert tolerance == SCHEDULE[-1]


def test_the_auction_ends_where_bids_are_lost_in_rounding():
    far = 1e18 * cloud(8, 0)
    assert emd_auction(far, cloud(8, 1)) == pytest.approx(emd(far, cloud(8, 1)))


@pytest.mark.parametrize("way", [emd, emd_auction])
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (cloud(3, 0), cloud(4, 0), r"expected two sets of shape \(N, 3\), N >= 1, got \(3, 3\) and \(4, 3\)"),
        (cloud(0, 0), cloud(0, 0), "N >= 1"),
        (cloud(3, 0)[:, :2], cloud(3, 0)[:, :2], "N, 3"),
        (cloud(3, 0), np.full((3, 3), np.nan), "expected finite points"),
    ],
)
def test_other_sets_are_refused(way, a, b, message):
    with pytest.raises(ValueError, match=message):
        way(a, b)
