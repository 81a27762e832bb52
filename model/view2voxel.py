"""View2voxel: from photos to a voxel grid, by transposed convolutions.

"Single View to 3D", a course report: section 2.1, its network, and 1.1, its loss. Differences:
 1. The encoder is not pretrained (`layers/encoders.py`).
 2. The number of transposed convolutions and their channels are configuration, and with them the grid's size.
 3. Batch normalisation between the transposed convolutions, as in R3D: after 4,000 views of real models a small network
    reached an IoU of 0.27 and 0.26 (two seeds) with it, 0.21 and 0.18 without.
 4. First weights: those of the first layer by He et al. 2015 (arXiv:1502.01852), the last one's bias the logit of a
    mostly empty grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from model.layers.blocks import check, upwards, volumetric
from model.layers.encoders import EncoderConfig, EncoderModel, perceptron
from model.layers.losses import occupancy_losses


@dataclass(frozen=True)
class Config(EncoderConfig):
    """The defaults are the seed's decoder.

    Args:
        decoder_channels: input channels of each transposed convolution, each of which doubles the grid.
        dice_weight, surface_weight: of the losses, see `layers/losses.py`.

    Further ones in EncoderConfig.

    Raises:
        ValueError: a field that can't be, by name.
    """

    decoder_channels: tuple[int, ...] = (64, 32, 16, 8)
    dice_weight: float = 0.0
    surface_weight: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("dice_weight", "surface_weight"):
            check(name, getattr(self, name), "0 or more", getattr(self, name) >= 0)
        factor = 2 ** len(self.decoder_channels)
        check("resolution", self.resolution, f"a multiple of {factor}", self.resolution % factor == 0)


class Model(EncoderModel):
    """See `model/__init__.py`."""

    targets = ("occupancy",)
    output = "occupancy"
    config: Config

    def __init__(self, config: Config):
        super().__init__(config)
        channels = config.decoder_channels
        base = config.resolution // 2 ** len(channels)
        widths = (self.width, channels[0] * base**3)
        shape = (channels[0], base, base, base)
        self.decoder = volumetric(*perceptron(*widths), nn.ReLU(), nn.Unflatten(1, shape), *upwards(channels))

    def losses(self, batch: dict[str, Any], part: str) -> dict[str, Tensor]:
        logits = self.predict(batch["images"])
        return occupancy_losses(logits, batch["occupancy"], self.config.dice_weight, self.config.surface_weight)

    def predict(self, images: Tensor) -> Tensor:
        """Occupancy logits (B, R, R, R) of `images` (B, V, C, H, W)."""
        return self.decoder(self.features(images)).squeeze(1)
