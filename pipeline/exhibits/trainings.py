"""How a system came to its answers, and what they hang on."""

from __future__ import annotations

import numpy as np
from PIL import Image

from pipeline.answers.looks import look
from pipeline.exhibits.drawn import photo, solid, surface_of
from pipeline.exhibits.systems import System, batch_of, items_of
from pipeline.pages.heat import Look, looked_into
from pipeline.pages.picks import choose
from pipeline.pages.pictures import strip
from pipeline.runtime.machine import device, one_thread
from pipeline.scoring.scorer import batches
from pipeline.scoring.tables import METRICS
from pipeline.shards.batches import grids
from pipeline.shards.layout import ShardDataset
from pipeline.sources.categories import category
from pipeline.training import snapshots
from pipeline.training.snapshots import SNAPSHOTS

MOMENTS = 5  # of the training that are shown, the first and the last validation among them
LOOKED_INTO, COARSE = 3, 4  # test models whose answers are explained, and squares along the shorter side of a view


def course(system: str, val: ShardDataset) -> Image.Image:
    """What was predicted of a few validation models at MOMENTS of the training; ValueError where that is not known."""
    path = SNAPSHOTS / f"{system}.npz"
    items, shots = snapshots.read(path)
    if not shots or max(items) >= len(val):
        raise ValueError(
            f"{path}: expected predictions of the {len(val)} validation views, got {len(shots)} of {items}"
        )
    moments = sorted({round(place) for place in np.linspace(0, len(shots) - 1, MOMENTS)})
    rows = []
    for index, raw in enumerate(batches(val, items, 1)):
        truth = solid(grids(raw["occupancy"], val.resolution).float().numpy())
        taken = [shots[moment][1][index] for moment in moments]
        found = [surface_of(shape, 0.5) for shape in taken]
        rows.append((photo(raw), truth, found))
    return strip(rows, [f"{shots[moment][0]:,}" for moment in moments])


def hangs_on(system: System, test: ShardDataset) -> Image.Image:
    """What its answers to LOOKED_INTO test models hang on, of the first one with what attention reads."""
    picks = choose(list(system.samples.values()), LOOKED_INTO, system.shown[0])
    found: list[Look] = []
    for item, pick in zip(items_of(test, [pick.score for pick in picks], system.name), picks, strict=True):
        images = batch_of(system, test, item)[1]["images"].to(device())
        name = category(pick.score["synset"]).replace("_", " ")
        score = f"{METRICS[system.shown[0]][0].replace('³', '^3')} {float(pick.score[system.shown[0]]):.3f}"
        words = f"{name} {pick.score['model_id'][:12]}, view {pick.score['view']}, {score}"
        with one_thread():
            found.append(look(system.network, images, system.threshold, words, COARSE, reads=not found))
    return looked_into(found)
