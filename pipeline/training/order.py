"""In which order a training sees its samples: a function of the seed and the step alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


class Walk:
    """An endless walk through `length` items, shuffled anew on every round; any place of it can be asked for."""

    def __init__(self, length: int, *seed: int):
        self.length, self.seed = length, seed
        self.number = -1  # of the round that was asked for last, and
        self.order: np.ndarray = np.zeros(0, np.int64)

    def __getitem__(self, place: int) -> int:
        number, step = divmod(place, self.length)
        if number != self.number:
            self.number, self.order = number, np.random.default_rng([*self.seed, number]).permutation(self.length)
        return int(self.order[step])


class Batches(Sampler[list[int]]):
    """Batches of an endless walk through a data set.

    Batches are always full, also where they are larger than the data set, and any step can be asked for without
    those before it.

    Args:
        length: items in the data set.
        size: items a batch, over all processes together.
        steps: the batches to give.
        seed: of the shuffling.
        rank, processes: of the size / processes items of each batch that are given, which share it is.
        groups: of every item what it belongs to, as its category. Where given, every group is visited once before any
            is again, so that all have the same share, and has a walk of its own through its items.
    """

    def __init__(
        self,
        length: int,
        size: int,
        steps: range,
        seed: int,
        rank: int = 0,
        processes: int = 1,
        groups: Sequence[str] | None = None,
    ):
        self.size, self.steps = size, steps
        self.rank, self.processes = rank, processes
        self.members: list[Sequence[int]] = [range(length)]
        self.walks, self.turns = [Walk(length, seed)], Walk(1, seed)
        if groups is not None:
            self.members = [[i for i, name in enumerate(groups) if name == group] for group in sorted(set(groups))]
            self.walks = [Walk(len(items), seed, number) for number, items in enumerate(self.members)]
            self.turns = Walk(len(self.members), seed)

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            places = range(step * self.size + self.rank, (step + 1) * self.size, self.processes)
            yield [self._item(place) for place in places]

    def _item(self, place: int) -> int:
        group = self.turns[place]
        return self.members[group][self.walks[group][place // len(self.members)]]
