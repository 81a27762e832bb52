"""One part of a system, trained on one batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def learn(model: nn.Module, part: str, batch: dict[str, Any], steps: int, lr: float) -> list[dict[str, float]]:
    """The values of the part's losses, step by step."""
    optimizer = torch.optim.AdamW([model.parts()[part] | {"lr": lr}])  # type: ignore[operator]
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        losses: dict[str, Tensor] = model.losses(batch, part)  # type: ignore[operator]
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        found.append({name: loss.item() for name, loss in losses.items()})
    return found
