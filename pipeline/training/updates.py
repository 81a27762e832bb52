"""One step of training: every part of a network updated once, each by its own AdamW."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn


class Updates:
    """The updates of a system; wraps its network for Fabric's device, precision and processes.

    Args:
        fabric: launched.
        network: a system, see `model/__init__.py`.
        lr, weight_decay: of AdamW, where a part does not say otherwise.
        seed: of the noise that the network draws.
    """

    def __init__(self, fabric: Fabric, network: nn.Module, lr: float, weight_decay: float, seed: int):
        self.fabric, self.network, self.seed = fabric, network, seed
        parts: dict[str, dict[str, Any]] = network.parts()  # type: ignore[operator]
        self.optimizers = {
            part: torch.optim.AdamW([group | {"full_lr": group.get("lr", lr)}], lr=lr, weight_decay=weight_decay)
            for part, group in parts.items()
        }
        self.wrapped, *steppers = fabric.setup(network, *self.optimizers.values())
        self.wrapped.mark_forward_method("losses")
        self.steppers = dict(zip(parts, steppers, strict=True))

    def step(self, batch: dict[str, Any], number: int, rate: float) -> dict[str, float]:
        """Updates every part that has something to learn from the batch.

        Args:
            batch: what `losses` takes.
            number: of the step in the training. Noise depends on it and not on what was drawn before, so that a
                resumed training draws what an undisturbed one would.
            rate: share of the full learning rates.

        Returns:
            The values of the losses, means over the processes.

        Raises:
            ValueError: a loss is not finite; the part that it belongs to is not updated.
        """
        mixed = np.random.SeedSequence([self.seed, number, self.fabric.global_rank])
        torch.manual_seed(int(mixed.generate_state(1)[0]))
        self.network.train()
        values: dict[str, float] = {}
        for part, stepper in self.steppers.items():
            self._choose(part, rate)
            losses = self.wrapped.losses(batch, part)
            values |= self._finite(losses, number)
            total = sum(losses.values())
            if isinstance(total, Tensor) and total.requires_grad:
                stepper.zero_grad()
                self.fabric.backward(total)
                stepper.step()
        return values

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return {
            "network": self.network.state_dict(),
            "optimizers": {part: optimizer.state_dict() for part, optimizer in self.optimizers.items()},
            "precision": self.fabric.strategy.precision.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        for part, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][part])
        self.fabric.strategy.precision.load_state_dict(state["precision"])

    def _choose(self, part: str, rate: float) -> None:
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = group["full_lr"] * rate
                for parameter in group["params"]:
                    parameter.requires_grad_(name == part)

    def _finite(self, losses: dict[str, Tensor], number: int) -> dict[str, float]:
        if not losses:
            return {}
        stacked = torch.stack([loss.detach().float() for loss in losses.values()])
        means = cast(Tensor, self.fabric.all_reduce(stacked, reduce_op="mean"))
        values = dict(zip(losses, means.tolist(), strict=True))
        for name, value in values.items():
            if not math.isfinite(value):
                raise ValueError(
                    f"train: expected finite losses, got {name} = {value} in step {number + 1}; a lower lr may help"
                )
        return values
