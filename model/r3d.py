"""R3D: an attention VAE-GAN from one photo to a voxel grid.

"3D Shape Reconstruction from a Single Image", Kartikesh Mishra. Where text and listing differ, the listing is
followed, unless it can't be what is meant. `Config()` has the listing's layers and parameters. Differences:

Slips, put right
 1. Attention is over image positions, which have no past: the listing's causal mask is off by default
    (`attention: causal`). With it on, what is masked is minus infinity, not 10,000 less.
 2. Attention scores are not written out (12,288 x 12,288 after the first block, 10 GB an image):
    `F.scaled_dot_product_attention` gives the same values. On a CPU its dropout does write them out, so
    `attention_dropout` is apart from `dropout` and can be 0.
 3. The encoder flattens each image, not the whole batch into one vector.
 4. The layer named log-variance gives log(sigma^2), so sigma = exp(logvar / 2), not exp(logvar).
 5. KL = -1/2 sum(1 + logvar - mu^2 - exp(logvar)), averaged over the batch. The listing sums sigma^2 + mu^2 -
    log(sigma) - 1/2 over the whole batch; the text's formula lacks the minus sign.
 6. The discriminator's labels are 1 for real and 0 for generated, as the text says; its formula swaps them.
 7. Noise is drawn on mu's device; no `.cuda()` inside, and no KL kept as state between calls.

Choices that the paper leaves open
 8. Generator and discriminator end in logits; the sigmoids are inside the losses, where nothing overflows and
    half precision works.
 9. The generator's adversarial loss is the non-saturating -log D(generated); the text says only "deceive".
10. Weights. Cross-entropy is a mean over R^3 voxels: a KL weight of 1 / R^3 gives the evidence lower bound, and
    the adversarial weight is small. The discriminator has an AdamW of its own, the rest another.
11. The adversarial game begins after a share of the training (`adversarial_warmup`). The discriminator rests
    while its accuracy on the last batch exceeds `discriminator_gate` (Wu et al. 2016, arXiv:1610.07584). It sees
    generated grids as probabilities, in a batch of their own.
12. Prediction decodes mu, without noise or dropout.
13. First weights. PyTorch's default lets the picture fade on its way through the encoder, and noise of sigma 1 drowns
    the rest: the network then learns the mean shape first and leaves it late. The encoder starts by He et al. 2015
    (arXiv:1502.01852), with little noise, and the generator with the logit of a mostly empty grid.

Wider
14. Image size, grid size, channels, pools, heads and widths are configuration.
15. What the report names as future work: several views of an object (`views`, `fusion`; its single view is the case
    V = 1), depth beside the picture (`depth`), other attention (`attention`, `heads`; `none` is the ablation). And
    pictures in colour (`color`).
16. The listing's unused `cache`, 3-axis input and assertion are gone; `Config` refuses what does not fit.

The text has upsampling layers in the generator, max pooling in the discriminator and an activation after
attention; the listing, followed here, has transposed convolutions, strided convolutions and none.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.layers.blocks import check, deceiving, downwards, drawn, judging, kl_divergence, upwards, volumetric
from model.layers.losses import occupancy_losses

ATTENTIONS = ("full", "causal", "none")
FUSIONS = ("mean", "max")
FIRST_LOGVAR = -6.0  # sigma of 0.05


@dataclass(frozen=True)
class Config:
    """The defaults are the listing's network.

    Args:
        image_size: (H, W) of the input.
        resolution: R of the grid; halved once for each channel count of generator and discriminator.
        views: the most photos of one object that it is trained on at a time; it answers any number.
        fusion: of the features of the views, before mu and log-variance: their `mean`, or their `max` (Su et al. 2015,
            arXiv:1505.00880).
        color: `images` have red, green and blue then, not gray.
        depth: `images` have a channel more then, the last, the depth scaled to [0, 1], 0 the background.
        encoder_channels, encoder_pools: output channels and max-pool factor of each block of the encoder.
        attention: after each block but the last; `full`, every position sees every one; `causal`, itself and those
            before it in row-major order, the listing's mask; `none` at all.
        heads: of each attention.
        dropout, attention_dropout: of the attention's output and of its weights.
        hidden: widths of the fully connected layers after the last block.
        latent: width of mu, log-variance and noise.
        generator_channels: input channels of each transposed convolution.
        discriminator_channels: output channels of each convolution.
        kl_weight, adversarial_weight: beside a voxel cross-entropy (mean over voxels) of weight 1.
            A `kl_weight` of None is 1 / R^3.
        dice_weight, surface_weight: of the losses, see `layers/losses.py`.
        adversarial_warmup: share of the training before the adversarial game begins.
        discriminator_gate: accuracy on the last batch above which the discriminator is not updated.
        discriminator_lr: learning rate of the discriminator.

    Raises:
        ValueError: a size or share that can't be, by name.
    """

    image_size: tuple[int, int] = (192, 256)
    resolution: int = 64
    views: int = 1
    fusion: str = "mean"
    color: bool = False
    depth: bool = False
    encoder_channels: tuple[int, ...] = (32, 64, 128)
    encoder_pools: tuple[int, ...] = (2, 4, 4)
    attention: str = "full"
    heads: int = 4
    dropout: float = 0.1
    attention_dropout: float = 0.1
    hidden: tuple[int, ...] = (1024, 512, 256)
    latent: int = 1024
    generator_channels: tuple[int, ...] = (64, 32, 16, 8)
    discriminator_channels: tuple[int, ...] = (64, 128, 256, 512)
    kl_weight: float | None = None
    adversarial_weight: float = 0.01
    dice_weight: float = 0.0
    surface_weight: float = 0.0
    adversarial_warmup: float = 0.5
    discriminator_gate: float = 0.8
    discriminator_lr: float = 1e-4

    def __post_init__(self) -> None:
        for name in ("encoder_channels", "encoder_pools", "generator_channels", "discriminator_channels"):
            check(name, getattr(self, name), "one or more positive numbers", bool(getattr(self, name)))
        for name, values in vars(self).items():
            if isinstance(values, tuple):
                check(name, values, "positive numbers", all(value > 0 for value in values))
        for name in ("resolution", "views", "heads", "latent"):
            check(name, getattr(self, name), "a positive number", getattr(self, name) > 0)
        for name, choices in (("fusion", FUSIONS), ("attention", ATTENTIONS)):
            check(name, getattr(self, name), f"one of {', '.join(choices)}", getattr(self, name) in choices)
        if self.kl_weight is None:
            object.__setattr__(self, "kl_weight", 1 / self.resolution**3)
        for name in ("kl_weight", "adversarial_weight", "dice_weight", "surface_weight", "discriminator_lr"):
            check(name, getattr(self, name), "0 or more", getattr(self, name) >= 0)
        for name in ("dropout", "attention_dropout", "adversarial_warmup", "discriminator_gate"):
            check(name, getattr(self, name), "a share from 0 to 1", 0 <= getattr(self, name) <= 1)
        count, smallest = len(self.encoder_channels), prod(self.encoder_pools)
        check("encoder_pools", self.encoder_pools, f"{count} factors", len(self.encoder_pools) == count)
        attended = self.attention == "none" or all(c % self.heads == 0 for c in self.encoder_channels[:-1])
        check("heads", self.heads, f"a divisor of {self.encoder_channels[:-1]}", attended)
        fits = min(self.image_size) >= smallest
        check("image_size", self.image_size, f"{smallest} or more a side, the product of the pools", fits)
        factor = 2 ** max(len(self.generator_channels), len(self.discriminator_channels))
        check("resolution", self.resolution, f"a multiple of {factor}", self.resolution % factor == 0)


class Attention(nn.Module):
    """Multi-head self-attention over the positions of (B, C, H, W), added to its input.

    softmax(Q K^T / sqrt(C / heads)) V (Vaswani et al. 2017, arXiv:1706.03762), masked as `Config.attention` says.
    """

    def __init__(self, channels: int, config: Config):
        super().__init__()
        self.heads, self.causal = config.heads, config.attention == "causal"
        self.weights_dropout = config.attention_dropout
        self.project = nn.Linear(channels, 3 * channels)
        self.output = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        positions = x.flatten(2).transpose(1, 2)  # (B, H*W, C)
        query, key, value = self.project(positions).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        dropout = self.weights_dropout if self.training else 0.0
        seen = attend(query, key, value, dropout, self.causal)
        attended = self.dropout(self.output(seen.transpose(1, 2).flatten(2)))
        return x + attended.transpose(1, 2).reshape(x.shape)


def attend(query: Tensor, key: Tensor, value: Tensor, dropout: float, causal: bool) -> Tensor:
    """softmax(Q K^T / sqrt(D)) V of (B, heads, N, D) each, without writing the (N, N) scores out.

    On CUDA float32 has kernels for it that are ten times slower than bfloat16's. Where TF32 may stand in for float32,
    bfloat16 may here: the sums are kept in float32 by these kernels as well.
    """
    kind = query.dtype
    if query.is_cuda and kind == torch.float32 and torch.backends.cuda.matmul.allow_tf32:
        query, key, value = query.bfloat16(), key.bfloat16(), value.bfloat16()
    return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=causal).to(kind)


class Encoder(nn.Module):
    """Images (B, V, C, H, W), C the picture and, if so configured, the depth -> mu and log-variance, (B, latent)."""

    def __init__(self, config: Config):
        super().__init__()
        self.fusion = config.fusion
        sizes = ((3 if config.color else 1) + config.depth, *config.encoder_channels)
        blocks: list[nn.Module] = []
        for (before, after), pool in zip(pairwise(sizes), config.encoder_pools, strict=True):
            if blocks and config.attention != "none":
                blocks.append(Attention(before, config))
            blocks += [nn.Conv2d(before, after, 3, padding=1), nn.MaxPool2d(pool), nn.ReLU()]
        pixels = prod(side // prod(config.encoder_pools) for side in config.image_size)
        widths = (sizes[-1] * pixels, *config.hidden)
        layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
        self.features = nn.Sequential(*blocks, nn.Flatten(), *layers)
        self.mu = nn.Linear(widths[-1], config.latent)
        self.logvar = nn.Linear(widths[-1], config.latent)
        self._start()

    def _start(self) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.logvar.weight)
        nn.init.constant_(self.logvar.bias, FIRST_LOGVAR)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        views = self.features(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        fused = views.mean(dim=1) if self.fusion == "mean" else views.amax(dim=1)
        return self.mu(fused), self.logvar(fused)


def generator(config: Config) -> nn.Sequential:
    """Latent vectors (B, latent) -> occupancy logits (B, 1, R, R, R)."""
    channels = config.generator_channels
    base = config.resolution // 2 ** len(channels)
    start = nn.Linear(config.latent, channels[0] * base**3)
    return volumetric(start, nn.Unflatten(1, (channels[0], base, base, base)), *upwards(channels))


def discriminator(config: Config) -> nn.Sequential:
    """Grids (B, 1, R, R, R) of values in [0, 1] -> logits (B, 1), positive for real."""
    channels = config.discriminator_channels
    last = config.resolution // 2 ** len(channels)
    return volumetric(*downwards(channels), nn.Flatten(), nn.Linear(channels[-1] * last**3, 1))


class Model(nn.Module):
    """See `model/__init__.py`; the parts are `reconstruction` (encoder and generator) and `discriminator`."""

    targets = ("occupancy",)
    output = "occupancy"
    accuracy: Tensor

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.encoder, self.generator = Encoder(config), generator(config)
        self.discriminator = discriminator(config)
        self.phases = (config.adversarial_warmup,)
        # A buffer, so that processes that train together agree on it and a resumed training remembers it.
        self.register_buffer("accuracy", torch.zeros(()))

    def parts(self) -> dict[str, dict[str, Any]]:
        reconstruction = [*self.encoder.parameters(), *self.generator.parameters()]
        judge = {"params": list(self.discriminator.parameters()), "lr": self.config.discriminator_lr}
        return {"reconstruction": {"params": reconstruction}, "discriminator": judge}

    def losses(self, batch: dict[str, Any], part: str) -> dict[str, Tensor]:
        """Weighted losses of one part; of the discriminator none before the warm-up ends."""
        playing = self.config.adversarial_weight > 0 and batch["progress"] >= self.config.adversarial_warmup
        if part == "reconstruction":
            return self._reconstruction(batch, playing)
        return self._discriminator(batch) if playing else {}

    def predict(self, images: Tensor) -> Tensor:
        """Occupancy logits (B, R, R, R) of `images` (B, V, C, H, W); deterministic in eval mode."""
        return self.generator(self.features(images)).squeeze(1)

    def features(self, images: Tensor) -> Tensor:
        """mu (B, latent) of `images` (B, V, C, H, W)."""
        return self.encoder(images)[0]

    def _sample(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mu, logvar = self.encoder(images)
        return self.generator(drawn(mu, logvar)), mu, logvar

    def _reconstruction(self, batch: dict[str, Any], playing: bool) -> dict[str, Tensor]:
        logits, mu, logvar = self._sample(batch["images"])
        weights = (self.config.dice_weight, self.config.surface_weight)
        losses = occupancy_losses(logits.squeeze(1), batch["occupancy"], *weights)
        losses["kl"] = float(self.config.kl_weight or 0) * kl_divergence(mu, logvar)
        if playing:
            batch["generated"] = logits.detach()  # for the discriminator, in the same step
            losses["adversarial"] = self.config.adversarial_weight * deceiving(self.discriminator, logits)
        return losses

    def _discriminator(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        if "generated" not in batch:
            with torch.no_grad():
                batch["generated"] = self._sample(batch["images"])[0]
        real, generated, gate = batch["occupancy"], batch["generated"], self.config.discriminator_gate
        return {"discriminator": judging(self.discriminator, real, generated, self.accuracy, gate)}
