"""One step of training: every part of a network updated once, each by its own AdamW.

Nothing here waits for the device: losses, gradients' norms and what became of a step stay there until they are read.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from pipeline.training.launch import converted
from pipeline.training.norms import share_norms
from pipeline.training.params import Params
from pipeline.training.together import average, flat, spread

Losses = dict[str, Tensor]


class Updates:
    """The updates of a system; moves its network to Fabric's device and precision.

    A part with a loss or a gradient that is not finite keeps its weights, and the network its buffers.

    Args:
        fabric: launched.
        network: a system, see `model/__init__.py`.
        params: section `train`.

    Attributes:
        averaged: what is validated, an average of the weights where `params` asks for one, otherwise the network.
        run: all of a step that is a function of the batch and of what is in the device's memory; whoever has a faster
            one of the same values may put it here.
        optimizers: by part.
        norms: by part, () the length of its last gradient, before it was clipped.
        skipped: () int64, steps in which that happened.
        in_a_row: () int64, how many of the last ones they are.
    """

    def __init__(self, fabric: Fabric, network: nn.Module, params: Params):
        self.fabric, self.params, precision = fabric, params, fabric.strategy.precision
        self.network = share_norms(precision.convert_module(network).to(fabric.device), fabric.device)
        self.losses = cast(Callable[[dict[str, Any], str], Losses], network.losses)
        self.run = self._run
        parts: dict[str, dict[str, Any]] = network.parts()  # type: ignore[operator]
        # Fused ones can be told on the device to do nothing, and are several times as fast on a CPU.
        self.optimizers = {
            part: torch.optim.AdamW(
                [group | {"full_lr": group.get("lr", params.lr), "lr": self._rate(0.0)}],
                weight_decay=params.weight_decay,
                fused=True,
            )
            for part, group in parts.items()
        }
        self.scaler: torch.amp.GradScaler | None = getattr(precision, "scaler", None)
        self.averaged = copy.deepcopy(self.network) if params.ema else self.network
        self.values, self.averages = _floating(self.network), _floating(self.averaged)
        self.buffers = [value for value in self.values if not isinstance(value, nn.Parameter)]
        self.norms: dict[str, Tensor] = {}
        self.skipped, self.in_a_row = torch.zeros(2, dtype=torch.int64, device=fabric.device).unbind()

    def step(self, batch: dict[str, Any], number: int, rate: float) -> Losses:
        """Updates every part that has something to learn from the batch.

        Args:
            batch: what `losses` takes.
            number: of the step in the training. Noise depends on it and not on what was drawn before, so that a
                resumed training draws what an undisturbed one would.
            rate: share of the full learning rates.

        Returns:
            The values of the losses, () each, means over the processes; on the device, without gradient.
        """
        mixed = np.random.SeedSequence([self.params.seed, number, self.fabric.global_rank])
        torch.manual_seed(int(mixed.generate_state(1)[0]))
        self.network.train()
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self._rate(group["full_lr"] * rate, group["lr"])
        values = self.run(batch)
        self._follow(number)
        return values

    def _run(self, batch: dict[str, Any]) -> Losses:
        pieces = _pieces(converted(self.fabric, batch), self.params.accumulate)
        before = flat(self.buffers)
        values: Losses = {}
        failed = torch.zeros((), dtype=torch.bool, device=self.fabric.device)
        for part, optimizer in self.optimizers.items():
            self._choose(part)
            optimizer.zero_grad()
            losses, total = self._gradients(pieces, part)
            values |= losses
            if total is not None:
                failed |= self._update(part, total)
        average([*values.values(), *self.buffers])
        if self.buffers:
            spread(torch.where(failed, before, flat(self.buffers)), self.buffers)
        self.skipped += failed
        self.in_a_row.add_(1).mul_(failed)
        return values

    def _gradients(self, pieces: list[dict[str, Any]], part: str) -> tuple[Losses, Tensor | None]:
        """Values of the part's losses, and their sum, unless it has no gradient: the part has nothing to learn.

        Every piece of the batch finds the buffers as they were, and leaves its share of what they become.
        """
        if len(pieces) == 1:
            return self._piece(pieces[0], part)
        before = flat(self.buffers)
        found, after = [], torch.zeros_like(before)
        for piece in pieces:
            spread(before, self.buffers)
            found.append(self._piece(piece, part))
            after += flat(self.buffers) / len(pieces)
        spread(after, self.buffers)
        values = {name: torch.stack([losses[name] for losses, _ in found]).mean() for name in found[0][0]}
        totals = [total for _, total in found if total is not None]
        return values, torch.stack(totals).sum() if totals else None

    def _piece(self, batch: dict[str, Any], part: str) -> tuple[Losses, Tensor | None]:
        """The same of one piece, its gradient added to what there is."""
        with self.fabric.autocast():
            losses = self.losses(batch, part)
        values = {name: loss.detach() for name, loss in losses.items()}
        total = sum(losses.values())
        if not isinstance(total, Tensor) or not total.requires_grad:
            return values, None
        total = total / self.params.accumulate
        self.fabric.backward(total)
        return values, total.detach()

    def _update(self, part: str, total: Tensor) -> Tensor:
        """Takes a step down the part's gradient; () bool, whether it could not, as something was not finite."""
        optimizer = self.optimizers[part]
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        average([*gradients, total])
        if self.scaler:
            self.scaler.unscale_(optimizer)
        norm = self.norms[part] = torch.nn.utils.get_total_norm(gradients).float()
        failed = ~(norm.isfinite() & total.isfinite())
        # A gradient of nothing but zeros is a part that rests: it keeps its momentum and its weights.
        optimizer.found_inf = (failed | (norm == 0)).float()  # type: ignore[attr-defined]
        if self.params.clip_norm:
            optimizer.grad_scale = (norm / self.params.clip_norm).clamp(min=1)  # type: ignore[attr-defined]
        optimizer.step()
        if self.scaler:
            self.scaler.update()
        return failed

    def _follow(self, number: int) -> None:
        """Moves the average towards the weights; the more steps it has seen the less, until it keeps its share."""
        if self.params.ema:
            kept = min(self.params.ema, (1 + number) / (10 + number))
            with torch.no_grad():
                torch._foreach_lerp_(self.averages, self.values, 1 - kept)

    def begin_with(self, weights: dict[str, Tensor]) -> None:
        """Puts in weights that the optimizers know nothing of."""
        for network in {self.network, self.averaged}:
            network.load_state_dict(weights)

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return {
            "network": self.network.state_dict(),
            "average": self.averaged.state_dict() if self.params.ema else {},
            "optimizers": {part: optimizer.state_dict() for part, optimizer in self.optimizers.items()},
            "precision": self.fabric.strategy.precision.state_dict(),
            "skipped": self.skipped,
            "in_a_row": self.in_a_row,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["average"] or state["network"])
        for part, optimizer in self.optimizers.items():
            groups = optimizer.state_dict()["param_groups"]  # its own: what they say is of this run and this device
            optimizer.load_state_dict(state["optimizers"][part] | {"param_groups": groups})
            for weight, moments in optimizer.state.items():
                for name in ("exp_avg", "exp_avg_sq"):  # fused ones need them laid out in memory as the weight is
                    moments[name] = torch.empty_like(weight).copy_(moments[name])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.skipped.copy_(state["skipped"])
        self.in_a_row.copy_(state["in_a_row"])

    def _choose(self, part: str) -> None:
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.requires_grad_(name == part)

    def _rate(self, value: float, before: float | Tensor = 0.0) -> float | Tensor:
        """A learning rate; on CUDA it stays where it is on the device, where a step from a graph finds it."""
        if self.fabric.device.type != "cuda":
            return value
        return before.fill_(value) if isinstance(before, Tensor) else torch.tensor(value, device=self.fabric.device)


def _floating(network: nn.Module) -> list[Tensor]:
    """Weights and buffers that a checkpoint has, in its order."""
    return [value for value in network.state_dict(keep_vars=True).values() if value.is_floating_point()]


def _pieces(batch: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """A batch as `count` of equal size; each is the same dict for all parts of a step."""
    tensors = {name: value.tensor_split(count) for name, value in batch.items() if isinstance(value, Tensor)}
    return [batch | {name: pieces[piece] for name, pieces in tensors.items()} for piece in range(count)]
