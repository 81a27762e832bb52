"""In which order a training sees its samples: a function of the seed and the step alone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from torch.utils.data import Sampler


class Batches(Sampler[list[int]]):
    """Batches of an endless walk through a data set, shuffled anew on every round.

    Batches are always full, also where they are larger than the data set, and any step can be asked for without
    those before it.

    Args:
        length: items in the data set.
        size: items a batch, over all processes together.
        steps: the batches to give.
        seed: of the shuffling.
        rank, processes: of the size / processes items of each batch that are given, which share it is.
    """

    def __init__(self, length: int, size: int, steps: range, seed: int, rank: int = 0, processes: int = 1):
        self.length, self.size, self.steps, self.seed = length, size, steps, seed
        self.rank, self.processes = rank, processes

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            places = range(step * self.size + self.rank, (step + 1) * self.size, self.processes)
            yield [_round(self.length, self.seed, p // self.length)[p % self.length] for p in places]


@lru_cache(maxsize=2)
def _round(length: int, seed: int, number: int) -> list[int]:
    return np.random.default_rng([seed, number]).permutation(length).tolist()
