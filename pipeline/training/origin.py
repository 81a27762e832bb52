"""Where weights come from: what a checkpoint tells of its training, beside what it is of."""

from __future__ import annotations

import platform
import subprocess
from typing import Any

import h5py
import lightning_fabric
import numpy as np
import torch

from pipeline.runtime.params import PARAMS_FILE


def origin(splits: dict[str, str]) -> dict[str, Any]:
    """`params`, `splits`, `versions` and `commit` as `checkpoints.py` describes them.

    Args:
        splits: hashes of the models of each split that is read.
    """
    versions = {library.__name__: str(library.__version__) for library in (h5py, lightning_fabric, np, torch)}
    return {
        "params": PARAMS_FILE.read_text(encoding="utf-8") if PARAMS_FILE.is_file() else "",
        "splits": splits,
        "versions": {"python": platform.python_version()} | versions,
        "commit": _commit(),
    }


def _commit() -> str:
    command = "git describe --always --dirty --abbrev=40 --exclude=*".split()
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
