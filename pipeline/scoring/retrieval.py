"""Answers that are training shapes: what looking up scores, to put beside what a network makes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from pipeline.runtime.command import progress
from pipeline.runtime.forks import spread
from pipeline.runtime.machine import device
from pipeline.scoring.neighbours import nearest_rows
from pipeline.scoring.predictions import Prediction
from pipeline.scoring.scorer import batches, images_of
from pipeline.shards.batches import unpack_bits
from pipeline.shards.layout import ShardDataset


def lookups(
    dataset: ShardDataset, found: Mapping[int, int], shapes: Tensor, resolution: int, label: str
) -> Iterator[tuple[Sequence[int], Prediction]]:
    """Every item's answer; the items of a model that have the same one come together.

    Args:
        dataset: the split that is asked about.
        found: item -> the training model that is its answer.
        shapes: (M, ceil(R^3/8)) uint8, the training models' solid grids, packed.
        resolution: R.
    """
    answers: dict[tuple[int, int], list[int]] = {}
    for item, shape in sorted(found.items()):
        answers.setdefault((item // dataset.groups, shape), []).append(item)
    with progress(label, len(found), "view") as bar:
        for (_, shape), items in sorted(answers.items()):
            cells = unpack_bits(shapes[shape], resolution**3)
            yield items, Prediction(field=cells.view(*[resolution] * 3).float().numpy())
            bar.update(len(items))


def nearest_models(
    describe: Callable[[Tensor], Tensor],
    image_size: tuple[int, int],
    train: ShardDataset,
    test: ShardDataset,
    items: Sequence[int],
    batch_size: int,
    label: str,
) -> dict[int, int]:
    """Item of `test` -> the model of `train` that has the view which looks most alike.

    Args:
        describe: images (B, 1, C, H, W) -> (B, D) float; views are alike whose descriptions are near.
        image_size: (H, W).
    """
    where = device()

    def descriptions(dataset: ShardDataset, some: Sequence[int], what: str) -> Tensor:
        @torch.inference_mode()
        def described(part: Sequence[int]) -> np.ndarray:
            (raw,) = batches(dataset, part, len(part))
            return describe(images_of(raw, image_size, where)).float().cpu().numpy()

        parts = ((some[first : first + batch_size],) for first in range(0, len(some), batch_size))
        found = []
        with progress(f"{label}, {what}", len(some), "view") as bar:
            for part in (spread if where == "cpu" else itertools.starmap)(described, parts):
                found.append(part)
                bar.update(len(part))
        return torch.from_numpy(np.concatenate(found)).to(where)

    views, asked = descriptions(train, range(len(train)), "training views"), descriptions(test, items, "views")
    try:
        nearest = nearest_rows(asked, views)
    except ValueError as error:
        raise ValueError(f"{label}: {error}") from error
    return {item: int(view) // train.groups for item, view in zip(items, nearest.tolist(), strict=True)}
