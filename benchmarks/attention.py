"""What attention over an image's positions costs on a CPU: written out as in the seed's listing, and as R3D has it.

    python -m benchmarks.attention --positions 12288

Writes benchmarks/results/attention.json. One image, the seed's 4 heads of 8, one thread, each measurement in a process
of its own; 12,288 positions are the seed's own 96 x 128, for which the listing takes some 8 GB.

    listing     softmax(Q K^T / sqrt(D)) V with the scores written out; its mask multiplies them and subtracts 10,000
    r3d         `model.r3d.attend`
    seconds     CPU seconds, of a prediction and of a step of training (with the gradient)
    megabytes   by which the process's peak grows beyond what it had before
    difference  the largest one between the outputs, and between gradients of the query
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import write
from model.r3d import attend

LIBRARIES = ("torch",)
HEADS, WIDTH = 4, 8
MASKED = 10_000.0
COMPARED = 1024  # positions for which outputs are compared


def listing(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    """Softmax(Q K^T / sqrt(D)) V of (B, heads, N, D) each, every score in memory."""
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    if causal:
        seen = torch.ones(scores.shape[-2:]).tril()
        scores = scores * seen - MASKED * (1 - seen)
    return scores.softmax(-1) @ value


def r3d(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    return attend(query, key, value, 0.0, causal)


WAYS: dict[str, Callable[[Tensor, Tensor, Tensor, bool], Tensor]] = {"listing": listing, "r3d": r3d}


def inputs(positions: int, training: bool) -> list[Tensor]:
    """Query, key and value of one image, the same ones every time."""
    drawn = torch.randn(3, 1, HEADS, positions, WIDTH, generator=torch.Generator().manual_seed(0))
    return [part.clone().requires_grad_(training) for part in drawn]


def run(way: str, given: list[Tensor], causal: bool) -> Tensor:
    """The output; where the inputs want a gradient, they get that of the sum of its squares."""
    query, key, value = given
    output = WAYS[way](query, key, value, causal)
    if output.requires_grad:
        output.square().sum().backward()
    return output.detach()


def cost(way: str, positions: int, causal: bool, training: bool, answer: Connection) -> None:
    """Sends seconds and megabytes; to be run in a new process."""
    torch.set_num_threads(1)
    run(way, inputs(64, training), causal)
    given = inputs(positions, training)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what there is
    before = _peak()
    start = time.process_time()
    run(way, given, causal)
    answer.send({"seconds": round(time.process_time() - start, 3), "megabytes": round(_peak() - before, 1)})


def measured(*job: Any) -> dict[str, float]:
    """What `cost` says of the job."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=cost, args=(*job, there))
    process.start()
    there.close()
    found: dict[str, float] = here.recv()
    process.join()
    return found


def difference(positions: int, causal: bool) -> dict[str, float]:
    """Between the two ways, in outputs and in gradients."""
    both = [inputs(positions, True) for _ in WAYS]
    outputs = [run(way, given, causal) for way, given in zip(WAYS, both, strict=True)]
    gradients = [torch.as_tensor(given[0].grad) for given in both]
    return {
        "outputs": (outputs[0] - outputs[1]).abs().max().item(),
        "gradients": (gradients[0] - gradients[1]).abs().max().item(),
    }


def measure(positions: int) -> dict[str, Any]:
    result: dict[str, Any] = {"positions": positions}
    for name, causal in (("causal, as in the listing", True), ("full", False)):
        found: dict[str, Any] = {"difference": difference(min(positions, COMPARED), causal)}
        for phase, training in (("prediction", False), ("training", True)):
            costs = {way: measured(way, positions, causal, training) for way in WAYS}
            theirs, ours = costs["listing"], costs["r3d"]
            ratios = {
                unit: round(theirs[unit] / max(ours[unit], 0.1 if unit == "megabytes" else 1e-3), 1) for unit in ours
            }
            found[phase] = {**costs, "times": ratios}
            print(f"{name}, {phase}: {costs}, {ratios} times", flush=True)
        result[name] = found
    return result


def _peak() -> float:
    """Megabytes that this process has had at most since that was set back."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1e3


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.attention", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--positions", type=int, default=6144, help="of the image; memory grows with their square")
    result = measure(parser.parse_args().positions)
    write("attention", LIBRARIES, result)


if __name__ == "__main__":
    main()
