"""What a training reads: batches of the training split in their order, and those of validation and memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, default_collate

from pipeline.runtime.machine import workers
from pipeline.shards.batches import make_batch
from pipeline.shards.layout import ShardDataset
from pipeline.shards.resident import Resident
from pipeline.training.launch import available
from pipeline.training.order import Batches
from pipeline.training.params import Params


class Feed:
    """The batches of a training, of this process's share, on its device.

    Args:
        fabric: launched.
        data: the splits `train` and `val`.
        params: section `train`.
        config: of the network.
        resident: whether the splits are kept in the device's memory.
    """

    def __init__(self, fabric: Fabric, data: dict[str, ShardDataset], params: Params, config: Any, resident: bool):
        self.fabric, self.data, self.params, self.config = fabric, data, params, config
        self.resident: dict[str, Resident] | None = {} if resident else None

    def training(self, step: int) -> Iterator[dict[str, Any]]:
        """Of every step from this one on."""
        data, params = self.data["train"], self.params
        groups = [synset for synset, _ in data.models for _ in range(data.groups)] if params.balanced else None
        steps, rank, count = range(step, params.steps), self.fabric.global_rank, self.fabric.world_size
        return self._read("train", Batches(len(data), params.batch_size, steps, params.seed, rank, count, groups))

    def validation(self) -> Iterator[dict[str, Any]]:
        """The first views of the validation models, each in one process only."""
        data, rank, count = self.data["val"], self.fabric.global_rank, self.fabric.world_size
        items = [item for item in range(len(data)) if item % data.groups < self.params.validation_views]
        return self._read("val", self._batches(items[rank::count]))

    def memory(self) -> Iterator[dict[str, Any]]:
        """All of the training split, in every process."""
        return self._read("train", self._batches(range(len(self.data["train"]))))

    def some(self, items: Sequence[int]) -> dict[str, Any]:
        """These items of the validation split, as one batch."""
        return self._made(default_collate([self.data["val"][item] for item in items]))

    def _batches(self, items: Sequence[int]) -> BatchSampler:
        return BatchSampler(items, self.params.batch_size // self.fabric.world_size, drop_last=False)

    def _read(self, split: str, batches: Iterable[list[int]]) -> Iterator[dict[str, Any]]:
        kind = self.fabric.device.type
        readers = max(1, workers() // available(kind)[0])
        if self.resident is not None:
            if split not in self.resident:
                self.resident[split] = Resident(self.data[split], self.fabric.device, readers)
            return map(self._made, self.resident[split].batches(batches))
        # On a CPU the network itself needs every core.
        readers, pinned = (min(8, readers), True) if kind == "cuda" else (0, False)
        loader: Any = DataLoader(self.data[split], batch_sampler=batches, num_workers=readers, pin_memory=pinned)  # type: ignore[arg-type]
        return map(self._made, loader)

    def _made(self, raw: dict[str, Tensor]) -> dict[str, Any]:
        cover = self.params.augment.background > 0
        return make_batch(self.fabric.to_device(raw), self.config.image_size, self.config.resolution, cover)
