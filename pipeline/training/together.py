"""What processes that train together share: means over all of them. Alone, a process shares with itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor


def processes() -> int:
    """How many train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def added(value: Tensor) -> Tensor:
    """The sum over all processes, in the place of each one's share; without a wait for the device."""
    if processes() > 1:
        dist.all_reduce(value)
    return value


def average(tensors: Sequence[Tensor]) -> None:
    """Puts in the place of floating tensors their means over all processes, at the price of one message."""
    if processes() > 1 and tensors:
        spread(added(flat(tensors)) / processes(), tensors)


def alike(tensors: Sequence[Tensor]) -> None:
    """Gives every process the values of the first one."""
    if processes() > 1:
        for tensor in tensors:
            dist.broadcast(tensor.detach(), 0)


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """A copy of all values in a row, (N,)."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors]) if tensors else torch.empty(0)


def spread(values: Tensor, tensors: Sequence[Tensor]) -> None:
    """Puts back what `flat` copied."""
    pieces = values.split([tensor.numel() for tensor in tensors])
    shaped = [piece.view(tensor.shape) for piece, tensor in zip(pieces, tensors, strict=True)]
    if tensors:
        with torch.no_grad():
            torch._foreach_copy_(list(tensors), shaped)
