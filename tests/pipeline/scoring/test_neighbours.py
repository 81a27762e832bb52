from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from pipeline.scoring import neighbours
from pipeline.scoring.neighbours import closest_grids, nearest_rows, packed_grids
from pipeline.shards.layout import ShardDataset
from tests.samples import SYNSETS, write_boxes


def pack(solids: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.packbits(solids.reshape(len(solids), -1), axis=1))


def brute_force(queries: np.ndarray, candidates: np.ndarray) -> tuple[list[int], list[np.float32]]:
    indices, values = [], []
    for query in queries:
        both, either = [query & c for c in candidates], [query | c for c in candidates]
        ious = [b.sum() / e.sum() if e.any() else 1.0 for b, e in zip(both, either, strict=True)]
        indices.append(int(np.argmax(ious)))
        values.append(np.float32(max(ious)))
    return indices, values


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4, 5]), st.integers(0, 10**6))
def test_agrees_with_brute_force(count: int, others: int, resolution: int, seed: int) -> None:
    """Few cells and all densities: ties, empty and full grids, and bytes that are not full, in chunks of three."""
    rng = np.random.default_rng(seed)
    shape = (count + others, resolution, resolution, resolution)
    solids = rng.random(shape) < rng.choice([0, 0.02, 0.5, 1], (count + others, 1, 1, 1))
    cells = 3 * 8 * pack(solids).shape[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "CELLS", cells)
        index, best = closest_grids(pack(solids[:count]), pack(solids[count:]), "cpu")
    assert (index.tolist(), best.tolist()) == brute_force(solids[:count], solids[count:])
    assert index.dtype == torch.int64 and best.dtype == torch.float32


def test_iou_by_hand() -> None:
    solids = np.zeros((5, 2, 2, 2), bool)
    solids[1, 0] = solids[2, 0, 0] = solids[3, :, 0] = solids[4] = True
    index, best = closest_grids(pack(solids[:2]), pack(solids[2:]), "cpu")
    assert (index.tolist(), best.tolist()) == ([0, 0], [0.0, 0.5])  # a half and the whole tie: the first wins
    assert closest_grids(pack(solids[:1]), pack(solids), "cpu")[1].tolist() == [1.0]  # both empty


def test_tells_apart_what_float32_would_not() -> None:
    """k / (2k + 1) and (k + 1) / (2k + 3) are 1 / 4k^2 apart: the second is the larger one."""
    k = 100_000
    assert np.float32(k / (2 * k + 1)) == np.float32((k + 1) / (2 * k + 3))
    solids = np.zeros((3, 64**3), bool)
    solids[0, : k + 1] = True
    solids[1, 1 : 2 * k + 1] = True
    solids[2, : 2 * k + 3] = True
    index, best = closest_grids(pack(solids[:1]), pack(solids[1:]), "cpu")
    assert index.tolist() == [1] and best.item() == np.float32((k + 1) / (2 * k + 3))


def test_nothing_asked_nothing_found() -> None:
    index, best = closest_grids(torch.zeros(0, 64, dtype=torch.uint8), torch.zeros(2, 64, dtype=torch.uint8), "cpu")
    assert index.shape == best.shape == (0,)


@pytest.mark.cuda
def test_a_gpu_finds_the_same() -> None:
    solids = np.random.default_rng(0).random((300, 32, 32, 32)) < 0.3
    queries, candidates = pack(solids[:100]), pack(solids[100:])
    gpu, cpu = (closest_grids(queries, candidates, device) for device in ("cuda", "cpu"))
    assert torch.equal(gpu[0], cpu[0]) and torch.equal(gpu[1], cpu[1])


@pytest.mark.parametrize(
    ("queries", "candidates", "message"),
    [
        (torch.zeros(1, 64), torch.zeros(1, 64, dtype=torch.uint8), "queries: expected packed uint8 .* torch.float32"),
        (torch.zeros(1, 8, dtype=torch.uint8), torch.zeros(1, 64, dtype=torch.uint8), r"\(1, 8\) beside \(1, 64\)"),
        (torch.zeros(1, 64, dtype=torch.uint8), torch.zeros(0, 64, dtype=torch.uint8), "at least one grid, got none"),
    ],
)
def test_refuses_other_grids(queries: torch.Tensor, candidates: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        closest_grids(queries, candidates, "cpu")


@pytest.mark.parametrize("resolution", [16, 8, 2])
def test_grids_of_a_split_in_the_order_of_its_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resolution: int
) -> None:
    monkeypatch.setattr(neighbours, "READ", 4)
    dataset = ShardDataset(write_boxes(tmp_path), SYNSETS, "train")
    packed = packed_grids(dataset, resolution)
    factor = 16 // resolution
    assert len(packed) == len(dataset.models)
    for model, row in enumerate(packed.numpy()):
        stored = np.unpackbits(dataset[model * dataset.groups]["occupancy"]).reshape(16, 16, 16)
        parts = stored.reshape(resolution, factor, resolution, factor, resolution, factor)
        assert np.array_equal(row, np.packbits(parts.any(axis=(1, 3, 5))))


def test_a_resolution_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    dataset = ShardDataset(write_boxes(tmp_path), SYNSETS, "val")
    with pytest.raises(ValueError, match="expected a divisor of the shards' 16, got 5"):
        packed_grids(dataset, 5)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 9), st.integers(0, 10**6))
def test_nearest_row_agrees_with_scipy(count: int, others: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(-2, 3, (count + others, width)).astype(np.float32)  # many ties
    expected = cdist(rows[:count], rows[count:], "sqeuclidean").argmin(1)
    assert nearest_rows(torch.from_numpy(rows[:count]), torch.from_numpy(rows[count:])).tolist() == expected.tolist()


def test_nearest_row_is_exact_far_from_the_origin() -> None:
    """Distances by way of a matrix product would have lost these digits."""
    candidates = 1000 + torch.arange(4.0)[:, None] / 64 + torch.zeros(4, 50)
    assert nearest_rows(candidates + 0.002, candidates).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_rows_that_are_not_finite_are_refused(bad: float) -> None:
    rows = torch.zeros(3, 2)
    rows[1, 1] = bad
    with pytest.raises(ValueError, match="candidates: expected finite rows, got 1 of 3 that are not"):
        nearest_rows(torch.zeros(1, 2), rows)
    with pytest.raises(ValueError, match="queries: expected finite rows, got 1 of 3"):
        nearest_rows(rows, torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("width", "count", "message"),
    [
        (3, 1, r"queries: expected rows of one width, got \(2, 4\) beside \(1, 3\)"),
        (4, 0, "at least one row, got none"),
    ],
)
def test_refuses_other_rows(width: int, count: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nearest_rows(torch.zeros(2, 4), torch.zeros(count, width))
