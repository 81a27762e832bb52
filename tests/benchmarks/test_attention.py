from __future__ import annotations

import pytest
import torch

from benchmarks import attention


def test_a_score_by_hand() -> None:
    """Two positions: the second one's weights are those of a logistic function of the difference of the scores."""
    query, key = torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4)
    query[..., 1, 0], key[..., 1, 0] = 3.0, 2.0
    value = torch.tensor([[[[1.0], [0.0]]]])
    weight = 1 / (1 + torch.tensor(3.0).exp())  # of the first: scores 0 and 3 * 2 / sqrt(4)
    for way in attention.WAYS.values():
        assert way(query, key, value, True)[0, 0, :, 0].tolist() == pytest.approx([1.0, weight.item()])
        assert way(query, key, value, False)[0, 0, :, 0].tolist() == pytest.approx([0.5, weight.item()])


@pytest.mark.long
def test_ours_is_the_listings_with_less() -> None:
    found = attention.measure(1536)
    for name in ("causal, as in the listing", "full"):
        assert max(found[name]["difference"].values()) < 1e-5
        for phase in ("prediction", "training"):
            assert found[name][phase]["times"]["megabytes"] > 5
            assert found[name][phase]["times"]["seconds"] > 1
