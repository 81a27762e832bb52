"""The network that answers: yours, or the one that comes along; what it sees of photos, and the shape that it says."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from model import unseen
from pipeline.answers.shape import Shape, able, check, finished
from pipeline.runtime.machine import device, one_thread
from pipeline.runtime.params import PARAMS_FILE, selected_systems
from pipeline.scoring.predictions import predict
from pipeline.scoring.tables import tuned_threshold
from pipeline.shards.views import prepare
from pipeline.sources.photos import Photo, read_photo
from pipeline.training.checkpoints import CHECKPOINTS, load_checkpoint

WEIGHTS = Path(__file__).parents[2] / "data/weights/recall.safetensors"  # of the network that comes along


@dataclass(frozen=True)
class Network:
    """A trained system that answers photos alone.

    Attributes:
        name: entry of `systems:` that it was trained as.
        path: its file.
        model, config: the network on its device, and its Config.
        threshold: of the occupancy at the surface.
        backgrounds: whether it was trained on objects before backgrounds, too (`train.augment.background`).
    """

    name: str
    path: Path
    model: Any
    config: Any
    threshold: float
    backgrounds: bool = False

    @property
    def formats(self) -> tuple[str, ...]:
        """Ends of the names of files that hold its shapes."""
        return able(self.model.output == "points", self.model.output == "occupancy")

    def predict(
        self,
        *photos: str | Path,
        cut_out: str = "auto",
        masks: Sequence[str | Path] = (),
        size: float = 1.0,
        faces: int | None = None,
        all_pieces: bool = False,
        keep_background: bool = False,
    ) -> Shape:
        """The shape of the object in a photo, or in several, which are views of it.

        Args:
            cut_out: one of `photos.CUT_OUTS`, how objects are cut out.
            masks: instead, a picture for each photo, of its size and white on the object.
            size: longest side of the shape.
            faces: at most so many, where that leaves the surface closed.
            all_pieces: whether pieces beside the largest stay.
            keep_background: whether the network sees what is around the object, too, as it may where `backgrounds`.

        Raises:
            ValueError: a photo shows no object, or the shape is empty; or an argument can't be.
        """
        check(size, faces)
        if not photos or len(masks) not in (0, len(photos)):
            raise ValueError(f"expected photos and a mask for each or none, got {len(photos)} and {len(masks)}")
        pairs = itertools.zip_longest(map(Path, photos), map(Path, masks))
        read = [read_photo(photo, cut_out, mask, keep_background) for photo, mask in pairs]
        try:
            return self.answer(read, size, faces, all_pieces)
        except ValueError as error:
            raise ValueError(f"{', '.join(map(str, photos))}: {error}") from error

    def answer(
        self, photos: Sequence[Photo], size: float = 1.0, faces: int | None = None, all_pieces: bool = False
    ) -> Shape:
        """`predict` of photos that are read, one or more; ValueError where the shape is empty."""
        with one_thread():
            images = self.see(photos)
            prediction = predict(self.model, images)[0]
        seen = (images[0].movedim(1, -1).squeeze(-1).cpu().numpy() * 255).round().astype(np.uint8)
        how = tuple(photo.how for photo in photos)
        return finished(prediction, self.threshold, seen, how, size, faces, all_pieces)

    def see(self, photos: Sequence[Photo]) -> Tensor:
        """Photos of one object as the network gets them, (1, V, C, H, W) float32 on its device."""
        return see(photos, self.config.image_size, getattr(self.config, "color", False))


def load(checkpoint: str | Path | None = None, system: str | None = None, threshold: float | None = None) -> Network:
    """A trained network: that of a file, or of a system, or as `where` says; ValueError as `where` and `trained`."""
    return trained(where(system, Path(checkpoint) if checkpoint else None), threshold)


def where(system: str | None, checkpoint: Path | None) -> Path:
    """The file of what was asked for, otherwise of the first selected system that is trained, or of what comes along.

    Raises:
        ValueError: both are asked for.
    """
    if checkpoint and system:
        raise ValueError(f"--checkpoint: expected it or --system, got '{checkpoint}' and '{system}'")
    if checkpoint or system:
        return checkpoint or CHECKPOINTS / f"{system}.pt"
    selected = selected_systems() if CHECKPOINTS.is_dir() and PARAMS_FILE.is_file() else {}  # it may be another's
    files = [path for name in selected if (path := CHECKPOINTS / f"{name}.pt").is_file()]
    return files[0] if files else WEIGHTS


def trained(path: Path, threshold: float | None) -> Network:
    """The system in a file.

    Args:
        threshold: as asked for, or else as metrics tuned it for the file's system, or 0.5 where there is none.

    Raises:
        ValueError: there is no trained system, it takes more than photos, or the threshold can't be or means nothing.
    """
    if threshold is not None and not 0 < threshold <= 1:
        raise ValueError(f"--threshold: expected a number over 0 and up to 1, got {threshold}")
    model, config, info = load_checkpoint(path, device())
    name = info["system"]
    if needed := unseen(config):
        raise ValueError(f"{path}: expected a system that takes a photo alone, got one with {needed[0]}")
    if threshold is not None and model.output != "occupancy":
        raise ValueError(f"--threshold: expected none for {name}, its output is {model.output}, not occupancy")
    here = path.resolve().parent == CHECKPOINTS.resolve()
    known = [threshold, info.get("threshold"), tuned_threshold(name) if here else None, 0.5]
    return Network(name, path, model, config, next(level for level in known if level is not None), _backgrounds(info))


def _backgrounds(info: dict[str, Any]) -> bool:
    """Whether the params.yaml of a checkpoint's training has `train.augment.background`."""
    try:
        train = (yaml.safe_load(info.get("params") or "") or {}).get("train") or {}
        return bool((train.get("augment") or {}).get("background"))
    except (yaml.YAMLError, AttributeError):
        return False  # of a checkpoint from elsewhere, whose settings are nobody's


def see(photos: Sequence[Photo], size: tuple[int, int], color: bool = False) -> Tensor:
    """Photos of one object as a network gets them, (1, V, C, H, W) float32 on its device.

    Args:
        photos: V of them, each of whatever size.
        size: (H, W).
        color: whether in colour, C = 3, or in gray, C = 1.
    """
    views = [
        prepare(
            torch.from_numpy((photo.color if color else photo.gray).copy()),
            torch.from_numpy(photo.mask),
            size,
            photo.kept,
        )
        for photo in photos
    ]
    return torch.stack(views)[None].to(device())
