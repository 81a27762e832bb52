"""First weights of an image encoder from ImageNet: torchvision's ResNet-18, for an encoder of the same sizes.

The encoder sees one gray channel from 0 to 1; torchvision's sees three, from which a mean was taken and which were
divided by a deviation. The first layer's weights are divided and summed instead, and the mean goes into the
normalisation behind it, so that a gray picture gives what it gave there, but within three pixels of the border: what
lies outside is black here, and gray there. An encoder that takes colour has the three channels, divided alike.

Source of names, mean and deviation: github.com/pytorch/vision, `torchvision/models/resnet.py` (ResNet18_Weights).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STAGES, BLOCKS = 4, 2
PLACES = {"conv1": "residual.0", "bn1": "residual.1", "conv2": "residual.3", "bn2": "residual.4"}
PLACES |= {"downsample.0": "shortcut.0", "downsample.1": "shortcut.1"}


def take_encoder(path: Path, network: nn.Module) -> None:
    """Puts torchvision's weights into the encoder of a network.

    Args:
        path: of the state dict, as torchvision's resnet18-f37072fd.pth.
        network: a system with a residual `encoder` (`model/layers/encoders.py`).

    Raises:
        ValueError: the file is no such state dict, or the encoder is another.
    """
    label = "train.encoder_weights"
    encoder: Any = getattr(network, "encoder", None)
    own = encoder.state_dict() if encoder is not None else {}
    given = _read(path, label)
    found = {name: given[theirs] for theirs, name in _names().items() if theirs in given}
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
    if (first := found.get("0.weight")) is not None and first.ndim == 4 and first.shape[1] == 3:
        scaled = first / deviation
        gray = own.get("0.weight", first).shape[1] == 1
        found["0.weight"] = scaled.sum(dim=1, keepdim=True) if gray else scaled
        if "1.running_mean" in found:
            found["1.running_mean"] = found["1.running_mean"] + (scaled * mean).sum(dim=(1, 2, 3))
    wanted = {name: value.shape for name, value in own.items() if not name.endswith("num_batches_tracked")}
    shapes = {name: value.shape for name, value in found.items()}
    if not wanted or shapes != wanted:
        expected = "an encoder of ResNet-18's sizes (encoder_channels [64, 128, 256, 512], encoder_blocks 2, no depth)"
        fits = sum(shapes.get(name) == shape for name, shape in wanted.items())
        raise ValueError(f"{label}: expected {expected} for {path}, whose weights fit {fits} of {len(wanted)} tensors")
    encoder.load_state_dict(own | found)
    print(f"encoder from {path}: {len(found)} tensors", flush=True)


def _read(path: Path, label: str) -> dict[str, Tensor]:
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what the zip reader, the unpickler or its own checks happen to raise
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{label}: expected torchvision's ResNet-18 in {path}, got {reason}") from error
    if not isinstance(contents, dict) or "conv1.weight" not in contents:
        raise ValueError(f"{label}: expected torchvision's ResNet-18 in {path}, found no 'conv1.weight'")
    return contents


def _names() -> dict[str, str]:
    """torchvision's name of a tensor -> its name in `residual_encoder` of 18 layers."""
    parts = {"conv1": "0", "bn1": "1"}
    for stage in range(STAGES):
        for block in range(BLOCKS):
            place = 4 + BLOCKS * stage + block
            parts |= {f"layer{stage + 1}.{block}.{theirs}": f"{place}.{ours}" for theirs, ours in PLACES.items()}
    kinds = ("weight", "bias", "running_mean", "running_var")
    return {f"{theirs}.{kind}": f"{ours}.{kind}" for theirs, ours in parts.items() for kind in kinds}
