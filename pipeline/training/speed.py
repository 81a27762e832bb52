"""How a training gets as fast as its machine: what is chosen by itself, and why."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

WARM_STEPS = 3  # steps of a kind before it is recorded: libraries choose their algorithms and get their memory in these


@dataclass(frozen=True)
class Choices:
    """What makes a training fast; the defaults are the plain one.

    Attributes:
        tf32: matrices and convolutions of float32 in TF32, and attention in bfloat16.
        channels_last: images have their channels last in memory.
        compiled: the losses are compiled.
        recorded: steps are recorded as CUDA graphs and repeated without Python.
        resident: the training split lies in the device's memory.
    """

    tf32: bool = False
    channels_last: bool = False
    compiled: bool = False
    recorded: bool = False
    resident: bool = False


def prepare(network: nn.Module, choices: Choices) -> nn.Module:
    """The network as the choices have it; it stays the same object, with the same parameters."""
    torch.backends.cuda.matmul.allow_tf32 = choices.tf32
    torch.backends.cudnn.allow_tf32 = choices.tf32
    torch.backends.cudnn.benchmark = choices.tf32
    if choices.channels_last:
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if choices.compiled:
        network.losses = torch.compile(network.losses)  # type: ignore[assignment, arg-type]
    return network


class Recorded:
    """A function of a batch that repeats itself from a CUDA graph, once it has run WARM_STEPS times.

    Only the last graph is kept: another shape of the batch, or another phase of the training, is recorded anew.

    Args:
        function: of a batch on a CUDA device, to named tensors. It may not look at any value on the device, and all
            that it depends on besides the batch's tensors has to stay where it is in memory.
        phases: values of the batch's `progress` from which on the function is another one.
    """

    def __init__(self, function: Callable[[dict[str, Any]], dict[str, Tensor]], phases: tuple[float, ...] = ()):
        self.function, self.phases = function, phases
        self.kind: object = None
        self.warm = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.batch: dict[str, Any] = {}
        self.results: dict[str, Tensor] = {}

    def __call__(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
        kind = bisect(self.phases, batch["progress"]), {name: value.shape for name, value in tensors.items()}
        if kind != self.kind:
            self.kind, self.warm, self.graph = kind, 0, None
        if self.warm < WARM_STEPS:
            self.warm += 1
            return self._beside(batch)
        if self.graph is None:
            self._record(batch, tensors)
        assert self.graph is not None
        for name, value in tensors.items():
            self.batch[name].copy_(value)
        self.graph.replay()
        return {name: value.clone() for name, value in self.results.items()}

    def _beside(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """On a stream of its own, as in the recording: what autograd keeps by stream is then the same."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            results = self.function(dict(batch))
        torch.cuda.current_stream().wait_stream(stream)
        return results

    def _record(self, batch: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.batch = batch | {name: value.clone() for name, value in tensors.items()}
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.results = self.function(dict(self.batch))
