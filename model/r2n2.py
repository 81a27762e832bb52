"""3D-R2N2: a recurrent network from one or several photos of an object to a voxel grid.

"3D-R2N2: A Unified Approach for Single and Multi-view 3D Object Reconstruction", Choy, Xu, Gwak, Chen and Savarese,
ECCV 2016 (arXiv:1604.00449), by way of "Implementation of 3D-R2N2 [...] using PyTorch", Zverev, Korkmaz, Kalkan and
Tejero Cervera (the study). Eight configurations: `layers` simple or residual, `cell` lstm or gru, `kernel` 1 or 3.
`Config()` has the paper's sizes. What differs:

Input and training
 1. Images are grayscale on black, or RGB with `color`, of any size; the paper's are RGB, 127x127, less the mean image,
    on random backgrounds, cropped and mirrored at random.
 2. AdamW, with the trainer's rate and decay; the paper has Adam and L2 decay. The study prints a learning rate of
    10^-10, at which nothing is learned.
 3. The loss is the mean over the voxels, as in the authors' code; the papers have the sum, the study's without a minus.
 4. The number of views is drawn by batch, since it is the length of the recurrence; which ones, and in what order, by
    object, without repetition.

Network
 5. The softmax over two channels is the sigmoid of their difference: loss and prediction are taken from that logit,
    where nothing overflows. With `head` logit, the network gives it itself.
 6. Unpooling leaves zeros between the values. With the convolution that follows, it is a transposed convolution of
    stride 2: the same function of as many weights, for an eighth of the work.
 7. Around a pair of convolutions goes the identity, or a 1x1 convolution where the number of channels changes; nothing
    around pairs 1 and 4 of the encoder, as in the authors' code. That code departs from this rule twice, at 32^3 but
    not at 64^3: a 1x1 convolution around pair 5, and in the decoder's last pair a 3x3x3 one, from its middle.
 8. The leak is the paper's 0.1; the authors' code has 0.01.
 9. First weights are all by He et al. 2015 (arXiv:1502.01852), the paper's but for its LSTM's; their fan-in is what is
    really there, an eighth after an unpooling. Where a connection goes around it, a pair's second convolution starts
    at half of that. Biases are the paper's 0.1; but the last is the logit of a mostly empty grid.

Wider
10. Image size, channels, widths and both grids are configuration; a grid of 64^3 has one more unpooling.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import log2, sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.layers.losses import occupancy_losses

LAYERS = ("simple", "residual")
HEADS = {"softmax": 2, "logit": 1}  # channels
LEAK = 0.1
FIRST_BIAS = 0.1
FIRST_LOGIT = -2.5  # an occupancy of 0.08, about what solid shapes fill of the unit cube
UNCONNECTED = (0, 3)  # pairs of the encoder


@dataclass(frozen=True)
class Config:
    """The defaults are the sizes of the paper, for its best configuration.

    Args:
        layers: `simple` or `residual`, of encoder and decoder: single convolutions, or pairs with a connection around.
        cell: `lstm` or `gru`.
        kernel: side of the recurrence's convolution, odd: how far the cells of the grid see each other in a step.
        head: `softmax` over two channels, or `logit`, a single one.
        image_size: (H, W) of the input.
        color: whether images have red, green and blue, as the paper's.
        resolution: R of the output, a multiple of `grid` by a power of two.
        views: the most that the network is trained on; V of a batch.
        encoder_channels: output channels of each layer of the encoder; each halves the image.
        features: width of the encoder's output.
        hidden: channels of the recurrence's state.
        grid: side of the recurrence's grid of cells.
        decoder_channels: output channels of each layer of the decoder but the last; the first ones double the grid.
        dice_weight, surface_weight: of the losses, see `layers/losses.py`.

    Raises:
        ValueError: a choice or size that can't be, by name.
    """

    layers: str = "residual"
    cell: str = "gru"
    kernel: int = 3
    head: str = "softmax"
    image_size: tuple[int, int] = (127, 127)
    color: bool = False
    resolution: int = 32
    views: int = 20
    encoder_channels: tuple[int, ...] = (96, 128, 256, 256, 256, 256)
    features: int = 1024
    hidden: int = 128
    grid: int = 4
    decoder_channels: tuple[int, ...] = (128, 128, 64, 32)
    dice_weight: float = 0.0
    surface_weight: float = 0.0

    def __post_init__(self) -> None:
        for name, choices in (("layers", LAYERS), ("cell", CELLS), ("head", HEADS)):
            _check(name, getattr(self, name), " or ".join(choices), getattr(self, name) in choices)
        for name, value in vars(self).items():
            if isinstance(value, tuple):
                _check(name, value, "one or more positive numbers", bool(value) and min(value) > 0)
            elif isinstance(value, int) and not isinstance(value, bool):
                _check(name, value, "a positive number", value > 0)
        for name in ("dice_weight", "surface_weight"):
            _check(name, getattr(self, name), "0 or more", getattr(self, name) >= 0)
        _check("kernel", self.kernel, "an odd number", self.kernel % 2 == 1)
        sizes = [self.grid * 2**doublings for doublings in range(len(self.decoder_channels) + 1)]
        _check("resolution", self.resolution, f"one of {sizes}", self.resolution in sizes)


def _check(name: str, value: Any, expected: str, holds: bool) -> None:
    if not holds:
        raise ValueError(f"{name}: expected {expected}, got {value}")


class Unpool(nn.Module):
    """(N, C, D, H, W) -> (N, C, 2D, 2H, 2W): each value in the first of eight cells, zeros in the others."""

    def forward(self, x: Tensor) -> Tensor:
        finer = x.new_zeros(*x.shape[:2], *(2 * side for side in x.shape[2:]))
        finer[..., ::2, ::2, ::2] = x
        return finer


class Pair(nn.Module):
    """Two convolutions, and a connection around both if there is one."""

    def __init__(self, first: nn.Module, second: nn.Module, around: nn.Module | None):
        super().__init__()
        self.first, self.second, self.around = first, second, around

    def forward(self, x: Tensor) -> Tensor:
        path = F.leaky_relu(self.second(F.leaky_relu(self.first(x), LEAK)), LEAK)
        return path if self.around is None else path + self.around(x)


def encoder(config: Config) -> nn.Sequential:
    """Images (N, C, H, W) -> features (N, features)."""
    blocks: list[nn.Module] = []
    for number, (before, after) in enumerate(pairwise((3 if config.color else 1, *config.encoder_channels))):
        kernel = 3 if number else 7
        first = nn.Conv2d(before, after, kernel, padding=kernel // 2)
        # Max pooling over a border of minus infinity halves, rounds up where it can, and never ends in nothing.
        pool = nn.MaxPool2d(2, padding=1)
        if config.layers == "simple":
            blocks += [first, pool, nn.LeakyReLU(LEAK)]
        else:
            around = nn.Identity() if before == after else nn.Conv2d(before, after, 1)
            second = nn.Conv2d(after, after, 3, padding=1)
            blocks += [Pair(first, second, None if number in UNCONNECTED else around), pool]
    height, width = config.image_size
    for _ in config.encoder_channels:
        height, width = height // 2 + 1, width // 2 + 1
    last = nn.Linear(config.encoder_channels[-1] * height * width, config.features)
    return nn.Sequential(*blocks, nn.Flatten(), last, nn.LeakyReLU(LEAK))


def _convolution(before: int, after: int, kernel: int, unpools: bool) -> nn.Module:
    if unpools:
        return nn.ConvTranspose3d(before, after, kernel, stride=2, padding=kernel // 2, output_padding=1)
    return nn.Conv3d(before, after, kernel, padding=kernel // 2)


def decoder(config: Config) -> nn.Sequential:
    """State (N, hidden, grid, grid, grid) -> (N, channels of the head, R, R, R)."""
    blocks: list[nn.Module] = []
    channels = (config.hidden, *config.decoder_channels)
    doublings = int(log2(config.resolution // config.grid))
    for number, (before, after) in enumerate(pairwise(channels)):
        unpools = number < doublings
        first = _convolution(before, after, 3, unpools)
        if config.layers == "simple":
            blocks += [first, nn.LeakyReLU(LEAK)]
        else:
            same = Unpool() if unpools else nn.Identity()
            around = same if before == after else _convolution(before, after, 1, unpools)
            blocks.append(Pair(first, _convolution(after, after, 3, False), around))
    last = nn.Conv3d(channels[-1], HEADS[config.head], 3, padding=1)
    # On a CPU, convolutions over volumes are faster with channels last in memory.
    return nn.Sequential(*blocks, last).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


class LSTM(nn.Module):
    """The paper's 3D-LSTM, which has no output gate: (W x, s) -> s, h = tanh(s).

    f, i = sigmoid(W_f x + U_f * h + b_f), sigmoid(W_i x + U_i * h + b_i)
    s = f s + i tanh(W_s x + U_s * h + b_s)
    """

    def __init__(self, channels: int, kernel: int):
        super().__init__()
        self.around = nn.Conv3d(channels, 3 * channels, kernel, padding=kernel // 2)

    def forward(self, seen: Tensor, state: Tensor) -> Tensor:
        forget, write, new = (seen.flatten(1, 2) + self.around(self.hidden(state))).chunk(3, dim=1)
        return forget.sigmoid() * state + write.sigmoid() * new.tanh()

    def hidden(self, state: Tensor) -> Tensor:
        return state.tanh()


class GRU(nn.Module):
    """The paper's 3D-GRU: (W x, h) -> h.

    u, r = sigmoid(W_u x + U_u * h + b_u), sigmoid(W_r x + U_r * h + b_r)
    h = (1 - u) h + u tanh(W_h x + U_h * (r h) + b_h)
    """

    def __init__(self, channels: int, kernel: int):
        super().__init__()
        self.around = nn.Conv3d(channels, 2 * channels, kernel, padding=kernel // 2)
        self.around_kept = nn.Conv3d(channels, channels, kernel, padding=kernel // 2)

    def forward(self, seen: Tensor, state: Tensor) -> Tensor:
        update, reset = (seen[:, :2].flatten(1, 2) + self.around(state)).sigmoid().chunk(2, dim=1)
        new = (seen[:, 2] + self.around_kept(reset * state)).tanh()
        return (1 - update) * state + update * new

    def hidden(self, state: Tensor) -> Tensor:
        return state


CELLS: dict[str, type[LSTM | GRU]] = {"lstm": LSTM, "gru": GRU}


class Recurrence(nn.Module):
    """A grid of cells that read the features of one view after another: (N, V, features) -> (N, hidden, *grid).

    A cell sees the whole image through weights W of its own; what it and its neighbours hold comes through a
    convolution U, the same for all cells.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.shape = (config.hidden, config.grid, config.grid, config.grid)
        self.see = nn.Linear(config.features, 3 * config.hidden * config.grid**3, bias=False)
        self.cell = CELLS[config.cell](config.hidden, config.kernel)

    def forward(self, features: Tensor) -> Tensor:
        state = features.new_zeros(len(features), *self.shape)
        for seen in self.see(features).unflatten(2, (3, *self.shape)).unbind(1):
            state = self.cell(seen, state)
        return self.cell.hidden(state)


def _start(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.Conv3d | nn.ConvTranspose3d | nn.Linear):
        transposed = isinstance(layer, nn.ConvTranspose3d)
        fan_in = layer.weight[:, 0].numel() / 8 if transposed else layer.weight[0].numel()
        nn.init.normal_(layer.weight, std=sqrt(2 / (1 + LEAK**2) / fan_in))
        if layer.bias is not None:
            nn.init.constant_(layer.bias, FIRST_BIAS)
    elif isinstance(layer, Pair) and layer.around is not None:
        # Sums grow from pair to pair, until most cells of the recurrence are saturated before they have learned.
        layer.second.weight.data.mul_(0.5)  # type: ignore[operator]


class Model(nn.Module):
    """See `model/__init__.py`; the only part is `reconstruction`."""

    targets = ("occupancy",)
    output = "occupancy"
    slow_in_bfloat16 = True  # on an H100 57 samples a second at best, where TF32 gives 368

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.encoder, self.recurrence, self.decoder = encoder(config), Recurrence(config), decoder(config)
        self.apply(_start)
        last = torch.tensor({"softmax": [-FIRST_LOGIT / 2, FIRST_LOGIT / 2], "logit": [FIRST_LOGIT]}[config.head])
        self.decoder[-1].bias.data.copy_(last)  # type: ignore[operator]

    def parts(self) -> dict[str, dict[str, Any]]:
        return {"reconstruction": {"params": list(self.parameters())}}

    def losses(self, batch: dict[str, Any], part: str) -> dict[str, Tensor]:
        """Of the grid after random views in random order, from one to all that are given."""
        logits = self.predict(draw(batch["images"]))
        return occupancy_losses(logits, batch["occupancy"], self.config.dice_weight, self.config.surface_weight)

    def predict(self, images: Tensor) -> Tensor:
        """Occupancy logits (B, R, R, R) after the views of `images` (B, V, C, H, W) in their order; deterministic."""
        channels = self.decoder(self.recurrence(self.encode(images)))
        return channels[:, 1] - channels[:, 0] if self.config.head == "softmax" else channels[:, 0]

    def features(self, images: Tensor) -> Tensor:
        """(B, features): the encoder's, averaged over the views."""
        return self.encode(images).mean(dim=1)

    def encode(self, images: Tensor) -> Tensor:
        """(B, V, features) of `images` (B, V, C, H, W), each on its own."""
        return self.encoder(images.flatten(0, 1)).unflatten(0, images.shape[:2])


def draw(images: Tensor) -> Tensor:
    """From `images` (B, V, ...) a random number of views, one for the batch; which and in what order, by object.

    Draws are of torch's generator on the CPU, so that they are the same on every device.
    """
    objects, views = images.shape[:2]
    count = int(torch.randint(1, views + 1, ()))
    drawn = torch.rand(objects, views).argsort(dim=1)[:, :count].to(images.device, non_blocking=True)
    return images[torch.arange(objects, device=images.device)[:, None], drawn]
