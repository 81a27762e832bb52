"""View2implicit: from photos to a function that says of any point whether it is inside.

"Single View to 3D", a course report: section 3.1, the idea of "Occupancy Networks", Lars Mescheder, Michael Oechsle,
Michael Niemeyer, Sebastian Nowozin, Andreas Geiger, 2018, arXiv:1812.03828. Differences from the report:
 1. The encoder is not pretrained (`layers/encoders.py`).
 2. The first layer of the decoder, of features and coordinates together, is written as the sum of one of each: the
    features' half is worked out once an object, not once a point.
 3. Of the points to learn from, a share is near the surface (Gaussian noise around points on it), where uniform ones
    are rare.
 4. First weights: those of the hidden layers by He et al. 2015 (arXiv:1502.01852).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.layers.blocks import check, full
from model.layers.encoders import EncoderConfig, EncoderModel, perceptron
from model.layers.pointloss import some

CHUNK = 2**16  # points decoded at a time in a prediction: 64 MiB for a hidden layer of 256


@dataclass(frozen=True)
class Config(EncoderConfig):
    """The defaults are the seed's decoder.

    Args:
        hidden: widths of the layers before the last.
        points: to learn from, a step and object.
        surface_share: how many of them lie near the surface; the others are uniform in the unit cube.
        surface_noise: standard deviation of their distance to it on each axis.

    Further ones in EncoderConfig.

    Raises:
        ValueError: a field that can't be, by name.
    """

    hidden: tuple[int, ...] = (256, 128, 64)
    points: int = 1000
    surface_share: float = 0.5
    surface_noise: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        check("surface_share", self.surface_share, "a share from 0 to 1", 0 <= self.surface_share <= 1)
        check("surface_noise", self.surface_noise, "0 or more", self.surface_noise >= 0)


class Field(nn.Module):
    """Features (B, D) and points (B or 1, N, 3) of the unit cube -> occupancy logits (B, N)."""

    def __init__(self, width: int, hidden: tuple[int, ...]):
        super().__init__()
        self.features, self.position = nn.Linear(width, hidden[0]), nn.Linear(3, hidden[0], bias=False)
        nn.init.kaiming_normal_(self.features.weight, nonlinearity="relu")
        nn.init.kaiming_normal_(self.position.weight, nonlinearity="relu")
        self.rest = perceptron(*hidden, 1)

    def forward(self, features: Tensor, points: Tensor) -> Tensor:
        return self.rest(F.relu(self.features(features)[:, None] + self.position(points.to(features.dtype)))).squeeze(2)


class Model(EncoderModel):
    """See `model/__init__.py`."""

    targets = ("occupancy", "points")
    output = "occupancy"
    config: Config

    def __init__(self, config: Config):
        super().__init__(config)
        self.field = Field(self.width, config.hidden)

    def losses(self, batch: dict[str, Any], part: str) -> dict[str, Tensor]:
        """Binary cross-entropy, a mean over points."""
        points = self.sample(batch["points"])
        logits = self.field(self.features(batch["images"]), points)
        return {"field": F.binary_cross_entropy_with_logits(full(logits), occupied(batch["occupancy"], points))}

    def sample(self, surface: Tensor) -> Tensor:
        """Points (B, N, 3) of the unit cube to learn from, given points (B, P, 3) of the surface."""
        near = some(surface, round(self.config.surface_share * self.config.points))
        near = near + self.config.surface_noise * torch.randn_like(near)
        size = len(surface), self.config.points - near.shape[1], 3
        anywhere = torch.rand(size, dtype=surface.dtype, device=surface.device) - 0.5
        return torch.cat([near.clamp(-0.5, 0.5), anywhere], dim=1)

    def predict(self, images: Tensor) -> Tensor:
        """Occupancy logits (B, R, R, R) at the cells' centres of `images` (B, V, C, H, W)."""
        features, side = self.features(images), self.config.resolution
        centres = (torch.arange(side, device=images.device) + 0.5) / side - 0.5
        parts = torch.cartesian_prod(centres, centres, centres).split(max(1, CHUNK // len(features)))
        return torch.cat([self.field(features, part[None]) for part in parts], dim=1).unflatten(1, 3 * [side])


def occupied(occupancy: Tensor, points: Tensor) -> Tensor:
    """What a grid says of the cells that points lie in.

    Args:
        occupancy: (B, R, R, R).
        points: (B, N, 3) in the unit cube; on the border between two cells the upper one counts.

    Returns:
        (B, N) values of `occupancy`.
    """
    side = occupancy.shape[-1]
    x, y, z = ((points + 0.5) * side).long().clamp(0, side - 1).unbind(dim=2)
    return occupancy[torch.arange(len(points), device=points.device)[:, None], x, y, z]
