"""Trained systems on disk, `data/checkpoints/<system>.pt`: what `train` writes, and what `metrics` and `predict` load.

A plain dict, read by `torch.load(path, weights_only=True)`:

    format, version     what this file is
    system, module      entry of `systems:` in params.yaml, and its file in model/
    config              that entry, as a plain mapping
    state               the state dict of the network
    samples             on how many it was trained; the curves go on from there if it was not the last
    val_...             what the validation split gave then
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import model
from pipeline.runtime.files import atomic_write
from pipeline.runtime.params import build

FORMAT, VERSION = "oneview-checkpoint", 1
CHECKPOINTS = Path("data/checkpoints")


def describe(system: str, module: ModuleType, config: Any) -> dict[str, Any]:
    """The part of a checkpoint that says what it is of; the rest is the trainer's."""
    values = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(config).items()}
    name = module.__name__.rpartition(".")[2]
    return {"format": FORMAT, "version": VERSION, "system": system, "module": name, "config": values}


def save(path: Path, contents: dict[str, Any]) -> None:
    """Writes a dict of tensors and plain values; the file is whole or not there."""
    with atomic_write(path) as temporary:
        torch.save(contents, temporary)


def load(path: Path) -> dict[str, Any]:
    """What `save` wrote, its tensors on the CPU.

    Raises:
        ValueError: the file is missing, broken, or holds something else.
    """
    if not path.is_file():
        hint = f"`dvc repro train@{path.stem}` trains it, once selected_systems in params.yaml names it"
        raise ValueError(f"{path}: expected a trained system, found no file; {hint}")
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what the zip reader, the unpickler or its own checks happen to raise
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path}: expected a checkpoint, got {type(error).__name__}: {reason}") from error
    if not isinstance(contents, dict):
        raise ValueError(f"{path}: expected a checkpoint, got a {type(contents).__name__}")
    return contents


def load_checkpoint(path: Path, device: str | torch.device = "cpu") -> tuple[Any, Any, dict[str, Any]]:
    """A trained network, ready to predict.

    Returns:
        The network in eval mode on `device`, its Config, and the rest of the checkpoint.

    Raises:
        ValueError: the file is missing or no checkpoint, is of another version, or does not fit the code.
    """
    info = load(path)
    found = (info.get("format"), info.get("version"))
    if found != (FORMAT, VERSION):
        raise ValueError(f"{path}: expected {FORMAT} version {VERSION}, got {found[0]} version {found[1]}")
    module = model.system(info["module"])
    config = build(module.Config, info["config"], f"{path}: config")
    network = model.create(info["module"], config)
    try:
        network.load_state_dict(info.pop("state"))
    except RuntimeError as error:
        raise ValueError(f"{path}: expected weights for model/{info['module']}.py, got {error}") from error
    return network.eval().to(device), config, info
