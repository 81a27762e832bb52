"""What the machine offers: settings of how fast things are made, which change what is made by no more than rounding.

They come from the environment, not from params.yaml, so that no stage reruns because of them.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator


def workers() -> int:
    """Worker processes of a stage: ONEVIEW_WORKERS, otherwise the cores this process may use."""
    return _count("ONEVIEW_WORKERS") or len(os.sched_getaffinity(0))


def _count(name: str) -> int:
    """The positive integer in a variable of the environment, 0 where there is none."""
    given = os.environ.get(name, "")
    if given and (not given.isdigit() or int(given) < 1):
        raise ValueError(f"{name}: expected a positive integer, got '{given}'")
    return int(given or 0)


def scheduler() -> str:
    """Address of a Dask scheduler whose workers do the stages' work (ONEVIEW_SCHEDULER); empty for local processes."""
    return os.environ.get("ONEVIEW_SCHEDULER", "")


def limits() -> tuple[float, float]:
    """What one model may take of a stage: ONEVIEW_MODEL_SECONDS (300), and ONEVIEW_MODEL_GB of memory (4)."""
    return _positive("ONEVIEW_MODEL_SECONDS", "300"), _positive("ONEVIEW_MODEL_GB", "4")


def _positive(name: str, default: str) -> float:
    given = os.environ.get(name, default)
    try:
        value = float(given)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise ValueError(f"{name}: expected a positive number, got '{given}'")
    return value


def device(auto: str = "cuda") -> str:
    """`cuda` or `cpu`: ONEVIEW_DEVICE (auto, cpu, cuda); `auto` is what the work is fastest on, if it is there."""
    given = os.environ.get("ONEVIEW_DEVICE", "auto")
    if given not in ("auto", "cpu", "cuda"):
        raise ValueError(f"ONEVIEW_DEVICE: expected auto, cpu or cuda, got '{given}'")
    if (auto if given == "auto" else given) == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if given == "cuda":
        raise ValueError("ONEVIEW_DEVICE: expected a CUDA device for 'cuda', found none")
    return "cpu"


def devices(kind: str) -> int:
    """How many devices of this machine, `cuda` or `cpu`, train together, a process each.

    ONEVIEW_DEVICES, otherwise every CUDA device that is seen, and one process on a CPU.
    """
    asked = _count("ONEVIEW_DEVICES")
    if kind == "cpu":
        return asked or 1
    import torch

    found = torch.cuda.device_count()
    if asked > found:
        raise ValueError(f"ONEVIEW_DEVICES: expected at most the {found} CUDA devices that are seen, got {asked}")
    return asked or found


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """A photo is too little work to share: on busy cores threads wait for each other, up to 20 times as long."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
