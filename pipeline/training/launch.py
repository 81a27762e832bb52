"""The processes that train together, and the precision in which they compute: Lightning Fabric, set up."""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric

from pipeline.runtime.machine import device


def launch(precision: str) -> Fabric:
    """Fabric on the CPU or on every CUDA device there is, one process each.

    Args:
        precision: one of PRECISIONS (`params.py`).

    Raises:
        ValueError: the device does not have the precision.
    """
    kind = device()
    if (precision, kind) == ("16-mixed", "cpu"):
        raise ValueError("train.precision: expected a CUDA device for 16-mixed, found none; a CPU has bf16-mixed")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    strategy = "ddp" if count > 1 else "auto"
    fabric = Fabric(accelerator=kind, devices=count, strategy=strategy, precision=precision)  # type: ignore[arg-type]
    fabric.launch()
    return fabric


def converted(fabric: Fabric, batch: dict[str, Any]) -> dict[str, Any]:
    """A batch as the precision wants it: the images as network input, what losses compare with never less than float32.

    Args:
        batch: of `make_batch`, on the device of `fabric`.
    """
    images = fabric.strategy.precision.convert_input(batch["images"])
    exact = torch.promote_types(images.dtype, torch.float32)
    targets = {name: batch[name].to(exact) for name in ("occupancy", "points") if name in batch}
    return batch | targets | {"images": images}
