"""What to do when a batch does not fit into the memory of a GPU: say so, and find out what does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from pipeline.training.updates import Updates

STEPS = 2  # the optimizers' own memory is there from the second one on


@contextmanager
def told(system: str, config: Any, samples: int) -> Iterator[None]:
    """Makes a lack of memory in the block a ValueError that names what did not fit.

    Args:
        system: entry of `systems:`.
        config: of its network.
        samples: that a process takes at a time.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ValueError(
            f"train: expected {described(config, samples)} at a time to fit into the GPU, which they do not; "
            f"`python -m pipeline.train {system} --fit` finds what does"
        ) from error


def pieces(updates: Updates, batch: dict[str, Any]) -> int | None:
    """In how many pieces a batch fits into memory, the fewest; None where not even single samples do.

    Args:
        updates: not needed any more, as they are tried out.
        batch: what one process takes in a step.
    """
    size = len(batch["images"])
    for count in (n for n in range(1, size + 1) if size % n == 0):
        updates.params = replace(updates.params, accumulate=count)
        try:
            for step in range(STEPS):
                updates.step(batch | {"progress": 1.0}, step, 1.0)
            return count
        except torch.OutOfMemoryError:
            print(f"not at a time: {size // count} samples", flush=True)
        for optimizer in updates.optimizers.values():
            optimizer.zero_grad()
        torch.cuda.empty_cache()
    return None


def described(config: Any, samples: int) -> str:
    height, width = config.image_size
    plural = "sample" if samples == 1 else "samples"
    return f"{samples} {plural} of {height}x{width} pixels and {config.resolution}^3 cells"
