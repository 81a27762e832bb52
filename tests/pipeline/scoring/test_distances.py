from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from pipeline.scoring import distances
from pipeline.scoring.distances import (
    all_pairs_nearest,
    chamfer_unsquared,
    iou,
    iou_curve,
    log_loss,
    nearest,
    nearest_distances,
    point_distances,
)


def grid(*cells: int) -> torch.Tensor:
    """(1, 2, 2, 2) bool with the given cells full."""
    flat = torch.zeros(8, dtype=torch.bool)
    flat[list(cells)] = True
    return flat.reshape(1, 2, 2, 2)


def cloud(count: int, seed: int) -> torch.Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) - 0.5


@pytest.mark.parametrize(
    ("prediction", "truth", "expected"),
    [
        ((0, 1, 2), (1, 2, 3), 2 / 4),
        ((0, 1, 2), (0, 1, 2), 1.0),
        ((0,), (7,), 0.0),
        ((), (7,), 0.0),
        ((), (), 1.0),
        (range(8), (5,), 1 / 8),
    ],
)
def test_iou_by_hand(prediction, truth, expected):
    assert iou(grid(*prediction), grid(*truth)).tolist() == [expected]


def test_iou_is_one_value_a_sample():
    value = iou(torch.cat([grid(0), grid(0)]), torch.cat([grid(0, 1), grid(0)]))
    assert value.dtype == torch.float32
    assert value.tolist() == [0.5, 1.0]


@pytest.mark.parametrize(("other", "came"), [(grid(0).float(), "torch.float32"), (grid(0)[..., :1], r"\(1, 2, 2, 1\)")])
def test_iou_refuses_other_grids(other, came):
    with pytest.raises(ValueError, match=f"iou: expected two bool grids of one shape.*{came}"):
        iou(grid(0), other)


def test_iou_curve_is_iou_at_every_threshold():
    generator = torch.Generator().manual_seed(0)
    thresholds = torch.arange(1, 10) / 10
    # Multiples of 0.1 too: a value at the threshold is not above it.
    probabilities = (torch.rand(5, 6, 6, 6, generator=generator) * 20).round() / 20
    truth = torch.rand(5, 6, 6, 6, generator=generator) > 0.7
    probabilities[3], truth[4] = 0, False
    expected = torch.stack([iou(probabilities > t, truth) for t in thresholds], dim=1)
    assert torch.equal(iou_curve(probabilities, truth, thresholds), expected)


def test_iou_curve_of_empty_grids_is_one():
    assert iou_curve(torch.zeros(1, 2, 2, 2), grid(), torch.tensor([0.1, 0.5])).tolist() == [[1.0, 1.0]]


def test_log_loss_by_hand():
    certain = grid(0).float()
    assert log_loss(certain, grid(0)).item() == 0
    # One cell of eight is free and taken for full, another the other way round: each costs -log(1e-7), no more.
    assert log_loss(certain, grid(7)).item() == pytest.approx(2 / 8 * 16.118, abs=1e-3)
    assert log_loss(torch.full((1, 2, 2, 2), 0.5), grid(0, 5)).item() == pytest.approx(np.log(2))


@given(st.integers(1, 3), st.integers(0, 10**6))
def test_log_loss_agrees_with_torch(samples, seed):
    logits = 10 * torch.randn(samples, 3, 4, 5, generator=torch.Generator().manual_seed(seed))
    truth = torch.rand(logits.shape, generator=torch.Generator().manual_seed(seed + 1)) > 0.7
    # Where the probability is not yet 1 to float32, its logit knows no more than it does.
    expected = F.binary_cross_entropy(logits.sigmoid(), truth.float(), reduction="none").clamp(max=-np.log(1e-7))
    torch.testing.assert_close(log_loss(logits.sigmoid(), truth), expected.flatten(1).mean(1))


@pytest.mark.parametrize(("truth", "came"), [(grid(0).float(), "torch.float32"), (grid(0)[..., :1], r"\(1, 2, 2, 1\)")])
def test_log_loss_refuses_other_grids(truth, came):
    with pytest.raises(ValueError, match=f"log_loss: expected probabilities and a bool grid of one shape.*{came}"):
        log_loss(torch.zeros(1, 2, 2, 2), truth)


def test_chamfer_by_hand():
    a = torch.tensor([[0.0, 0, 0], [3, 4, 0]])
    b = torch.tensor([[0.0, 0, 0]])
    # From a: 0 and 5, mean 2.5, not squared; from b: 0.
    assert chamfer_unsquared(a, b).item() == pytest.approx(2.5)
    assert chamfer_unsquared(a, a).item() == 0


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 10**6))
def test_chamfer_is_symmetric_and_follows_motion_and_scale(n, m, seed):
    a, b = cloud(n, seed), cloud(m, seed + 1)
    turn, _ = torch.linalg.qr(cloud(3, seed + 2))
    value = chamfer_unsquared(a, b).item()
    assert chamfer_unsquared(b, a).item() == pytest.approx(value, rel=1e-5)
    assert chamfer_unsquared(3 * a @ turn + 1, 3 * b @ turn + 1).item() == pytest.approx(3 * value, rel=1e-3)


@pytest.mark.parametrize("pairs", [1, 700, 2**25])
def test_all_pairs_agree_with_scipy(monkeypatch, pairs):
    monkeypatch.setattr(distances, "CHUNK_PAIRS", pairs)
    a, b = cloud(300, 1), cloud(200, 2)
    a[:50] = b[:50] + 1e-4  # nearly coinciding points, where matrix products lose the digits
    expected, indices = cKDTree(b.numpy()).query(a.numpy())
    for found in (all_pairs_nearest(a, b), nearest(a, b)):
        np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-3, atol=1e-7)
        np.testing.assert_array_equal(found[1].numpy(), indices)


@pytest.mark.parametrize("missing", [(), ("pykdtree.kdtree",), ("pykdtree.kdtree", "scipy.spatial")])
def test_the_result_is_the_same_whatever_library_there_is(monkeypatch, missing):
    a, b = cloud(100, 3), cloud(80, 4)
    expected = all_pairs_nearest(a, b)
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)  # makes its import fail
    trees = distances._k_d_trees()
    assert (trees.__module__.split(".")[0] if trees else "") == ["pykdtree", "scipy", ""][len(missing)]
    monkeypatch.setattr(distances, "K_D_TREE", trees)
    torch.testing.assert_close(nearest(a, b), expected)
    assert torch.equal(nearest(a, b)[1], expected[1])


def test_distances_an_axis_at_a_time_keep_their_digits():
    a, b = cloud(30, 7), cloud(40, 8)
    a[:9] = b[:9] + 1e-5
    np.testing.assert_allclose(point_distances(a, b).numpy(), cdist(a, b), rtol=1e-5)


@pytest.mark.cuda
def test_cuda_agrees_with_scipy():
    a, b = cloud(5000, 5), cloud(4000, 6)
    on_device = nearest_distances(a.cuda(), b.cuda())
    assert on_device.is_cuda
    torch.testing.assert_close(on_device.cpu(), nearest_distances(a, b), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(0, 3), (5, 2), (3,)])
def test_distances_refuse_what_is_no_point_set(shape):
    with pytest.raises(ValueError, match=r"distances: expected points of shape \(N, 3\)"):
        chamfer_unsquared(cloud(4, 0), torch.zeros(shape))
