"""First weights from another training: fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from pipeline.training import checkpoints

SHOWN = 10  # of those that do not fit


def start_from(path: Path, network: nn.Module, written: Sequence[Path]) -> None:
    """Puts the weights of a checkpoint into a network, as far as names and shapes are the same; prints what is not.

    Args:
        path: of the checkpoint.
        network: a system.
        written: files that this training will write.

    Raises:
        ValueError: the file is no checkpoint, or nothing of it fits, or it will be written over.
    """
    if path.resolve() in [other.resolve() for other in written]:
        raise ValueError(
            f"train.start_from: expected a file that the training does not write itself, got {path}; copy it"
        )
    weights, own = checkpoints.read(path)["state"], network.state_dict()
    fits = {name: value for name, value in weights.items() if name in own and value.shape == own[name].shape}
    if not fits:
        raise ValueError(f"train.start_from: expected a checkpoint with weights that fit the network, {path} has none")
    network.load_state_dict(own | fits)
    print(f"starting from {path}: {len(fits)} of {len(own)} tensors", flush=True)
    rest = [name for name in own if name not in fits]
    for name in rest[:SHOWN]:
        print(f"  not {name}: {_shape(own[name])} here, {_shape(weights.get(name))} there", flush=True)
    if len(rest) > SHOWN:
        print(f"  and {len(rest) - SHOWN} more", flush=True)


def _shape(value: Tensor | None) -> str:
    return "none" if value is None else "x".join(map(str, value.shape)) or "one number"
