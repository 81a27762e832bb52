"""What `view2voxel`, `view2points`, `view2mesh` and `view2implicit` share: they differ in the decoder alone.

The image encoder is a residual network: "Deep Residual Learning for Image Recognition", Kaiming He, Xiangyu Zhang,
Shaoqing Ren, Jian Sun, 2015, arXiv:1512.03385. The defaults are the 18-layer one without its classifier. Differences:
 1. One gray channel comes in, unless `color` says three.
 2. The number of stages, their channels and their blocks are configuration.
 3. Several views of an object are encoded one by one and their features averaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from model.layers.blocks import check


@dataclass(frozen=True)
class EncoderConfig:
    """Base of the four systems' configurations.

    Args:
        image_size: (H, W) of the input.
        resolution: R of the grid that is compared with.
        views: V, the most views of an object that are encoded together.
        color: `images` are (B, V, 3, H, W) then, red, green and blue.
        encoder_channels: of each stage; the last is the width of the features. Every stage but the first halves the
            image, which the layers before them have already made 4 times smaller.
        encoder_blocks: residual blocks of two convolutions in each stage.

    Raises:
        ValueError: a field that can't be, by name.
    """

    image_size: tuple[int, int] = (192, 256)
    resolution: int = 32
    views: int = 1
    color: bool = False
    encoder_channels: tuple[int, ...] = (64, 128, 256, 512)
    encoder_blocks: int = 2

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, tuple):
                check(name, value, "one or more positive numbers", bool(value) and all(size > 0 for size in value))
            elif isinstance(value, int) and not isinstance(value, bool):
                check(name, value, "a positive number", value > 0)
        smallest = 2 ** (len(self.encoder_channels) + 1)
        fits = min(self.image_size) >= smallest
        check("image_size", self.image_size, f"{smallest} or more a side, 4 halved by the later stages", fits)


class ResidualBlock(nn.Module):
    """relu(x' + f(x)), f two 3x3 convolutions; where the shape changes x' is a 1x1 convolution of x, otherwise x."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut = nn.Sequential()
        if (before, stride) != (after, 1):
            self.shortcut.extend([nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)])

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.residual(x))


def residual_encoder(channels: tuple[int, ...], blocks: int, given: int = 1) -> nn.Sequential:
    """Images (N, given, H, W) -> features (N, channels[-1])."""
    stem = [nn.Conv2d(given, channels[0], 7, 2, 3, bias=False), nn.BatchNorm2d(channels[0]), nn.ReLU()]
    stages = [ResidualBlock(channels[0], channels[0], 1) for _ in range(blocks)]
    for before, after in pairwise(channels):
        stages += [ResidualBlock(before, after, 2), *(ResidualBlock(after, after, 1) for _ in range(blocks - 1))]
    return nn.Sequential(*stem, nn.MaxPool2d(3, 2, 1), *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def perceptron(*widths: int) -> nn.Sequential:
    """Fully connected layers, ReLU between them: (..., widths[0]) -> (..., widths[-1]).

    The hidden ones start by He et al. 2015 (arXiv:1502.01852): PyTorch's default lets what the encoder saw fade.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise(widths[:-1]):
        layers += [nn.Linear(before, after), nn.ReLU()]
        nn.init.kaiming_normal_(layers[-2].weight, nonlinearity="relu")  # type: ignore[arg-type]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


class EncoderModel(nn.Module):
    """Base of the four systems: the encoder, and all weights in the one part `reconstruction`."""

    phases: tuple[float, ...] = ()

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.config = config
        self.width = config.encoder_channels[-1]
        self.encoder = residual_encoder(config.encoder_channels, config.encoder_blocks, 3 if config.color else 1)

    def parts(self) -> dict[str, dict[str, Any]]:
        return {"reconstruction": {"params": list(self.parameters())}}

    def features(self, images: Tensor) -> Tensor:
        """(B, D) of `images` (B, V, C, H, W), D the last of `encoder_channels`; the mean over the views."""
        return self.encoder(images.flatten(0, 1)).unflatten(0, images.shape[:2]).mean(dim=1)
