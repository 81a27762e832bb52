"""Kernels for CUDA devices, in Triton, which comes with torch there."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, COLUMNS = 64, 64  # pairs of points that a program looks at side by side


@triton.jit
def _nearest(a, b, index, n, m, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]
    cloud = tl.program_id(1).to(tl.int64)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    lane = tl.arange(0, COLUMNS)
    of_a = a + (cloud * n + row) * 3
    of_b = b + (cloud * m + lane) * 3
    x = tl.load(of_a, row < n)[:, None]
    y = tl.load(of_a + 1, row < n)[:, None]
    z = tl.load(of_a + 2, row < n)[:, None]
    # Every lane keeps the best of the columns that it saw; they are compared with each other once, at the end.
    best = tl.full((ROWS, COLUMNS), float("inf"), x.dtype)
    found = tl.zeros((ROWS, COLUMNS), tl.int32)
    for first in range(0, m, COLUMNS):
        there = first + lane < m
        dx = x - tl.load(of_b + first * 3, there, float("inf"))[None, :]
        dy = y - tl.load(of_b + first * 3 + 1, there, float("inf"))[None, :]
        dz = z - tl.load(of_b + first * 3 + 2, there, float("inf"))[None, :]
        squared = dx * dx + dy * dy + dz * dz
        closer = squared < best
        best = tl.where(closer, squared, best)
        found = tl.where(closer, first, found)
    winner = tl.argmin(best, 1)
    column = tl.sum(tl.where(lane[None, :] == winner[:, None], found + lane[None, :], 0), 1)
    tl.store(index + cloud * n + row, column.to(tl.int64), row < n)


def nearest(a: Tensor, b: Tensor) -> Tensor:
    """Index of the point of `b` (B, M, 3) that is nearest to each point of `a` (B, N, 3), (B, N) int64.

    From all pairs, by their differences, and nothing of it goes to memory but the answer.
    """
    a, b = a.contiguous(), b.contiguous()
    index = torch.empty(a.shape[:2], dtype=torch.int64, device=a.device)
    grid = triton.cdiv(a.shape[1], ROWS), len(a)
    _nearest[grid](a, b, index, a.shape[1], b.shape[1], ROWS, COLUMNS, num_warps=4)
    return index
