"""The processes that train together, and the precision in which they compute: Lightning Fabric, set up."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment

from pipeline.runtime.machine import device, devices

PR_SET_PDEATHSIG = 1  # of prctl(2)


def launch(precision: str, alone: bool = False) -> Fabric:
    """Fabric on all devices that are `available`; on several it starts the other processes, if torchrun has not.

    Args:
        precision: one of PRECISIONS (`params.py`).
        alone: in this process alone.

    Raises:
        ValueError: the device does not have the precision.
    """
    kind = device()
    if (precision, kind) == ("16-mixed", "cpu"):
        raise ValueError("train.precision: expected a CUDA device for 16-mixed, found none; a CPU has bf16-mixed")
    count, nodes = (1, 1) if alone else available(kind)
    fabric = Fabric(
        accelerator=kind,
        devices=count,
        num_nodes=nodes,
        strategy="ddp" if count * nodes > 1 else "auto",
        precision=precision,  # type: ignore[arg-type]
        plugins=None if _under_torchrun() and not alone else LightningEnvironment(),  # and no guess at a scheduler
    )
    if "LOCAL_RANK" in os.environ and not _under_torchrun():  # one that was started by the first of them
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    fabric.launch()
    return fabric


def available(kind: str) -> tuple[int, int]:
    """Devices a machine and machines, as torchrun has it, otherwise of this machine alone (`machine.devices`)."""
    if _under_torchrun():
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        return local, int(os.environ["WORLD_SIZE"]) // local
    return devices(kind), 1


def _under_torchrun() -> bool:
    return torch.distributed.is_torchelastic_launched()


def converted(fabric: Fabric, batch: dict[str, Any]) -> dict[str, Any]:
    """A batch as the precision wants it: the images as network input, what losses compare with never less than float32.

    Args:
        batch: of `make_batch`, on the device of `fabric`.
    """
    images = fabric.strategy.precision.convert_input(batch["images"])
    exact = torch.promote_types(images.dtype, torch.float32)
    targets = {name: batch[name].to(exact) for name in ("occupancy", "points") if name in batch}
    return batch | targets | {"images": images}
