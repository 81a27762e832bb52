"""A system whose every prediction is known: it gives its one parameter, whatever the photo."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline import checkpoints

NAME = "model.constant_system"


@dataclass(frozen=True)
class Config:
    image_size: tuple[int, int] = (12, 16)
    resolution: int = 16


class Model(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros((config.resolution,) * 3))

    def predict(self, images: Tensor) -> Tensor:
        return self.logits.expand(len(images), *self.logits.shape)


def write_checkpoint(path: Path, probabilities: Tensor) -> None:
    """A checkpoint of a network that predicts these (R, R, R) probabilities."""
    module = sys.modules[NAME] = sys.modules[__name__]
    about = checkpoints.describe("constant", module, Config(resolution=len(probabilities)))
    state = {"logits": torch.logit(probabilities.float())}
    checkpoints.save(path, about | {"module": "constant_system", "state": state})
