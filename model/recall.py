"""Recall: looks up the training shapes that look most alike, and says what to change.

In the spirit of Mem3D: "Single-View 3D Object Reconstruction from Shape Priors in Memory", Shuo Yang, Min Xu, Haozhe
Xie, Stuart Perry, Jiahao Xia, CVPR 2021, arXiv:2003.03711. An image's features ask a memory of training shapes; those
found help to decode. Differences:
 1. The memory has every training shape once (or `memory` of them), and every view of it as a key, instead of slots
    that are overwritten by rule. In training a shape does not find itself.
 2. What is found is not encoded by an LSTM. The decoder is given the grids themselves, nearest first, and their mean,
    at the resolution where they are: its last convolutions only have to say where the answer differs.
 3. Keys are histograms of oriented gradients (`layers/descriptors.py`), their principal components, or learned ones, or
    both side by side. Learned ones come from the encoder: among the samples of a batch, those whose shapes overlap more
    are to lie nearer, instead of a triplet loss with a threshold.
 4. Encoder and decoder are this project's (`layers/encoders.py`), the sizes are configuration.

The memory lies in buffers and travels with the weights, so that a photo is all that `predict` needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.layers.blocks import FIRST_LOGIT, Doubling, check, full, upwards, volumetric
from model.layers.descriptors import descriptor
from model.layers.encoders import EncoderConfig, EncoderModel, perceptron
from model.layers.losses import occupancy_losses

KEYS = ("gradients", "learned", "both")
MEMORY = ("keys", "shape_of", "model_of", "grids", "centre", "axes")  # buffers whose sizes the training data set
SHARPNESS, OVERLAP = 10.0, 0.05  # of alike features, and of shapes that overlap: temperatures of the learned keys' loss
COARSE = 16  # side of the grids by whose overlap keys are learned


@dataclass(frozen=True)
class Config(EncoderConfig):
    """Small enough for minutes on two cores.

    Args:
        neighbours: how many shapes the decoder is given.
        keys: what views are looked up by: `gradients`, `learned` or `both`.
        key_width: of each kind of key.
        memory: the most shapes that are remembered; evenly spaced ones where there are more.
        side: of the grids that are remembered; `resolution` is the same or twice as much.
        grid_channels: before each transposed convolution up to `side`, and there.
        refine_channels: of the two convolutions that see the shapes found.
        lookup_weight: of the loss of learned keys.
        dice_weight, surface_weight: of the other losses, see `layers/losses.py`.

    Further ones in EncoderConfig.

    Raises:
        ValueError: a field that can't be, by name.
    """

    image_size: tuple[int, int] = (48, 64)
    encoder_channels: tuple[int, ...] = (32, 64, 128, 256)
    encoder_blocks: int = 1
    neighbours: int = 4
    keys: str = "both"
    key_width: int = 64
    memory: int = 4096
    side: int = 32
    grid_channels: tuple[int, ...] = (64, 64, 32, 16)
    refine_channels: int = 16
    lookup_weight: float = 0.1
    dice_weight: float = 0.0
    surface_weight: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check("keys", self.keys, f"one of {', '.join(KEYS)}", self.keys in KEYS)
        for name in ("lookup_weight", "dice_weight", "surface_weight"):
            check(name, getattr(self, name), "0 or more", getattr(self, name) >= 0)
        factor = 2 ** (len(self.grid_channels) - 1)
        check("side", self.side, f"a multiple of {factor}, and of 8", self.side % max(factor, 8) == 0)
        sizes = (self.side, 2 * self.side)
        check("resolution", self.resolution, f"{sizes[0]} or {sizes[1]}", self.resolution in sizes)


class Model(EncoderModel):
    """See `model/__init__.py`."""

    targets = ("occupancy",)
    output = "occupancy"
    config: Config
    keys: Tensor  # (N, D) float32, of every view
    shape_of: Tensor  # (N,) int64, which of the grids a view shows
    model_of: Tensor  # (S,) int64, the model that a grid is of, of all its variants the same
    grids: Tensor  # (S, side^3 / 8) uint8, packed
    centre: Tensor  # (G,) float32, and
    axes: Tensor  # (G, key_width) float32, that make keys of histograms

    def __init__(self, config: Config):
        super().__init__(config)
        channels, width = config.grid_channels, config.refine_channels
        base = config.side // 2 ** (len(channels) - 1)
        shape = (channels[0], base, base, base)
        start = (*perceptron(self.width, channels[0] * base**3), nn.ReLU(), nn.Unflatten(1, shape))
        self.decoder = volumetric(*start, *upwards(channels)[:-1])
        seen = channels[-1] + config.neighbours + 1
        finer = config.resolution > config.side
        last: nn.Module = Doubling(width, 1) if finer else nn.Conv3d(width, 1, 3, padding=1)
        nn.init.constant_(last.bias, FIRST_LOGIT)  # type: ignore[arg-type]
        refine: list[nn.Module] = []
        for before in (seen, width):
            refine += [nn.Conv3d(before, width, 3, padding=1, bias=False), nn.BatchNorm3d(width), nn.ReLU()]
        self.refine = volumetric(*refine, last)
        self.trust = nn.Parameter(torch.tensor(1.0))  # in the mean of the shapes found
        self.key = nn.Linear(self.width, config.key_width)
        for name in MEMORY:
            self.register_buffer(name, torch.zeros(0))

    def losses(self, batch: dict[str, Any], part: str) -> dict[str, Tensor]:
        """Of the grid; and where keys are learned, of how near views of alike shapes are."""
        config, features = self.config, self.encoded(batch["images"])
        with torch.no_grad():
            own = batch["origin"]
            found = self.look_up(self.keys_of(batch["images"], features), own)
        logits = self.decode(features, found)
        losses = occupancy_losses(logits, batch["occupancy"], config.dice_weight, config.surface_weight)
        if config.keys != "gradients":
            alike = agreement(self.learned(features), batch["occupancy"], own)
            losses["lookup"] = config.lookup_weight * alike
        return losses

    def predict(self, images: Tensor) -> Tensor:
        """Occupancy logits (B, R, R, R) of `images` (B, V, C, H, W); deterministic in eval mode."""
        features = self.encoded(images)
        return self.decode(features, self.look_up(self.keys_of(images, features)))

    def features(self, images: Tensor) -> Tensor:
        """(B, D), what `images` (B, V, C, H, W) are looked up by."""
        return self.keys_of(images, self.encoded(images))

    def encoded(self, images: Tensor) -> Tensor:
        """(B, width), the encoder's features, the mean over the views."""
        return super().features(images)

    def decode(self, features: Tensor, found: Tensor) -> Tensor:
        """Occupancy logits (B, R, R, R) of features (B, width) and the grids found (B, k, side, side, side)."""
        decoded = self.decoder(features)
        found = found.to(decoded.dtype)
        mean = found.mean(dim=1, keepdim=True)
        changed = self.refine(torch.cat([decoded, found, mean], dim=1))
        looked_up = F.interpolate(2 * mean - 1, changed.shape[2:], mode="trilinear", align_corners=False)
        return (changed + self.trust * looked_up).squeeze(1)

    def learned(self, features: Tensor) -> Tensor:
        """Keys (B, key_width) of length 1 from the encoder's features."""
        return F.normalize(full(self.key(features)), dim=1)

    def described(self, images: Tensor) -> Tensor:
        """Keys (B, key_width) from histograms of gradients, in float32 in any precision."""
        with torch.autocast(images.device.type, enabled=False):
            return (descriptor(images).float() - self.centre.float()) @ self.axes.float()

    def keys_of(self, images: Tensor, features: Tensor) -> Tensor:
        """(B, D) of `images` (B, V, C, H, W) and the encoder's features of them.

        Raises:
            ValueError: nothing is remembered.
        """
        if not len(self.grids):
            raise ValueError("recall: expected remembered shapes, found none; `remember` comes before all else")
        kinds = []
        if self.config.keys != "learned":
            kinds.append(self.described(images))
        if self.config.keys != "gradients":
            kinds.append(self.learned(features))
        return torch.cat(kinds, dim=1)

    def look_up(self, keys: Tensor, own: Tensor | None = None) -> Tensor:
        """The shapes whose views have the nearest keys.

        Args:
            keys: (B, D).
            own: (B,) int64, models that are not to be found.

        Returns:
            (B, k, side, side, side) float in {0, 1}, nearest first; free grids where there are not so many.
        """
        shapes, side = len(self.grids), self.config.side
        apart = torch.cdist(keys.float(), self.keys.float())
        nearest = apart.new_full((len(keys), shapes), torch.inf)
        nearest.scatter_reduce_(1, self.shape_of.expand_as(apart), apart, "amin")
        if own is not None:
            nearest.masked_fill_(self.model_of == own[:, None], torch.inf)
        count = self.config.neighbours
        distance, index = F.pad(nearest, (0, max(0, count - shapes)), value=torch.inf).topk(count, largest=False)
        found = unpacked(self.grids[index.clamp(max=shapes - 1)]) * distance.isfinite()[..., None]
        return found.unflatten(2, (side, side, side))

    @torch.no_grad()
    def remember(self, batches: Iterable[dict[str, Any]]) -> None:
        """Takes the shapes of the training split into memory, in place of those that were there.

        Args:
            batches: of all its items in their order; see `model/__init__.py`.
        """
        training = self.training
        self.eval()
        pictures, learned, shape_of = [], [], []
        models: dict[int, int] = {}
        grids: dict[int, Tensor] = {}  # packed
        for batch in batches:
            images = batch["images"]
            pictures.append(descriptor(images).float())
            learned.append(self.learned(self.encoded(images)))
            shape_of.append(batch["model"])
            shapes, origins = batch["model"].tolist(), batch["origin"].tolist()
            new = {shape: n for n, shape in enumerate(shapes) if shape not in models}
            models |= {shape: origins[n] for shape, n in new.items()}
            cells = pooled(batch["occupancy"][list(new.values())], self.config.side).flatten(1)
            grids |= dict(zip(new, packed(cells), strict=True))
        device = images.device
        count = min(len(models), self.config.memory)
        kept = sorted(models)[:: max(1, -(-len(models) // count))]
        place = torch.full((max(models) + 1,), -1, device=device)
        place[kept] = torch.arange(len(kept), device=device)
        shown = place[torch.cat(shape_of)]
        self.shape_of = shown[shown >= 0]
        self.model_of = torch.tensor([models[shape] for shape in kept], device=device)
        self.grids = torch.stack([grids[shape] for shape in kept])
        kinds, histograms = [], torch.cat(pictures)
        if not len(self.axes):  # the pictures stay the same
            self.centre, self.axes = principal(histograms, self.config.key_width)
        if self.config.keys != "learned":
            with torch.autocast(device.type, enabled=False):
                kinds.append((histograms - self.centre.float()) @ self.axes.float())
        if self.config.keys != "gradients":
            kinds.append(torch.cat(learned))
        self.keys = torch.cat(kinds, dim=1)[shown >= 0]
        self.train(training)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name in MEMORY:  # as large as what was remembered; weights may be stored in half precision
            if (kept := state_dict.get(prefix + name)) is not None:
                kind = torch.float32 if kept.is_floating_point() else kept.dtype
                setattr(self, name, torch.empty_like(kept, dtype=kind, device=getattr(self, name).device))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def agreement(keys: Tensor, occupancy: Tensor, models: Tensor) -> Tensor:
    """() mean cross-entropy between whom keys (B, D) of length 1 are near and whose shapes overlap most.

    Each sample asks for a sample of another model in the batch; both answers are distributions over those, by softmax
    of the keys' cosines and of the IoU.

    Args:
        occupancy: (B, R, R, R) float in {0, 1}.
        models: (B,) int64.
    """
    with torch.autocast(keys.device.type, enabled=False):
        grids = pooled(occupancy, min(COARSE, occupancy.shape[-1])).flatten(1)
        both, cosines = grids @ grids.T, keys @ keys.T
    sums = both.diagonal()
    overlap = both / (sums[:, None] + sums - both).clamp(min=1)
    same = models[:, None] == models
    answered = (SHARPNESS * cosines).masked_fill(same, -torch.inf)
    wanted = (overlap / OVERLAP).masked_fill(same, -torch.inf)
    some = ~same.all(dim=1)  # there may be none
    chosen = F.log_softmax(answered[some], dim=1).masked_fill(same[some], 0.0)
    return -(wanted[some].softmax(dim=1) * chosen).sum(dim=1).sum() / max(1, int(some.sum()))


def principal(values: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Mean (G,) and the `width` directions (G, width) in which values (N, G) vary most, so scaled that they have a mean
    square length of 1 in them."""
    centre = values.mean(dim=0)
    spread = (values - centre).double()
    variances, directions = torch.linalg.eigh(spread.T @ spread / len(values))
    axes, size = directions[:, -width:], variances[-width:].clamp(min=0).sum().sqrt()
    return centre, (axes / size.clamp(min=1e-9)).float()


def pooled(grids: Tensor, side: int) -> Tensor:
    """(B, R, R, R) -> (B, side, side, side), R a multiple of side: full where any part is."""
    return F.max_pool3d(grids[:, None], grids.shape[-1] // side)[:, 0]


def packed(cells: Tensor) -> Tensor:
    """(..., 8 n) float in {0, 1} -> (..., n) uint8, most significant bit first."""
    shifts = torch.arange(7, -1, -1, device=cells.device, dtype=torch.uint8)
    return (cells.to(torch.uint8).unflatten(-1, (-1, 8)) << shifts).sum(-1, dtype=torch.uint8)


def unpacked(octets: Tensor) -> Tensor:
    """`packed` undone: (..., n) uint8 -> (..., 8 n) float32."""
    shifts = torch.arange(7, -1, -1, device=octets.device, dtype=torch.uint8)
    return ((octets[..., None] >> shifts) & 1).flatten(-2).float()
