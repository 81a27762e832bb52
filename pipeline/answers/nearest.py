"""The training shape that looks most like a photo: one that a network remembers, or one of this folder's shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from model.layers.descriptors import SIZE, descriptor
from pipeline.answers.network import Network, see
from pipeline.runtime.machine import device, one_thread
from pipeline.runtime.params import PARAMS_FILE, Dataset, load
from pipeline.scoring.neighbours import nearest_rows
from pipeline.scoring.predictions import Prediction
from pipeline.scoring.scorer import batches, images_of
from pipeline.shards.batches import grids
from pipeline.shards.layout import SHARDS, ShardDataset
from pipeline.sources.categories import category
from pipeline.sources.photos import Photo

BATCH, MOST = 64, 2048  # views that are described at a time, and in all


@dataclass(frozen=True)
class Shapes:
    """Training shapes to look up.

    Attributes:
        dataset: the training split.
        views: of its items those that are looked up.
        keys: (N, D) float32, a row a view: its histograms of gradients.
    """

    dataset: ShardDataset
    views: range
    keys: Tensor

    def nearest(self, photos: Sequence[Photo]) -> tuple[Prediction, str]:
        """The shape of the view that looks most alike, as `nearest_image` finds it, and what it is, in words."""
        item = self.views[int(nearest_rows(descriptor(see(photos, SIZE)), self.keys))]
        synset, model = self.dataset.models[item // self.dataset.groups]
        grid = torch.from_numpy(self.dataset[item]["occupancy"])[None]
        cells = grids(grid, self.dataset.resolution)[0].float().numpy()
        return Prediction(field=cells), f"{category(synset).replace('_', ' ')} {model[:12]}"


@cache
def packed() -> Shapes | None:
    """Of the shards of the data set that params.yaml in this folder names; None where there are none."""
    if not (PARAMS_FILE.is_file() and SHARDS.is_dir()):
        return None
    try:
        categories = load("dataset", Dataset).categories
        views, shapes = (ShardDataset(SHARDS, categories, "train", targets=t) for t in ((), ("occupancy",)))
    except ValueError:  # not packed yet, or another project's
        return None
    some = range(0, len(views), -(-len(views) // MOST))
    with one_thread(), torch.inference_mode():
        keys = [descriptor(images_of(raw, SIZE, device())) for raw in batches(views, some, BATCH)]
    return Shapes(shapes, some, torch.cat(keys))


@torch.inference_mode()
def remembered(network: Network, photos: Sequence[Photo]) -> Prediction | None:
    """The shape in a network's memory that looks most alike to it; None of a network without one."""
    model = network.model
    if not hasattr(model, "look_up"):
        return None
    images = network.see(photos)
    with one_thread():
        found = model.look_up(model.keys_of(images, model.encoded(images)))
    return Prediction(field=found[0, 0].cpu().numpy().astype(np.float32))
