"""Photos: what is cut out of them, and what is left of that where a network looks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from pipeline.findings.finding import Check, Finding
from pipeline.pages.pictures import CELL, tiles
from pipeline.shards.views import prepare
from pipeline.sources.cutting.methods import cut
from pipeline.sources.photos import WIDE, Photo, read_photo
from pipeline.sources.pictures import decode

SIZE = 48, 64  # of a small network's input
LEAST = 48  # pixels along an object, below which even that sees less than it could


def look(path: Path) -> Finding:
    """What a photo shows; ValueError where it is no picture that can be read."""
    try:
        rgba = decode(path.read_bytes(), longest=WIDE)
        with Image.open(path) as image:
            size, kind, form = image.size, image.mode, image.format
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    upright = (rgba.shape[0] > rgba.shape[1]) == (size[1] > size[0])
    turned = "as it is stored" if upright else "turned as its camera says"
    square = size[0] == size[1]
    facts = {
        "picture": f"{size[0]} x {size[1]} pixels, {form} {kind}{'' if square else f', shown {turned}'}",
    }
    try:
        photo = read_photo(path)
        mask, how = cut(rgba)
    except ValueError as error:
        checks = [Check("an object can be told apart", str(error).removeprefix(f"{path}: "))]
        return Finding("photo", facts, checks, lambda: tiles([cell(rgba[..., :3])], ["the photo"]))
    facts["object"] = f"cut out by {how}, {mask.mean():.0%} of the picture, {photo.gray.shape[1]} x "
    facts["object"] += f"{photo.gray.shape[0]} pixels after averaging"
    light = photo.gray[photo.mask]
    facts["light"] = f"gray levels from {light.min()} to {light.max()}, half of them above {np.median(light):.0f}"
    edges = {"top": mask[0], "bottom": mask[-1], "left": mask[:, 0], "right": mask[:, -1]}
    cropped = ", ".join(name for name, edge in edges.items() if edge.any())
    small = max(photo.gray.shape) < LEAST
    checks = [
        Check("an object can be told apart"),
        Check("it is whole in the picture", f"it touches the edge at the {cropped}" if cropped else ""),
        Check(f"it has {LEAST} pixels or more along it", f"it has {max(photo.gray.shape)}" if small else ""),
        Check("it has light and shade", "it is in one gray" if np.ptp(light) < 8 else ""),
    ]
    return Finding("photo", facts, checks, lambda: picture(rgba, mask, photo))


def picture(rgba: np.ndarray, mask: np.ndarray, photo: Photo) -> Image.Image:
    """The photo, what is cut out of it, and what a network sees."""
    behind = np.where(mask[..., None], rgba[..., :3], rgba[..., :3] // 4 + np.array([190, 120, 120], np.uint8))
    seen = prepare(torch.from_numpy(photo.gray.copy()), torch.from_numpy(photo.mask), SIZE)
    small = Image.fromarray((seen[0].numpy() * 255).round().astype(np.uint8))
    shown = [cell(rgba[..., :3]), cell(behind.astype(np.uint8)), small.resize(CELL, Image.Resampling.NEAREST)]
    return tiles([image.convert("RGB") for image in shown], ["the photo", "left out: red", "as a network sees it"])


def cell(rgb: np.ndarray) -> Image.Image:
    """A picture (H, W, 3) uint8 as large as CELL, on white."""
    return ImageOps.pad(Image.fromarray(rgb), CELL, color="white")
