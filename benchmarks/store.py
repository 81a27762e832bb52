"""Shards that lie whole on the device, as views that were prepared once: what `recipe.py` trains from."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import torch
from torch import Tensor

from pipeline.runtime.machine import device
from pipeline.shards.batches import grids, unpack_bits
from pipeline.shards.layout import VARIANTS
from pipeline.shards.views import prepare
from pipeline.training.feed import Feed
from pipeline.training.order import Batches
from pipeline.training.params import Params

AT_ONCE = 256  # views prepared, or predicted, at a time


class Late(Exception):
    """The time of a training is over."""


@dataclass
class Store:
    """Shards on the device, a row a model: prepared views (N, V, 1, H, W), packed grids, points or None.

    `cover` (N, V, 1, H, W) uint8 is how much of each pixel the object covers, 255 all of it.

    `origin` (N,) is the row of the model that a row is a variant of, its own where it is none.
    """

    images: Tensor
    cover: Tensor
    grids: Tensor
    points: Tensor | None
    origin: Tensor
    synsets: list[str]
    ids: list[str]
    splits: list[str]
    unpacked: dict[int, Tensor] = field(default_factory=dict)

    @property
    def views(self) -> int:
        return self.images.shape[1]

    def rows(self, splits: Sequence[str], variants: bool = False, first: set[str] | None = None) -> list[int]:
        """Rows of the splits; those of variants as well, or only of these models."""
        own = self.origin.tolist()
        return [
            row
            for row, (split, name) in enumerate(zip(self.splits, self.ids, strict=True))
            if split in splits and (variants or own[row] == row) and (first is None or name in first)
        ]

    def filled(self, resolution: int) -> Tensor:
        """(N, R, R, R) bool, the grids of all rows; worked out once, as that is slow."""
        if resolution not in self.unpacked:
            self.unpacked[resolution] = torch.cat([grids(some, resolution) for some in self.grids.split(32)])
        return self.unpacked[resolution]

    def batch(self, rows: Tensor, views: Tensor, resolution: int, cover: bool = False) -> dict[str, Any]:
        """As `make_batch` has it, of single views (B,) of the rows (B,)."""
        found = {
            "images": self.images[rows, views][:, None],
            "occupancy": self.filled(resolution)[rows].float(),
            "model": rows,
            "origin": self.origin[rows],
        }
        if cover:
            found["cover"] = self.cover[rows, views][:, None].float() / 255
        return found | ({} if self.points is None else {"points": self.points[rows]})


def read_store(folder: Path, image_size: tuple[int, int]) -> Store:
    """All shards of a folder; variants are rows of the training split."""
    images, cover, packed, points, synsets, ids, splits = [], [], [], [], [], [], []
    for path in sorted(folder.glob("*/*.h5")):
        with h5py.File(path, locking=False) as file:
            synset, split = str(file.attrs["synset"]), str(file.attrs["split"])
            names = [value.decode() for value in file["model_id"][:]]
            for start in range(0, len(names), 32):
                views = torch.from_numpy(file["views"][start : start + 32]).to(device())
                masks = unpack_bits(torch.from_numpy(file["masks"][start : start + 32]).to(device()), views.shape[-1])
                images.append(prepare(views, masks, image_size))
                covered = prepare(torch.full_like(views, 255), masks, image_size)
                cover.append((255 * covered).round().to(torch.uint8))
            packed.append(torch.from_numpy(file["occupancy"][:]).to(device()))
            if "points" in file:
                points.append(torch.from_numpy(file["points"][:]).to(device()))
            synsets += len(names) * [synset]
            splits += len(names) * [split]
            ids += names
    row_of = {name: row for row, name in enumerate(ids)}
    owner = [name.rpartition("~")[0] if of == VARIANTS else name for name, of in zip(ids, splits, strict=True)]
    origin = torch.tensor([row_of[name] for name in owner], device=device())
    splits = ["train" if of == VARIANTS else of for of in splits]
    clouds = torch.cat(points) if len(points) == len(packed) else None
    return Store(torch.cat(images), torch.cat(cover), torch.cat(packed), clouds, origin, synsets, ids, splits)


class StoreFeed(Feed):
    """What a training reads, from a store.

    Args:
        store: of all models.
        rows, val: of the store to train and validate on.
        until: `time.monotonic()` at which it gives up with Late.
        params, config: as of Feed.
    """

    def __init__(self, store: Store, rows: list[int], val: list[int], until: float, params: Params, config: Any):
        self.store, self.until, self.params, self.config = store, until, params, config
        self.rows, self.val = (torch.tensor(some, device=device()) for some in (rows, val))

    def training(self, step: int) -> Iterator[dict[str, Any]]:
        store, params = self.store, self.params
        names = [store.synsets[row] for row in self.rows.tolist() for _ in range(store.views)]
        groups = names if params.balanced else None
        for some in Batches(len(names), params.batch_size, range(step, params.steps), params.seed, groups=groups):
            if time.monotonic() > self.until:
                raise Late
            yield self._batch(self.rows, torch.tensor(some, device=device()), store.views)

    def validation(self) -> Iterator[dict[str, Any]]:
        return self._all(self.val, min(self.params.validation_views, self.store.views))

    def memory(self) -> Iterator[dict[str, Any]]:
        return self._all(self.rows, self.store.views)

    def some(self, items: Sequence[int]) -> dict[str, Any]:
        """As many, the first ones: a store's items are not the shards'."""
        return self._batch(self.val, torch.arange(min(len(items), len(self.val)), device=device()), 1)

    def _all(self, rows: Tensor, views: int) -> Iterator[dict[str, Any]]:
        items = torch.arange(len(rows) * views, device=device())
        return (self._batch(rows, some, views) for some in items.split(AT_ONCE))

    def _batch(self, rows: Tensor, items: Tensor, views: int) -> dict[str, Any]:
        cover = self.params.augment.background > 0
        return self.store.batch(rows[items // views], items % views, self.config.resolution, cover)
