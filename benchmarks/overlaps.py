"""IoU at SIDE^3 of views of a store: of what a network predicts of them, and of what is looked up by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.store import AT_ONCE, Store
from model.layers.descriptors import descriptor
from pipeline.runtime.machine import device
from pipeline.scoring.distances import iou
from pipeline.scoring.neighbours import nearest_rows
from pipeline.training.backgrounds import before

SIDE = 32  # of the grids by which everything is compared
THRESHOLDS = [round(0.05 * n, 2) for n in range(1, 20)]


@torch.inference_mode()
def overlaps(
    network: Any,
    store: Store,
    rows: Sequence[int],
    views: int,
    both: bool = False,
    background: bool = False,
    thresholds: Sequence[float] = THRESHOLDS,
) -> np.ndarray:
    """(N * views, T): IoU at SIDE^3 of every view's prediction at each of the thresholds.

    Args:
        both: whether the mean of the answers to a view and to its mirror image is scored.
        background: whether the objects stand before something, the same for every network.
    """
    network.eval()
    items = torch.arange(len(rows) * views, device=device())
    given, found, rng = torch.tensor(rows, device=device()), [], np.random.default_rng(0)
    for some in items.split(AT_ONCE):
        batch = store.batch(given[some // views], some % views, network.config.resolution, cover=background)
        images = batch["images"]
        if background:
            every = torch.ones(len(images), dtype=torch.bool, device=device())
            images = before(images[:, 0], batch["cover"][:, 0], every, rng)[:, None]
        logits = network.predict(images).float()
        if both:
            logits = (logits + network.predict(images.flip(-1)).float().flip(1)) / 2
        likely, truth = coarse(logits.sigmoid()), coarse(batch["occupancy"]) > 0
        found.append(torch.stack([iou(likely > t, truth) for t in thresholds], dim=1))
    return torch.cat(found).cpu().numpy()


def coarse(fields: Tensor) -> Tensor:
    """(B, R, R, R) -> (B, SIDE, SIDE, SIDE), the largest of each block: passing a threshold first changes nothing."""
    return torch.nn.functional.max_pool3d(fields[:, None], fields.shape[-1] // SIDE)[:, 0]


@torch.inference_mode()
def nearest_image(store: Store, rows: Sequence[int], asked: Sequence[int], views: int) -> np.ndarray:
    """(N * views,): IoU at SIDE^3 of the shape of the nearest view of `rows` with each of the views of `asked`."""

    def described(some: Sequence[int], count: int) -> Tensor:
        images = store.images[list(some), :count].flatten(0, 1)[:, None]
        return torch.cat([descriptor(part) for part in images.split(AT_ONCE)])

    nearest = nearest_rows(described(asked, views), described(rows, store.views)).to(device()) // store.views
    found, filled = torch.tensor(rows, device=device())[nearest], store.filled(SIDE)
    truth = torch.tensor(asked, device=device()).repeat_interleave(views)
    pairs = zip(found.split(AT_ONCE), truth.split(AT_ONCE), strict=True)
    return torch.cat([iou(filled[a], filled[b]) for a, b in pairs]).cpu().numpy()
