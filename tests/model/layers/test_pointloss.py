from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from scipy.spatial import cKDTree

from model.layers import pointloss
from model.layers.pointloss import all_pairs_nearest, chamfer_squared, nearest, some


def clouds(a: int = 70, b: int = 90) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(3, a, 3), torch.randn(3, b, 3)


def test_two_pairs_by_hand() -> None:
    a = torch.tensor([[[0.0, 0, 0], [1, 0, 0]]])
    b = torch.tensor([[[0.0, 0, 0.5]]])
    # from a: (0.25 + 1.25) / 2; from b: 0.25
    assert chamfer_squared(a, b).item() == pytest.approx(1.0)
    assert chamfer_squared(a, a) == 0


def test_values_and_indices_are_those_of_scipy() -> None:
    a, b = clouds()
    expected = 0.0
    for x, y in zip(a.numpy(), b.numpy(), strict=True):
        expected += ((cKDTree(y).query(x)[0] ** 2).mean() + (cKDTree(x).query(y)[0] ** 2).mean()) / 3
    assert chamfer_squared(a, b).item() == pytest.approx(expected, rel=1e-5)
    found = torch.stack([torch.from_numpy(cKDTree(y).query(x)[1]) for x, y in zip(a.numpy(), b.numpy(), strict=True)])
    assert torch.equal(nearest(a, b), found)


def test_all_pairs_are_exact_in_chunks_and_where_points_nearly_coincide(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = clouds()
    b[:, :70] = a + 1e-4 * torch.randn_like(a) + 100
    a = a + 100
    expected = [torch.from_numpy(cKDTree(y).query(x)[1]) for x, y in zip(a.numpy(), b.numpy(), strict=True)]
    monkeypatch.setattr(pointloss, "CHUNK_PAIRS", 1000)
    assert torch.equal(all_pairs_nearest(a, b), torch.stack(expected))


@pytest.mark.parametrize("without_scipy", [False, True])
def test_values_and_gradients_are_those_of_pytorch3d(without_scipy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    chamfer_distance = pytest.importorskip("pytorch3d.loss").chamfer_distance
    ours, theirs = clouds(), clouds()
    for points in (*ours, *theirs):
        points.requires_grad_()
    if without_scipy:
        monkeypatch.setitem(sys.modules, "scipy.spatial", None)
    found, expected = chamfer_squared(*ours), chamfer_distance(*theirs)[0]
    found.backward()
    expected.backward()
    torch.testing.assert_close(found, expected)
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our.grad, their.grad)


KERNEL = """
import torch
from scipy.spatial import cKDTree
from model.layers.kernels import nearest

torch.manual_seed(0)
for n, m in ((70, 90), (1, 1), (65, 200), (130, 64)):
    a, b = torch.randn(3, n, 3), torch.randn(3, m, 3)
    expected = [torch.from_numpy(cKDTree(y).query(x)[1]) for x, y in zip(a, b)]
    assert torch.equal(nearest(a, b), torch.stack(expected)), (n, m)
    assert torch.equal(nearest(a[:, ::2].double(), b[:, ::2].double())[:, 0], nearest(a[:, :1], b[:, ::2])[:, 0])
"""


@pytest.mark.long
def test_the_kernel_gives_what_scipy_gives() -> None:
    """Where there is no GPU, as Triton works it out on a CPU."""
    pytest.importorskip("triton")
    root = Path(__file__).parents[3]
    given = {"PYTHONPATH": str(root), "TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-c", KERNEL], env=os.environ | given, check=True)


@pytest.mark.cuda
@pytest.mark.parametrize("without_triton", [False, True])
def test_a_gpu_gives_what_a_cpu_gives(without_triton: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = clouds(1000, 2000)
    if without_triton:
        monkeypatch.setitem(sys.modules, "model.layers.kernels", None)
    assert torch.equal(nearest(a.cuda(), b.cuda()).cpu(), nearest(a, b))


def test_half_precision_is_compared_in_full() -> None:
    a, b = (points.bfloat16() for points in clouds())
    assert chamfer_squared(a, b).dtype == torch.float32
    assert chamfer_squared(a, b) == chamfer_squared(a.float(), b.float())


def test_a_loss_of_what_is_not_finite_is_not_finite() -> None:
    a, b = clouds()
    a[1, 5, 2] = torch.nan
    assert not chamfer_squared(a, b).isfinite()


def test_some_points_are_drawn_once_each() -> None:
    points = torch.arange(60.0).view(2, 10, 3)
    drawn = some(points, 7)
    assert drawn.shape == (2, 7, 3)
    rows = (drawn[0, :, 0] / 3).tolist()
    assert len(set(rows)) == 7
    assert torch.equal(drawn[1], drawn[0] + 30)
    assert torch.equal(some(points, 20).sort(dim=1).values, points)


@pytest.mark.parametrize("shape", [(3, 0, 3), (3, 5, 2), (5, 3), (2, 5, 3)])
def test_clouds_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"chamfer: expected \(B, N, 3\) and \(B, M, 3\), got "):
        chamfer_squared(torch.zeros(shape), torch.zeros(3, 4, 3))
