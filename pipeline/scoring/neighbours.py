"""The nearest training sample: what an answer looked up is measured by, and how a shape in both splits is found."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pipeline.scoring.distances import all_pairs_nearest
from pipeline.shards.batches import grids, unpack_bits
from pipeline.shards.layout import ShardDataset, open_shard

# Nearly identical: the same mesh saved twice, or with a part more. Of 431 real shapes at 64^3, five pairs reach it; of
# a shape and itself moved by one cell along an axis, none does, the most compact one has 0.967. Coarser grids tell
# shapes apart less well: there, more pairs reach it.
LEAK_IOU = 0.98
CELLS = 2**25  # unpacked at a time on each side, 128 MiB as float32: 128 grids of 64^3
READ = 64  # grids read and made coarser together


def closest_grids(queries: Tensor, candidates: Tensor, device: str) -> tuple[Tensor, Tensor]:
    """Of every query the candidate with the highest intersection over union, the first of several.

    Exact: products of zeros and ones count common cells, float32 has every count up to 256^3, and float64 keeps any two
    different fractions of such counts apart. Two empty grids have an IoU of 1.

    Args:
        queries: (N, ceil(R^3/8)) uint8 solid grids, packed as in the shards.
        candidates: (M, ceil(R^3/8)) uint8, M >= 1.
        device: where it is worked out, in less than 512 MiB.

    Returns:
        Indices (N,) int64 into the candidates and the IoU (N,) float32, on the CPU.

    Raises:
        ValueError: there is no candidate, or the grids are not packed uint8 of one resolution.
    """
    for name, packed in (("queries", queries), ("candidates", candidates)):
        if packed.ndim != 2 or packed.dtype != torch.uint8 or packed.shape[1] != candidates.shape[-1]:
            raise ValueError(
                f"{name}: expected packed uint8 grids of one resolution, got {packed.dtype} {tuple(packed.shape)} "
                f"beside {tuple(candidates.shape)}"
            )
    if not len(candidates):
        raise ValueError("candidates: expected at least one grid, got none")
    rows = max(1, CELLS // max(1, 8 * candidates.shape[1]))
    found = [_closest(part, candidates, rows, device) for part in queries.split(rows)]
    return torch.cat([index for index, _ in found]), torch.cat([best for _, best in found])


def _closest(queries: Tensor, candidates: Tensor, rows: int, device: str) -> tuple[Tensor, Tensor]:
    """`closest_grids` of queries that are unpacked together, `rows` candidates at a time."""
    cells = _unpacked(queries, device)
    sizes = cells.sum(1)
    best = torch.full((len(queries),), -1.0, dtype=torch.float64, device=device)
    index = torch.zeros(len(queries), dtype=torch.int64, device=device)
    for start in range(0, len(candidates), rows):
        others = _unpacked(candidates[start : start + rows], device)
        both = cells @ others.T
        either = sizes[:, None] + (others.sum(1) - both)
        part = torch.where(either == 0, 1.0, both.double() / either.clamp(min=1))
        value, place = part.max(1)
        index = torch.where(value > best, start + place, index)
        best = torch.maximum(value, best)
    return index.cpu(), best.float().cpu()


def _unpacked(packed: Tensor, device: str) -> Tensor:
    """(B, ceil(R^3/8)) uint8 -> (B, 8 * ceil(R^3/8)) float32; the bits past R^3 are 0."""
    return unpack_bits(packed.to(device), 8 * packed.shape[1]).float()


def packed_grids(dataset: ShardDataset, resolution: int) -> Tensor:
    """The solid grids of a split, without its views.

    Returns:
        (M, ceil(R^3/8)) uint8 packed as in the shards, a row a model in the order of `dataset.models`; R is
        `resolution`, a coarser cell full where any of its parts is.

    Raises:
        ValueError: the shards' resolution is no multiple of R.
    """
    parts = []
    for shard in dataset.shards:
        with open_shard(shard.path) as file:
            stored = file["occupancy"]
            for start in range(0, len(stored), READ):
                coarse = grids(torch.from_numpy(stored[start : start + READ]), resolution)
                parts.append(torch.from_numpy(np.packbits(coarse.flatten(1).numpy(), axis=1)))
    return torch.cat(parts)


def nearest_rows(queries: Tensor, candidates: Tensor) -> Tensor:
    """Of every query the nearest candidate by Euclidean distance, the first of several.

    Args:
        queries: (N, D) float.
        candidates: (M, D) float on the same device, M >= 1.

    Returns:
        (N,) int64 indices into the candidates, on their device.

    Raises:
        ValueError: there is no candidate, the widths differ, or a row is not finite.
    """
    for name, rows in (("queries", queries), ("candidates", candidates)):
        if rows.ndim != 2 or rows.shape[1] != candidates.shape[-1]:
            raise ValueError(
                f"{name}: expected rows of one width, got {tuple(rows.shape)} beside {tuple(candidates.shape)}"
            )
        if bad := int((~rows.isfinite().all(1)).sum()):
            raise ValueError(f"{name}: expected finite rows, got {bad} of {len(rows)} that are not")
    if not len(candidates):
        raise ValueError("candidates: expected at least one row, got none")
    return all_pairs_nearest(queries, candidates)[1]
