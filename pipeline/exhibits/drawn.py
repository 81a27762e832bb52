"""What is drawn: views of the shards, their grids, and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from pipeline.pages.pictures import CELL, Surface, dots
from pipeline.scoring.predictions import Prediction
from pipeline.shards.batches import grids, unpack_bits
from pipeline.shards.layout import ShardDataset
from pipeline.shards.views import prepare


def photo(raw: dict[str, Any]) -> np.ndarray:
    """(H, W) or (H, W, 3) uint8, as large as a cell of the sheet: the view as the network gets it, finer, on white."""
    mask = unpack_bits(raw["masks"], raw["views"].shape[-1])
    views = raw.get("color", raw["views"])
    picture, alpha = (prepare(v, mask, (CELL[1], CELL[0]))[0, 0] for v in (views, 255 * mask.byte()))
    return ((picture + 1 - alpha) * 255).round().byte().movedim(0, -1).squeeze(-1).numpy()


def solid(grid: np.ndarray) -> Surface:
    """The surface of a grid (1, R, R, R) float."""
    return Prediction(field=grid[0]).surface(0.5)


def looked_up(train: ShardDataset, answers: Sequence[str]) -> list[Surface]:
    """The training shapes that `nearest_image` answered with, by `synset/model_id`."""
    places = {"/".join(model): index * train.groups for index, model in enumerate(train.models)}
    packed = (torch.from_numpy(train[places[answer]]["occupancy"])[None] for answer in answers)
    return [solid(grids(grid, train.resolution).float().numpy()) for grid in packed]


def surface_of(prediction: Prediction, threshold: float) -> Surface:
    """To be drawn; of points a ball for each."""
    return prediction.surface(threshold) if prediction.points is None else dots(prediction.points)
