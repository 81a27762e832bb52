"""How far a training is, beside its weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class State:
    """What a stopped run has to know to go on, of plain values and tensors.

    Attributes:
        step: steps done.
        best, last: the checkpoints of the validation that gave the best scores so far, and of the last one.
        rows: of the curves.
        sums: names of losses that came together -> (2, n) float64, of each the sum of its finite values since the last
            row, and their count. They stay on the device until they are read.
    """

    step: int = 0
    best: dict[str, Any] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, float]] = field(default_factory=list)
    sums: dict[tuple[str, ...], Tensor] = field(default_factory=dict)

    def add(self, losses: dict[str, Tensor]) -> None:
        """Counts a step and its losses, () each, on one device."""
        self.step += 1
        if losses:
            values = torch.stack([*losses.values()]).double()
            finite = values.isfinite()
            both = torch.stack([torch.where(finite, values, 0), finite.double()])
            before = self.sums.get(tuple(losses))
            self.sums[tuple(losses)] = both if before is None else before.to(both.device) + both

    def means(self) -> dict[str, float]:
        """Means of the finite values since the last row; waits for the device."""
        sums: dict[str, list[float]] = {}
        for names, both in self.sums.items():
            for name, total, count in zip(names, *both.tolist(), strict=True):
                before = sums.get(name, [0.0, 0.0])
                sums[name] = [before[0] + total, before[1] + count]
        return {name: total / count for name, (total, count) in sums.items() if count}
