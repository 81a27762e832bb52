"""What an answer hangs on: which pixels, which parts of the picture, and where attention reads.

Pixels, by gradients: how far the whole answer moves where a pixel changes a little, which is the length of a column of
the Jacobian. Simonyan, Vedaldi and Zisserman ("Deep Inside Convolutional Networks", 2013, arXiv:1312.6034) take the
gradient of one class's score, "Single View to 3D", a course report (2.6), that of the loss; an answer of thousands of
cells has no class, and a photo no truth to lose against.

Parts, by occlusion: how much of the answer changes where a square of the picture is painted in the colour of the
background. Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2013, arXiv:1311.2901.

Attention, by position: what a position of `r3d` reads from all others, the mean over its heads; what Mishra's report
leaves to future work. A map says where a layer reads, not what that is good for.

Maps that look alike for any weights tell of the picture and not of the network (Adebayo et al., "Sanity Checks for
Saliency Maps", 2018, arXiv:1810.03292); a test draws the weights anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.layers.descriptors import luma
from model.r3d import Attention
from pipeline.scoring.predictions import Prediction, predict

DRAWS = 8  # of random directions; a pixel is then off by a quarter, a mean over three by three by a tenth
PARTS, AT_ONCE = 6, 16  # squares along the shorter side of a picture; pictures that are answered together
SPOTS = 4  # positions whose attention is shown
DIM = 0.02  # up to which a pixel shows nothing
Spot = tuple[float, float]  # of the height and of the width, from the top left
Window = tuple[int, int, int]  # top, left and side of a square, in pixels


@dataclass(frozen=True)
class Attribution:
    """What the answer to one view hangs on.

    Attributes:
        seen: (H, W) float32 in [0, 1], the view, in gray.
        pixels: (H, W) float32, how far the answer moves where a pixel changes.
        parts: (H, W) float32, the mean change by squares over a pixel: share of the full cells, or of the unit cube's
            side that points move.
        window: the square that changes most.
        change: by how much.
        answer, without: as predicted, and where that square is painted over.
        spots: positions whose attention is read.
        reads: of every layer with attention, for every spot, (h, w) float32 that sums to 1.
    """

    seen: np.ndarray
    pixels: np.ndarray
    parts: np.ndarray
    window: Window
    change: float
    answer: Prediction
    without: Prediction
    spots: Sequence[Spot]
    reads: Sequence[Sequence[np.ndarray]]


def attribute(network: Any, images: Tensor, threshold: float = 0.5, finest: int = PARTS) -> Attribution:
    """What the answer to a view hangs on.

    Args:
        network: a system in eval mode.
        images: (1, 1, C, H, W) on its device.
        threshold: of the occupancy.
        finest: squares along the shorter side.
    """
    seen = luma(images)[0, 0].cpu().numpy()
    pixels = saliency(network, images)
    found = windows(seen, finest)
    changes = occlusion(network, images, found, threshold)
    place = int(changes.argmax())
    window, change = found[place], float(changes[place])
    chosen = spots(seen, pixels)
    both = predict(network, torch.cat([images, painted(images, window)]))
    reads = attention(network, images, chosen)
    parts = spread(seen.shape, found, changes)
    return Attribution(seen, pixels, parts, window, change, both[0], both[1], chosen, reads)


def saliency(network: Any, images: Tensor, draws: int = DRAWS) -> np.ndarray:
    """(H, W) float32: the length of the Jacobian's column of every pixel, by random directions of signs.

    Of the answer as predicted: probabilities, or coordinates in the unit cube; what is looked up by rank stays.
    """
    generator = torch.Generator().manual_seed(0)
    given = images.detach().clone().requires_grad_()
    total = torch.zeros_like(images)
    with torch.enable_grad():
        answer = numbers(network, given).flatten()
        for _ in range(draws if answer.requires_grad else 0):  # one that no picture changes has none
            signs = torch.randint(0, 2, answer.shape, generator=generator).to(answer) * 2 - 1
            total += torch.autograd.grad((answer * signs).sum(), given, retain_graph=True)[0] ** 2
    picture = 3 if images.shape[2] >= 3 else 1  # channels; depth is none of a pixel
    return (total[0, 0, :picture].sum(dim=0) / draws).sqrt().cpu().numpy()


def numbers(network: Any, images: Tensor) -> Tensor:
    """An answer as one tensor (B, ...): probabilities (R, R, R), points (P, 3) or vertices (N, 3)."""
    given = network.predict(images)
    if network.output == "mesh":
        return torch.stack([vertices for vertices, _ in given])
    return given.float().sigmoid() if network.output == "occupancy" else given.float()


def windows(seen: np.ndarray, finest: int = PARTS) -> list[Window]:
    """Squares that overlap by half, those that show something of (H, W); one at least."""
    height, width = seen.shape
    side = max(1, round(min(height, width) / finest))
    step = max(1, side // 2)
    tops, lefts = (sorted({*range(0, length - side, step), length - side}) for length in (height, width))
    every = [(top, left, side) for top in tops for left in lefts]
    full = [(t, x, s) for t, x, s in every if (seen[t : t + s, x : x + s] > DIM).any()]
    return full or every[:1]


def painted(images: Tensor, window: Window) -> Tensor:
    """The images with a square of background."""
    top, left, side = window
    given = images.clone()
    given[..., top : top + side, left : left + side] = 0
    return given


@torch.inference_mode()
def occlusion(network: Any, images: Tensor, found: Sequence[Window], threshold: float = 0.5) -> np.ndarray:
    """(N,) float: how much the answer changes where each square is painted over.

    Of occupancy 1 - IoU of the full cells, before and after; of points and vertices how far they move in the mean.
    """
    whole = numbers(network, images)
    changes = []
    for first in range(0, len(found), AT_ONCE):
        given = torch.cat([painted(images, window) for window in found[first : first + AT_ONCE]])
        answers = numbers(network, given)
        if network.output == "occupancy":
            before, after = (values.flatten(1) > threshold for values in (whole, answers))
            union = (before | after).sum(dim=1)
            change = 1 - (before & after).sum(dim=1) / union.clamp(min=1) - (union == 0).float()
        else:
            change = (answers - whole).norm(dim=2).mean(dim=1)
        changes.append(change.cpu().numpy())
    return np.concatenate(changes)


def spread(shape: tuple[int, ...], found: Sequence[Window], changes: np.ndarray) -> np.ndarray:
    """(H, W) float32: the mean of the changes by squares over each pixel, 0 where there is none."""
    total, count = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for (top, left, side), change in zip(found, changes, strict=True):
        total[top : top + side, left : left + side] += change
        count[top : top + side, left : left + side] += 1
    return total / np.maximum(count, 1)


def spots(seen: np.ndarray, pixels: np.ndarray, count: int = SPOTS) -> list[Spot]:
    """Positions on what is seen: the pixel that matters most, and those farthest from all before."""
    places = np.argwhere(seen > DIM)
    if not len(places):
        places = np.argwhere(np.ones_like(seen, bool))
    chosen = [places[pixels[tuple(places.T)].argmax()]]
    while len(chosen) < min(count, len(places)):
        apart = np.linalg.norm(places[:, None] - np.array(chosen), axis=2).min(axis=1)
        chosen.append(places[apart.argmax()])
    height, width = seen.shape
    return [((row + 0.5) / height, (column + 0.5) / width) for row, column in chosen]


@torch.inference_mode()
def attention(network: Any, images: Tensor, found: Sequence[Spot]) -> list[list[np.ndarray]]:
    """Of every layer with attention, what each of some positions reads: (h, w) float32, the mean over the heads."""
    given: list[tuple[Attention, Tensor]] = []
    layers = [layer for layer in network.modules() if isinstance(layer, Attention)]
    hooks = [layer.register_forward_pre_hook(lambda layer, x: given.append((layer, x[0]))) for layer in layers]
    try:
        if layers:
            network.predict(images)
    finally:
        for hook in hooks:
            hook.remove()
    return [[weights(layer, x, spot).cpu().numpy() for spot in found] for layer, x in given]


def weights(layer: Attention, x: Tensor, spot: Spot) -> Tensor:
    """(h, w) that sums to 1: how much of every position of (1, C, h, w) the one at a spot reads."""
    height, width = x.shape[2:]
    place = int(spot[0] * height) * width + int(spot[1] * width)
    query, key, _ = layer.project(x.flatten(2).transpose(1, 2))[0].float().unflatten(1, (3, layer.heads, -1)).unbind(1)
    scores = torch.einsum("hd,nhd->hn", query[place], key) / query.shape[-1] ** 0.5
    if layer.causal:
        scores[:, place + 1 :] = -torch.inf
    return scores.softmax(dim=1).mean(dim=0).unflatten(0, (height, width))
