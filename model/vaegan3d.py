"""3D-VAE-GAN: from one photo to a voxel grid; and 3D-GAN, its half that needs no photo.

"Learning a Probabilistic Latent Space of Object Shapes via 3D Generative-Adversarial Modeling", Wu, Zhang, Xue,
Freeman, Tenenbaum, NIPS 2016, arXiv:1610.07584. `Config()` has the paper's layers, weights and learning rates. There

    L = L_3D-GAN + a1 KL(q(z|y) || N(0, I)) + a2 |G(E(y)) - x|,   a1 = 5, a2 = 1e-4.

L_3D-GAN plays with shapes G(z) of z drawn from N(0, I), in which no photo has a part: `Model.sample` and
`Model.interpolate` are 3D-GAN. The discriminator rests while its accuracy on the last batch exceeds 80 %.

Choices that the paper leaves open
 1. What a1 and a2 weigh. The error is the sum of squared differences over a grid of 64^3 cells (their mean, 64^3
    times, so that a2 means the same over other grids); the divergence is a mean over the latent's coordinates. Were it
    their sum, a nat that z knows of the photo would cost 5, while 20,000 wrong cells cost 2: the encoder does
    best to say nothing. Even so a1 = 5 is heavy for a short training; the small entry of params.yaml has less.
 2. The generator's loss is the non-saturating -log D(G(z)) (Goodfellow et al. 2014, arXiv:1406.2661).
 3. The encoder's convolutions are padded so that a stride s leaves 1 / s of the side, rounded up; its last one has the
    size of what is left, 8 x 8 of 256 x 256 pixels. No convolution before a batch normalisation has a bias.

Different
 4. Photos are grayscale, or RGB with `color`. Of several views of an object, mu and log-variance are averaged.
 5. The paper updates encoder and generator one after the other, this system both at once, by the same gradients:
    L_3D-GAN does not reach the encoder, nor the divergence the generator. AdamW instead of Adam.
 6. Grids from photos and from N(0, I) go through the generator in one batch, so that its batch normalisation
    learns one set of means, which serves both. Through these means alone, the two know of one another.
 7. All sizes are configuration, and the adversarial game may begin after a share of the training
    (`adversarial_warmup`).
 8. Generator and discriminator end in logits; the sigmoids are inside the losses. The generator starts with the
    logit of a mostly empty grid. Prediction decodes mu.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from model.layers.blocks import check, deceiving, downwards, drawn, full, judging, kl_divergence, upwards, volumetric
from model.layers.losses import dice

FIRST_SIDE = 4  # cells a side that the generator's first layer makes of the latent vector
CELLS = 64**3  # of the paper's grid, to which the reconstruction error is scaled


@dataclass(frozen=True)
class Config:
    """The defaults are the paper's, and its learning rates those for batches of 100.

    Args:
        image_size: (H, W) of the input.
        color: whether photos have red, green and blue, as the paper's.
        resolution: R of the grid, 4 * 2^n, n the number of `channels`.
        encoder_channels, encoder_kernels, encoder_strides: of each convolution of the encoder but the last.
        latent: width of mu, log-variance and z.
        channels: of the generator after each transposed convolution but the last; the discriminator has them mirrored.
        adversarial_weight, kl_weight, reconstruction_weight: of the losses; the latter two are a1 and a2.
        dice_weight: of one more loss, see `layers/losses.py`.
        adversarial_warmup: share of the training before the adversarial game begins.
        discriminator_gate: accuracy on the last batch above which the discriminator is not updated.
        lr, discriminator_lr: learning rates of encoder and generator, and of the discriminator.
        betas: of their optimizers.

    Raises:
        ValueError: a size, weight or share that can't be, by name.
    """

    image_size: tuple[int, int] = (256, 256)
    color: bool = False
    resolution: int = 64
    encoder_channels: tuple[int, ...] = (64, 128, 256, 512)
    encoder_kernels: tuple[int, ...] = (11, 5, 5, 5)
    encoder_strides: tuple[int, ...] = (4, 2, 2, 2)
    latent: int = 200
    channels: tuple[int, ...] = (512, 256, 128, 64)
    adversarial_weight: float = 1.0
    kl_weight: float = 5.0
    reconstruction_weight: float = 1e-4
    dice_weight: float = 0.0
    adversarial_warmup: float = 0.0
    discriminator_gate: float = 0.8
    lr: float = 0.0025
    discriminator_lr: float = 1e-5
    betas: tuple[float, float] = (0.5, 0.999)

    def __post_init__(self) -> None:
        for name in ("image_size", "encoder_channels", "encoder_kernels", "encoder_strides", "channels"):
            values = getattr(self, name)
            check(name, values, "one or more positive numbers", bool(values) and min(values) > 0)
        check("latent", self.latent, "a positive number", self.latent > 0)
        weights = ("adversarial_weight", "kl_weight", "reconstruction_weight", "dice_weight")
        for name in (*weights, "lr", "discriminator_lr"):
            check(name, getattr(self, name), "0 or more", getattr(self, name) >= 0)
        for name in ("adversarial_warmup", "discriminator_gate"):
            check(name, getattr(self, name), "a share from 0 to 1", 0 <= getattr(self, name) <= 1)
        check("betas", self.betas, "numbers from 0 to below 1", all(0 <= beta < 1 for beta in self.betas))
        for name in ("encoder_kernels", "encoder_strides"):
            count = len(self.encoder_channels)
            check(name, getattr(self, name), f"{count} numbers", len(getattr(self, name)) == count)
        check("encoder_kernels", self.encoder_kernels, "odd numbers", all(k % 2 for k in self.encoder_kernels))
        side = FIRST_SIDE * 2 ** len(self.channels)
        check("resolution", self.resolution, f"{side}, as the channels have it", self.resolution == side)


def encoder(config: Config) -> nn.Sequential:
    """Images (N, C, H, W) -> mu and log-variance side by side, (N, 2 latent)."""
    layers: list[nn.Module] = []
    channels, (height, width) = (3 if config.color else 1, *config.encoder_channels), config.image_size
    for (before, after), kernel, stride in zip(
        pairwise(channels), config.encoder_kernels, config.encoder_strides, strict=True
    ):
        convolution = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
        height, width = -(-height // stride), -(-width // stride)
    return nn.Sequential(*layers, nn.Conv2d(channels[-1], 2 * config.latent, (height, width)), nn.Flatten())


def generator(config: Config) -> nn.Sequential:
    """Latent vectors (B, latent) -> occupancy logits (B, 1, R, R, R)."""
    first, point = config.channels[0], nn.Unflatten(1, (config.latent, 1, 1, 1))
    start = nn.ConvTranspose3d(config.latent, first, FIRST_SIDE, bias=False)
    return volumetric(point, start, nn.BatchNorm3d(first), nn.ReLU(), *upwards(config.channels, bias=False))


def discriminator(config: Config) -> nn.Sequential:
    """Grids (B, 1, R, R, R) of values in [0, 1] -> logits (B, 1), positive for real."""
    last = nn.Conv3d(config.channels[0], 1, FIRST_SIDE)
    return volumetric(*downwards(config.channels[::-1]), last, nn.Flatten())


class Model(nn.Module):
    """See `model/__init__.py`; the parts are `reconstruction` (encoder and generator) and `discriminator`."""

    targets = ("occupancy",)
    output = "occupancy"
    accuracy: Tensor

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.phases = (config.adversarial_warmup,)
        self.encoder, self.generator, self.discriminator = encoder(config), generator(config), discriminator(config)
        # A buffer, so that processes that train together agree on it and a resumed training remembers it.
        self.register_buffer("accuracy", torch.zeros(()))

    def parts(self) -> dict[str, dict[str, Any]]:
        reconstruction = [*self.encoder.parameters(), *self.generator.parameters()]
        lr, judge_lr, betas = self.config.lr, self.config.discriminator_lr, self.config.betas
        return {
            "reconstruction": {"params": reconstruction, "lr": lr, "betas": betas},
            "discriminator": {"params": list(self.discriminator.parameters()), "lr": judge_lr, "betas": betas},
        }

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """mu and log-variance (B, latent) of `images` (B, V, C, H, W), averaged over the views."""
        both = self.encoder(images.flatten(0, 1)).unflatten(0, images.shape[:2]).mean(dim=1)
        mu, logvar = both.chunk(2, dim=1)
        return mu, logvar

    def decode(self, z: Tensor) -> Tensor:
        """Occupancy logits (B, R, R, R) of latent vectors (B, latent)."""
        return self.generator(z).squeeze(1)

    def losses(self, batch: dict[str, Any], part: str) -> dict[str, Tensor]:
        """Weighted losses of one part; of the discriminator none before the warm-up ends."""
        playing = self.config.adversarial_weight > 0 and batch["progress"] >= self.config.adversarial_warmup
        if part == "reconstruction":
            return self._reconstruction(batch, playing)
        return self._discriminator(batch) if playing else {}

    def predict(self, images: Tensor) -> Tensor:
        """Occupancy logits (B, R, R, R) of `images` (B, V, C, H, W); deterministic in eval mode."""
        return self.decode(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """mu (B, latent) of `images` (B, V, C, H, W)."""
        return self.encode(images)[0]

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Shapes without a photo, G(z) of z from N(0, I): occupancy logits (count, R, R, R); in eval mode.

        Args:
            count: how many.
            generator: draws z, on whichever device it is; the same state gives the same shapes.
        """
        z = torch.randn(count, self.config.latent, generator=generator, device=generator.device)
        return self.decode(z.to(self.accuracy.device))

    def interpolate(self, first: Tensor, second: Tensor, steps: int) -> Tensor:
        """Shapes on the straight line between two latent vectors; in eval mode.

        Args:
            first, second: (latent,), `features` of photos or draws from N(0, I).
            steps: 2 or more, both ends counted.

        Returns:
            Occupancy logits (steps, R, R, R).
        """
        return self.decode(torch.lerp(first, second, torch.linspace(0, 1, steps, device=first.device)[:, None]))

    def _shapes(self, images: Tensor, playing: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits from the photos (B, 1, R, R, R) and, if `playing`, as many from N(0, I); mu and log-variance."""
        mu, logvar = self.encode(images)
        latents = [drawn(mu, logvar), *([torch.randn_like(mu)] if playing else [])]
        logits = self.generator(torch.cat(latents))
        return logits[: len(mu)], logits[len(mu) :], mu, logvar

    def _reconstruction(self, batch: dict[str, Any], playing: bool) -> dict[str, Tensor]:
        rebuilt, sampled, mu, logvar = self._shapes(batch["images"], playing)
        error = CELLS * (full(rebuilt.squeeze(1)).sigmoid() - batch["occupancy"]).square().mean()
        losses = {
            "reconstruction": self.config.reconstruction_weight * error,
            "kl": self.config.kl_weight * kl_divergence(mu, logvar) / self.config.latent,
        }
        if self.config.dice_weight:
            losses["dice"] = self.config.dice_weight * dice(rebuilt.squeeze(1), batch["occupancy"])
        if playing:
            batch["generated"] = sampled.detach()  # for the discriminator, in the same step
            losses["adversarial"] = self.config.adversarial_weight * deceiving(self.discriminator, sampled)
        return losses

    def _discriminator(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        if "generated" not in batch:
            with torch.no_grad():
                batch["generated"] = self._shapes(batch["images"], True)[1]
        real, generated, gate = batch["occupancy"], batch["generated"], self.config.discriminator_gate
        return {"discriminator": judging(self.discriminator, real, generated, self.accuracy, gate)}
