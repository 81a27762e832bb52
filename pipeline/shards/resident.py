"""A split that lies in a device's memory, packed as in the shards; batches are gathered there, by index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice

import numpy as np
import torch
from torch import Tensor

from pipeline.shards.layout import PER_VIEW, ShardDataset

MODELS = 16  # read together by a thread
AHEAD = 256  # batches whose indices go to the device together: one copy, and one wait, for so many


def stored_bytes(data: ShardDataset) -> int:
    """What the split takes in memory."""
    return len(data.models) * sum(array.nbytes for array in data.model(0).values())


class Resident:
    """All of a ShardDataset on a device.

    Args:
        data: the split; every model has as many views.
        device: where it is kept.
        workers: threads that read and inflate.
    """

    def __init__(self, data: ShardDataset, device: torch.device, workers: int):
        self.origins = torch.tensor(data.origins, device=device)
        self.device, self.groups, self.together = device, data.groups, data.views_per_sample
        self.arrays = {
            name: torch.empty((len(data.models), *row.shape), dtype=torch.from_numpy(row).dtype, device=device)
            for name, row in data.model(0).items()
        }

        def read(first: int) -> None:
            rows = [data.model(model) for model in range(first, min(first + MODELS, len(data.models)))]
            for name, array in self.arrays.items():
                array[first : first + len(rows)] = torch.from_numpy(np.stack([row[name] for row in rows]))

        with ThreadPoolExecutor(workers) as threads:
            list(threads.map(read, range(0, len(data.models), MODELS)))

    def batches(self, orders: Iterable[list[int]]) -> Iterator[dict[str, Tensor]]:
        """The collated items of each list of items, as a DataLoader gives them, on the device."""
        waiting = iter(orders)
        while chunk := list(islice(waiting, AHEAD)):
            together = torch.tensor(list(chain.from_iterable(chunk))).to(self.device)
            for items in together.split([len(order) for order in chunk]):
                yield self.collated(items)

    def collated(self, items: Tensor) -> dict[str, Tensor]:
        """The same of (B,) int64 items on the device."""
        models, first = items // self.groups, items % self.groups * self.together
        views = first[:, None] + torch.arange(self.together, device=self.device)
        gathered = {
            name: array[models[:, None], views] if name in PER_VIEW else array[models]
            for name, array in self.arrays.items()
        }
        return {"item": items, "model": models, "origin": self.origins[models]} | gathered
