"""How a training gets as fast as its machine: what is chosen by itself, and why."""

from __future__ import annotations

import warnings
from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from pipeline.runtime.machine import device
from pipeline.training.params import Params
from pipeline.training.updates import Updates

WARM_STEPS = 3  # steps of a kind before it is recorded: libraries choose their algorithms and get their memory in these
LONG = 500  # steps that earn back the seconds in which convolutions are tried out and graphs are recorded
SHARE = 0.5  # of the device's free memory that data may take; the rest is the network's


@dataclass(frozen=True)
class Choices:
    """What makes a training fast; the defaults are what PyTorch does by itself.

    Attributes:
        tf32: matrices and convolutions of float32 in TF32, and attention in bfloat16.
        tried: of the ways to work out a convolution, the fastest is found out when it is first met.
        channels_last: images have their channels last in memory.
        compiled: the losses are compiled.
        recorded: steps are recorded as CUDA graphs and repeated without Python.
        resident: the splits lie in the device's memory.
    """

    tf32: bool = False
    tried: bool = False
    channels_last: bool = False
    compiled: bool = False
    recorded: bool = False
    resident: bool = False


def precision(params: Params, network: type[nn.Module] | nn.Module) -> str:
    """Of Fabric's precisions the one that is asked for, or that `auto` stands for here and for a system."""
    if params.precision != "auto":
        return params.precision
    fast = params.speed == "auto" and device() == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if fast and not getattr(network, "slow_in_bfloat16", False) else "32-true"


def choose(network: nn.Module, params: Params, processes: int, data: int, free: int) -> tuple[Choices, str]:
    """What to do on CUDA devices.

    Args:
        network: a system.
        params: section `train`.
        processes: how many train together.
        data: bytes of the splits.
        free: bytes of a device's memory.

    Returns:
        The choices, and a line that says them with their reasons.
    """
    if params.speed == "plain":
        return Choices(), "train.speed plain: nothing but what PyTorch does by itself"
    long, resident = params.steps >= LONG, data <= SHARE * free
    against = {
        f"fewer than {LONG} steps": not long,
        f"{processes} processes": processes > 1,
        "the loss is scaled": params.precision == "16-mixed",
        "steps of this system are not all alike": getattr(network, "phases", None) is None,
    }
    reason = next((words for words, holds in against.items() if holds), "")
    sizes = f"{data / 1e9:.1f} GB of {free / 1e9:.1f} free"
    told = [
        f"{precision(params, network)}, TF32 where it is float32, channels last",
        f"convolutions {'tried out' if long else 'not tried out: ' + reason}",
        f"data in the device's memory: {sizes}" if resident else f"data from the disk: {sizes}, at most half is taken",
        f"no CUDA graph: {reason}" if reason else "steps from a CUDA graph",
    ]
    choices = Choices(True, tried=long, channels_last=True, recorded=not reason, resident=resident)
    return choices, "train.speed auto: " + "; ".join(told)


def prepare(network: nn.Module, choices: Choices) -> nn.Module:
    """The network as the choices have it; it stays the same object, with the same parameters."""
    torch.backends.cuda.matmul.allow_tf32 = choices.tf32
    torch.backends.cudnn.benchmark = choices.tried
    if choices.channels_last:
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if choices.compiled:
        network.losses = torch.compile(network.losses)  # type: ignore[assignment, arg-type]
    return network


def hasten(fabric: Fabric, network: nn.Module, params: Params, data: int) -> Choices:
    """Chooses for a training on CUDA devices, which the first process prints, and prepares the network for it.

    Args:
        fabric: launched.
        network: a system.
        params: section `train`.
        data: bytes of the splits.
    """
    if fabric.device.type != "cuda":
        return Choices()
    choices, words = choose(network, params, fabric.world_size, data, torch.cuda.mem_get_info(fabric.device)[0])
    if fabric.is_global_zero:
        print(words, flush=True)
    prepare(network, choices)
    return choices


def repeat(updates: Updates, phases: tuple[float, ...]) -> None:
    """Lets the steps of a training be recorded and repeated (`Recorded`)."""
    for optimizer in updates.optimizers.values():
        for group in optimizer.param_groups:
            group["capturable"] = True
    # Said of the steps before the recording.
    warnings.filterwarnings("ignore", message=".*capturable=True.*")
    updates.run = Recorded(updates.run, phases)


class Recorded:
    """A function of a batch that repeats itself from a CUDA graph, once it has run WARM_STEPS times.

    Only the last graph is kept: another shape of the batch, or another phase of the training, is recorded anew.

    Args:
        function: of a batch on a CUDA device, to named tensors. It may not look at any value on the device, and all
            that it depends on besides the batch's tensors has to stay where it is in memory.
        phases: values of the batch's `progress` from which on the function is another one.

    Where it can't be recorded, that is said once, and it goes on as it is.
    """

    def __init__(self, function: Callable[[dict[str, Any]], dict[str, Tensor]], phases: tuple[float, ...] = ()):
        self.function, self.phases = function, phases
        self.kind: object = None
        self.warm, self.failed = 0, False
        self.graph: torch.cuda.CUDAGraph | None = None
        self.stream: torch.cuda.Stream | None = None
        self.batch: dict[str, Any] = {}
        self.results: dict[str, Tensor] = {}

    def __call__(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
        kind = bisect(self.phases, batch["progress"]), {name: value.shape for name, value in tensors.items()}
        if kind != self.kind:
            torch.cuda.synchronize()  # a graph may only go when it is done
            self.kind, self.warm, self.graph = kind, 0, None
        if self.warm < WARM_STEPS:
            self.warm += 1
            return self._beside(batch)
        if self.graph is None and not self.failed:
            self._record(batch, tensors)
        if self.graph is None:
            return self.function(batch)
        for name, value in tensors.items():
            self.batch[name].copy_(value)
        self.graph.replay()
        return {name: value.clone() for name, value in self.results.items()}

    def _beside(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """On the stream of the recording: what autograd keeps by stream is then the same."""
        self.stream = self.stream or torch.cuda.Stream()
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            results = self.function(dict(batch))
        torch.cuda.current_stream().wait_stream(self.stream)
        return results

    def _record(self, batch: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.batch = batch | {name: value.clone() for name, value in tensors.items()}
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                self.results = self.function(dict(self.batch))
        except RuntimeError as error:
            print(f"train.speed auto: no CUDA graph after all: {str(error).splitlines()[0]}", flush=True)
            self.failed = True
            # A recording that breaks off leaves stream and generator as if it went on.
            torch.cuda.set_stream(stream)
            torch.cuda.default_generators[torch.cuda.current_device()].graphsafe_set_state(torch.Generator("cuda"))
        else:
            self.graph = graph
