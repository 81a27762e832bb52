"""What two systems or more are built of: checks of a Config, networks over grids, the losses of a VAE-GAN."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FIRST_LOGIT = -2.5  # an occupancy of 0.08, about what solid shapes fill of the unit cube


def check(name: str, value: Any, expected: str, holds: bool) -> None:
    """ValueError that names a field of a Config, what was expected and what came, unless it `holds`."""
    if not holds:
        raise ValueError(f"{name}: expected {expected}, got {value}")


def upwards(channels: tuple[int, ...], bias: bool = True) -> list[nn.Module]:
    """Transposed convolutions, each twice as wide: (B, channels[0], r, r, r) -> logits (B, 1, R, R, R), R = r 2^n.

    Args:
        channels: before each.
        bias: whether those have one that batch normalisation follows, which undoes it.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers += [nn.ConvTranspose3d(before, after, 4, 2, 1, bias=bias), nn.BatchNorm3d(after), nn.ReLU()]
    last = Doubling(channels[-1], 1)
    nn.init.constant_(last.bias, FIRST_LOGIT)  # type: ignore[arg-type]
    return [*layers, last]


class Doubling(nn.ConvTranspose3d):
    """A transposed convolution of kernel 4, stride 2 and padding 1, for few output channels (C).

    It is worked out as a convolution of kernel 3 to 8 C channels, the halves of the new cells along each axis, which
    are then put side by side: the same sums. What libraries have for a single channel takes 2.5 times as long forward
    on a CPU, and on an H100 an eighth of a small network's whole step.
    """

    taps: Tensor

    def __init__(self, before: int, after: int):
        super().__init__(before, after, 4, 2, 1)
        # Along an axis, what each half of a cell takes from the cells before, at and after it: a weight of the four.
        axis = torch.zeros(4, 2, 3)
        axis[[3, 1, 2, 0], [0, 0, 1, 1], [0, 1, 1, 2]] = 1
        self.register_buffer("taps", _cubed(axis), persistent=False)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        weight = (self.weight.flatten(2) @ self.taps).unflatten(2, (8, 3, 3, 3))
        halves = F.conv3d(x, weight.permute(1, 2, 0, 3, 4, 5).flatten(0, 1), padding=1)
        cells = halves.unflatten(1, (-1, 2, 2, 2)).permute(0, 1, 5, 2, 6, 3, 7, 4)
        return cells.flatten(6).flatten(4, 5).flatten(2, 3) + self.bias.to(cells.dtype)[:, None, None, None]  # type: ignore[union-attr]


def downwards(channels: tuple[int, ...]) -> list[nn.Module]:
    """Convolutions, each half as wide: (B, 1, R, R, R) -> (B, channels[-1], r, r, r), r = R / 2^n."""
    layers: list[nn.Module] = []
    for before, after in pairwise((1, *channels)):
        layer = Halving(1, after) if before == 1 else nn.Conv3d(before, after, 4, 2, 1, bias=False)
        layers += [layer, nn.BatchNorm3d(after), nn.LeakyReLU(0.2)]
    return layers


class Halving(nn.Conv3d):
    """A convolution of kernel 4, stride 2 and padding 1, without bias, for few input channels (C) and even sizes.

    On CUDA it is worked out as one of kernel 3 from 8 C channels, the cells of cubes of two put one after the other:
    the same sums in a third of the time on an H100. On a CPU it would be no faster.
    """

    taps: Tensor

    def __init__(self, before: int, after: int):
        super().__init__(before, after, 4, 2, 1, bias=False)
        # Along an axis, the weight of the four that each half of the cubes before, at and after a cell is given.
        axis = torch.zeros(4, 2, 3)
        axis[[0, 1, 2, 3], [1, 0, 1, 0], [0, 1, 1, 2]] = 1
        self.register_buffer("taps", _cubed(axis), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.of_cubes(x) if x.is_cuda else super().forward(x)

    def of_cubes(self, x: Tensor) -> Tensor:
        weight = (self.weight.flatten(2) @ self.taps).unflatten(2, (8, 3, 3, 3)).flatten(1, 2)
        cubes = x.unflatten(4, (-1, 2)).unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).permute(0, 1, 3, 5, 7, 2, 4, 6)
        return F.conv3d(cubes.flatten(1, 4).contiguous(memory_format=torch.channels_last_3d), weight, padding=1)


def _cubed(axis: Tensor) -> Tensor:
    """What a kernel's weights become along one axis, (4, halves 2, taps 3), along all three: (4^3, 6^3)."""
    return torch.einsum("xap,ybq,zcr->xyzabcpqr", axis, axis, axis).reshape(4**3, 6**3)


def volumetric(*layers: nn.Module) -> nn.Sequential:
    """The layers in sequence, channels last in memory: on a CPU convolutions over volumes are then faster."""
    return nn.Sequential(*layers).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


def full(x: Tensor) -> Tensor:
    """Half precision as float32, and what is no less as it is: losses are worked out in it, in any precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def drawn(mu: Tensor, logvar: Tensor) -> Tensor:
    """A draw from N(mu, exp(logvar)), differentiable in both (Kingma & Welling 2014, arXiv:1312.6114)."""
    return mu + torch.randn_like(mu) * (logvar / 2).exp()


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, 1)) of (B, latent), summed over the latent, averaged over the batch."""
    mu, logvar = full(mu), full(logvar)
    return -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(dim=1).mean()


def deceiving(discriminator: nn.Module, logits: Tensor) -> Tensor:
    """The generator's loss -log D(generated) for occupancy logits (B, 1, R, R, R); D ends in a logit."""
    return F.softplus(-full(discriminator(logits.sigmoid()))).mean()


def judging(discriminator: nn.Module, real: Tensor, logits: Tensor, accuracy: Tensor, gate: float) -> Tensor:
    """The discriminator's loss -log D(real) - log(1 - D(generated)), each a mean over its batch.

    Args:
        discriminator: grids of values in [0, 1] -> logits (B, 1), positive for real.
        real: (B, R, R, R) occupancy in {0, 1}.
        logits: (B, 1, R, R, R) of generated grids, without gradient.
        accuracy: () of the last batch; set to this one's.
        gate: where `accuracy` exceeds it, the loss has no gradient, or one of zeros where to know would be to wait for
            the device: the discriminator rests (Wu et al. 2016).
    """
    awake = accuracy <= gate
    with torch.set_grad_enabled(waits(awake) or bool(awake)):
        given = real[:, None].to(logits.dtype), logits.sigmoid()
        true, false = (full(discriminator(grids)) for grids in given)
        loss = F.softplus(-true).mean() + F.softplus(false).mean()
    accuracy.copy_(torch.cat([true > 0, false < 0]).float().mean())
    return torch.where(awake, loss, loss.detach())


def waits(value: Tensor) -> bool:
    """Whether Python would have to wait for the device that works out `value`, to look at it."""
    return value.device.type != "cpu"
