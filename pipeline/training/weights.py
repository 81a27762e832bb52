"""Weights that travel: a trained system as one small file in the safetensors format, which runs no code when read.

Floating-point tensors are stored in half precision. The file's metadata has, as JSON, what a checkpoint has beside its
weights (see `checkpoints.py`); `threshold`, that metrics tuned on validation, where occupancy is predicted; and the
SHA-256 of all tensors, which `read` compares.

Format: github.com/huggingface/safetensors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pipeline.runtime.files import atomic_write

KEY = "oneview"  # of the metadata


def write(path: Path, contents: Mapping[str, Any]) -> None:
    """Writes a checkpoint's contents, `state` its tensors and everything else plain values."""
    state = {name: (v.half() if v.is_floating_point() else v).contiguous() for name, v in contents["state"].items()}
    about = {name: value for name, value in contents.items() if name != "state"} | {"sha256": _sha256(state)}
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(state, {KEY: json.dumps(about, sort_keys=True)}))


def read(path: Path) -> dict[str, Any]:
    """What `write` was given, its floating-point tensors in half precision.

    Raises:
        ValueError: there is no such file, it is damaged, or it was written by something else.
    """
    if not path.is_file():
        raise ValueError(f"{path}: expected the weights of a system, found no file")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get(KEY, "null"))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (SafetensorError, ValueError, OSError) as error:
        raise ValueError(f"{path}: expected weights in the safetensors format, got {error}") from error
    if not isinstance(about, dict):
        raise ValueError(f"{path}: expected weights of a system of this project, got others, without '{KEY}'")
    if about.pop("sha256", "") != _sha256(state):
        raise ValueError(f"{path}: expected the tensors whose checksum is in the file, got others; it is damaged")
    return about | {"state": state}


def _sha256(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(f"{name} {state[name].dtype} {list(state[name].shape)}\n".encode())
        digest.update(state[name].numpy().tobytes())
    return digest.hexdigest()
