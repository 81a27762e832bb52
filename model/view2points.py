"""View2points: from photos to a point cloud, by fully connected layers.

"Single View to 3D", a course report: section 2.2, its network, and 1.2, its loss. Differences:
 1. The encoder is not pretrained (`layers/encoders.py`).
 2. First weights: those of the hidden layers by He et al. 2015 (arXiv:1502.01852).
 3. Predicted points that leave the unit cube are moved to its faces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from model.layers.blocks import full
from model.layers.encoders import EncoderConfig, EncoderModel, perceptron
from model.layers.pointloss import chamfer_squared, some


@dataclass(frozen=True)
class Config(EncoderConfig):
    """The defaults are the seed's decoder.

    Args:
        hidden: widths of the layers before the last.
        points: of the cloud; as many true ones are drawn anew in every step to compare with.

    Further ones in EncoderConfig.

    Raises:
        ValueError: a field that can't be, by name.
    """

    hidden: tuple[int, ...] = (1024, 2048)
    points: int = 1000


class Model(EncoderModel):
    """See `model/__init__.py`."""

    targets = ("points",)
    output = "points"

    def __init__(self, config: Config):
        super().__init__(config)
        self.points = config.points
        self.decoder = perceptron(self.width, *config.hidden, 3 * config.points)

    def losses(self, batch: dict[str, Any], part: str) -> dict[str, Tensor]:
        """Squared Chamfer distance."""
        return {"chamfer": chamfer_squared(self._cloud(batch["images"]), some(batch["points"], self.points))}

    def predict(self, images: Tensor) -> Tensor:
        """Points (B, P, 3) in the unit cube of `images` (B, V, C, H, W)."""
        return self._cloud(images).clamp(-0.5, 0.5)

    def _cloud(self, images: Tensor) -> Tensor:
        return full(self.decoder(self.features(images))).unflatten(1, (-1, 3))
