"""Trained systems on disk: what `train` writes, and what `metrics` and `predict` load.

`data/checkpoints/<system>.pt` has the weights that did best in validation, `<system>_last.pt` those of the last one. A
plain dict, read by `torch.load(path, weights_only=True)`, in a zip whose checksums `load` compares:

    format, version     what this file is
    system, module      entry of `systems:` in params.yaml, and its file in model/
    config              that entry, as a plain mapping
    state               the state dict of the network
    samples             on how many it was trained; the curves go on from there if it was not the last
    val_...             what the validation split gave then
    params              the text of params.yaml
    splits              hashes of the models that it was trained on and validated with, `train` and `val`
    versions            of Python and of the libraries
    commit              of git, with -dirty behind it where files were changed; empty where there is no repository
"""

from __future__ import annotations

import dataclasses
import io
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import model
from pipeline.runtime.files import atomic_write
from pipeline.runtime.params import build

FORMAT, VERSION = "oneview-checkpoint", 1
CHECKPOINTS = Path("data/checkpoints")
TRAVELS = ".safetensors"  # of files that `weights.py` writes and reads


def describe(system: str, module: ModuleType, config: Any) -> dict[str, Any]:
    """The part of a checkpoint that says what it is of; the rest is the trainer's."""
    values = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(config).items()}
    name = module.__name__.rpartition(".")[2]
    return {"format": FORMAT, "version": VERSION, "system": system, "module": name, "config": values}


def save(path: Path, contents: dict[str, Any]) -> None:
    """Writes a dict of tensors and plain values; the file is whole or not there."""
    whole = io.BytesIO()  # writing to a disk itself, torch does not say what is wrong with that
    torch.save(contents, whole)
    with atomic_write(path) as temporary:
        temporary.write_bytes(whole.getbuffer())


def load(path: Path) -> dict[str, Any]:
    """What `save` wrote, its tensors on the CPU.

    Raises:
        ValueError: the file is missing, broken, or holds something else.
    """
    if not path.is_file():
        hint = f"`dvc repro train@{path.stem}` trains it, once selected_systems in params.yaml names it"
        raise ValueError(f"{path}: expected a trained system, found no file; {hint}")
    try:
        with zipfile.ZipFile(path) as parts:
            if broken := parts.testzip():
                raise ValueError(f"{broken} is not what its checksum says")
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what the zip reader, the unpickler or its own checks happen to raise
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path}: expected a checkpoint, got {type(error).__name__}: {reason}") from error
    if not isinstance(contents, dict):
        raise ValueError(f"{path}: expected a checkpoint, got a {type(contents).__name__}")
    return contents


def read(path: Path) -> dict[str, Any]:
    """The contents of a checkpoint, or of weights that travel (`weights.py`).

    Raises:
        ValueError: as `load`, or it is another kind of file, or of another version.
    """
    info = _travelled(path) if path.suffix == TRAVELS else load(path)
    found = (info.get("format"), info.get("version"))
    if found != (FORMAT, VERSION):
        raise ValueError(f"{path}: expected {FORMAT} version {VERSION}, got {found[0]} version {found[1]}")
    return info


def _travelled(path: Path) -> dict[str, Any]:
    from pipeline.training import weights  # and with it a library that no training needs

    return weights.read(path)


def load_checkpoint(path: Path, device: str | torch.device = "cpu") -> tuple[Any, Any, dict[str, Any]]:
    """A trained network, ready to predict.

    Returns:
        The network in eval mode on `device`, its Config, and the rest of the checkpoint.

    Raises:
        ValueError: the file is missing or no checkpoint, is of another version, or does not fit the code.
    """
    info = read(path)
    module = model.system(info["module"])
    config = build(module.Config, info["config"], f"{path}: config")
    network = model.create(info["module"], config)
    try:
        network.load_state_dict(info.pop("state"))
    except RuntimeError as error:
        raise ValueError(f"{path}: expected weights for model/{info['module']}.py, got {error}") from error
    return network.eval().to(device), config, info
