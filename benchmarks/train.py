"""Samples a second of every system in training, from a plain float32 loop to what the trainer makes of the machine.

    python -m benchmarks.train --root data/shards

Writes benchmarks/results/train_<device>.json as it goes, the most telling entries first, and stops after --seconds. A
row adds one thing to the row above:

    plain       a float32 eager loop over a DataLoader that reads its losses in every step
    no wait     losses stay on the device; AdamW is one fused kernel
    tf32        float32 in TF32, attention in bfloat16
    bf16        precision bf16-mixed
    layout      images with their channels last in memory
    resident    the split in the device's memory
    recorded    steps repeated as CUDA graphs
    compiled    and their losses compiled by torch.compile

All with the adversarial game on. `waiting` is the share of the time that goes into getting the next batch, `rate` what
all multiplications and additions of a step (torch.utils.flop_counter, of the plain row) make of the rate that a large
bfloat16 matrix product reaches on the device.

Then `learning`: what the losses come to after so many steps, plain and as fast as it gets, from the same seeds; two
seeds of the plain loop say what is noise.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

import model
from benchmarks.common import write
from pipeline.runtime.machine import device, workers
from pipeline.runtime.params import load
from pipeline.shards.batches import make_batch
from pipeline.shards.layout import SHARDS, ShardDataset
from pipeline.shards.resident import Resident
from pipeline.training.order import Batches
from pipeline.training.speed import WARM_STEPS, Choices, Recorded, prepare

LIBRARIES = ("lightning", "numpy", "torch")
ENTRIES = {  # entry of `systems:` -> its file in model/, samples a step
    "cuda": {
        "r3d_seed": ("r3d", 32),
        "view2voxel_gpu": ("view2voxel", 64),
        "view2points_gpu": ("view2points", 32),
        "view2mesh_gpu": ("view2mesh", 32),
        "view2implicit_gpu": ("view2implicit", 32),
        "r3d": ("r3d", 64),
        "vaegan3d_paper": ("vaegan3d", 32),
        "r2n2_residual_gru_3": ("r2n2", 32),
    },
    "cpu": {"r3d": ("r3d", 8), "view2voxel": ("view2voxel", 8)},
}
LEARNT = {"cuda": {"r3d": ("r3d", 16), "view2voxel": ("view2voxel", 16)}, "cpu": {"r3d": ("r3d", 8)}}
STEPS = {"cuda": 2000, "cpu": 20}
MATRIX = {"cuda": (8192, torch.bfloat16), "cpu": (1024, torch.float32)}
MEASURED = 2.0  # seconds a row
LR, DECAY = 1e-3, 0.01


@dataclass(frozen=True)
class Row:
    """One way to train.

    Attributes:
        waits: for the losses, in every step.
        bf16: precision bf16-mixed.
        choices: of `training/speed.py`.
    """

    waits: bool = False
    bf16: bool = False
    choices: Choices = field(default_factory=Choices)


def rows(kind: str) -> dict[str, Row]:
    """The rows of the table, from slow to fast; TF32, CUDA graphs and compiling in less than minutes are CUDA's."""
    table, cuda, choices = {"plain": Row(waits=True), "no wait": Row()}, kind == "cuda", {}
    if cuda:
        choices["tf32"] = True
        table["tf32"] = Row(choices=Choices(**choices))
    table["bf16"] = Row(False, True, Choices(**choices))
    for name, choice in (("layout", "channels_last"), ("resident", "resident"), ("recorded", "recorded")):
        if cuda or choice != "recorded":
            choices[choice] = True
            table[name] = Row(False, True, Choices(**choices))
    if cuda:
        table["compiled"] = Row(False, True, Choices(**choices, compiled=True))
    return table


class Step:
    """A training step of a network on its device: every part updated once."""

    def __init__(self, network: nn.Module, row: Row):
        self.network, self.row = prepare(network, row.choices), row
        self.kind = next(network.parameters()).device.type
        parts: dict[str, dict[str, Any]] = network.parts()  # type: ignore[operator]
        fused = {} if row.waits else {"fused": True, "capturable": self.kind == "cuda"}
        self.optimizers = {
            part: torch.optim.AdamW([group], lr=LR, weight_decay=DECAY, **fused)  # type: ignore[arg-type]
            for part, group in parts.items()
        }
        phases = getattr(network, "phases", None)
        self.run = Recorded(self.compute, phases) if row.choices.recorded and phases is not None else self.compute

    def __call__(self, batch: dict[str, Any], number: int) -> dict[str, Any]:
        torch.manual_seed(number)
        self.network.train()
        found = self.run(dict(batch))
        return {name: value.item() for name, value in found.items()} if self.row.waits else found

    def compute(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}
        for part, optimizer in self.optimizers.items():
            for name, other in self.optimizers.items():
                for parameter in other.param_groups[0]["params"]:
                    parameter.requires_grad_(name == part)
            with torch.autocast(self.kind, torch.bfloat16, enabled=self.row.bf16):
                losses: dict[str, Tensor] = self.network.losses(batch, part)  # type: ignore[operator]
            values |= {name: loss.detach() for name, loss in losses.items()}
            if losses and (total := torch.stack(list(losses.values())).sum()).requires_grad:
                optimizer.zero_grad()
                total.backward()
                gradients = [p.grad for p in optimizer.param_groups[0]["params"] if p.grad is not None]
                norm = torch.nn.utils.get_total_norm(gradients)
                if not self.row.waits:
                    optimizer.found_inf = (~(norm.isfinite() & (norm > 0))).float()  # type: ignore[attr-defined]
                optimizer.step()
        return values


class Feed:
    """Batches of the contract without end, on the device, and how long it took to get them."""

    def __init__(self, data: ShardDataset, config: Any, size: int, place: torch.device, resident: bool, seed: int = 0):
        self.config, self.place, self.seconds = config, place, 0.0
        order = Batches(len(data), size, range(10**9), seed)
        if resident:
            self.raw: Iterator[dict[str, Tensor]] = Resident(data, place, workers()).batches(order)
        else:
            cuda = place.type == "cuda"
            count = min(8, workers()) if cuda else 0
            loader: DataLoader = DataLoader(data, batch_sampler=order, num_workers=count, pin_memory=cuda)  # type: ignore[arg-type]
            self.raw = iter(loader)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while True:
            start = time.perf_counter()
            raw = {name: value.to(self.place, non_blocking=True) for name, value in next(self.raw).items()}
            self.seconds += time.perf_counter() - start
            yield make_batch(raw, self.config.image_size, self.config.resolution)


class Bench:
    """What all entries share.

    Args:
        root: of the shards.
        kind: `cuda` or `cpu`.
        seconds: a row.
    """

    def __init__(self, root: Path, kind: str, seconds: float):
        self.place, self.kind, self.seconds = torch.device(kind), kind, seconds
        self.root, self.categories = root, sorted(path.name for path in root.iterdir() if path.is_dir())
        self.rate = matrix_rate(kind)

    def system(self, entry: str, name: str, seed: int = 0) -> tuple[nn.Module, Any, ShardDataset]:
        module = model.system(name)
        config = load(f"systems.{entry}", module.Config)
        torch.manual_seed(seed)
        network = module.Model(config)
        targets = sorted({*network.targets, *model.maps(config), "occupancy"})
        data = ShardDataset(self.root, self.categories, "train", 1, targets)
        views = min(getattr(config, "views", 1), data.groups)
        return network.to(self.place), config, ShardDataset(self.root, self.categories, "train", views, targets)

    def flops(self, entry: str, name: str, size: int) -> float:
        """Of a sample, in a plain step."""
        network, config, data = self.system(entry, name)
        step, batch = Step(network, Row(waits=True)), next(iter(Feed(data, config, size, self.place, True)))
        with FlopCounterMode(display=False) as counter:
            step(batch | {"progress": 1.0}, 0)
        return counter.get_total_flops() / size

    def speed(self, entry: str, name: str, size: int, row: Row) -> dict[str, Any]:
        """One row of the table."""
        network, config, data = self.system(entry, name)
        if self.kind == "cuda":
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        step, feed = Step(network, row), Feed(data, config, size, self.place, row.choices.resident)
        start = time.perf_counter()
        batches = iter(feed)
        for number in range(WARM_STEPS + 2):
            step(next(batches) | {"progress": 1.0}, number)
        self._wait()
        first, feed.seconds = time.perf_counter() - start, 0.0
        start, steps, ends = time.perf_counter(), 0, [torch.cuda.Event() for _ in range(2 * (self.kind == "cuda"))]
        while steps < 2 or time.perf_counter() - start < self.seconds:
            step(next(batches) | {"progress": 1.0}, steps)
            if ends:  # at most two steps ahead of the device, or the clock would stop long before it
                ends[steps % 2].record()
                ends[(steps + 1) % 2].synchronize()
            steps += 1
        self._wait()
        taken = time.perf_counter() - start
        memory = torch.cuda.max_memory_allocated() if self.kind == "cuda" else 0
        return {
            "samples_per_s": round(steps * size / taken, 1),
            "waiting": round(feed.seconds / taken, 4),
            "start_s": round(first, 1),
            "memory_gb": round(memory / 1e9, 2),
        }

    def learn(self, entry: str, name: str, size: int, row: Row, seed: int, steps: int) -> dict[str, float]:
        """Mean of each loss over the last tenth of a training."""
        network, config, data = self.system(entry, name, seed)
        step, batches = Step(network, row), iter(Feed(data, config, size, self.place, row.choices.resident, seed))
        sums: dict[str, list[Tensor]] = {}
        for number in range(steps):
            for loss, value in step(next(batches) | {"progress": number / steps}, seed * steps + number).items():
                if number >= steps - max(1, steps // 10):
                    sums.setdefault(loss, []).append(torch.as_tensor(value, device=self.place).float())
        return {loss: round(torch.stack(values).mean().item(), 5) for loss, values in sums.items()}

    def _wait(self) -> None:
        if self.kind == "cuda":
            torch.cuda.synchronize()


def matrix_rate(kind: str) -> float:
    """FLOP/s of a large matrix product on the device, of random numbers."""
    side, dtype = MATRIX[kind]
    a, b = torch.randn(2, side, side, device=kind, dtype=dtype)
    best = 0.0
    for _ in range(10):
        start = time.perf_counter()
        a @ b
        if kind == "cuda":
            torch.cuda.synchronize()
        best = max(best, 2 * side**3 / (time.perf_counter() - start))
    return best


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.train", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, default=SHARDS, help="folder of the shards")
    parser.add_argument("--seconds", type=float, default=240, help="no entry begins after so many")
    parser.add_argument("--row-seconds", type=float, default=MEASURED, help="a row is timed for so many")
    parser.add_argument("--entries", nargs="*", help="entries of params.yaml instead of all")
    parser.add_argument("--steps", type=int, help="of `learning`")
    args = parser.parse_args()
    kind, begun = device(), time.perf_counter()
    bench = Bench(args.root, kind, args.row_seconds)
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if kind == "cuda" else "cpu",
        "matrix_tflops": round(bench.rate / 1e12, 2),
        "systems": {},
        "learning": {},
    }
    label = "_".join(result["device"].lower().split())
    for entry, (name, size) in ENTRIES[kind].items():
        if args.entries and entry not in args.entries:
            continue
        found: dict[str, Any] = {"batch": size, "rows": {}}
        result["systems"][entry] = found
        found["gflops_a_sample"] = round(bench.flops(entry, name, size) / 1e9, 2)
        for title, row in rows(kind).items():
            if time.perf_counter() - begun > args.seconds:
                break
            found["rows"][title] = measured = attempt(bench, entry, name, size, row)
            if "samples_per_s" in measured:
                measured["rate"] = round(measured["samples_per_s"] * found["gflops_a_sample"] * 1e9 / bench.rate, 3)
            print(f"{entry:20} {title:10} {measured}", flush=True)
            write(f"train_{label}", LIBRARIES, result)
    steps = STEPS[kind] if args.steps is None else args.steps
    for entry, (name, size) in LEARNT[kind].items() if steps else ():
        best = rows(kind)["recorded" if kind == "cuda" else "resident"]
        for title, row, seed in (("plain, seed 0", Row(True), 0), ("plain, seed 1", Row(True), 1), ("fast", best, 0)):
            if time.perf_counter() - begun > args.seconds:
                break
            learnt = bench.learn(entry, name, size, row, seed, steps)
            result["learning"].setdefault(entry, {"steps": steps})[title] = learnt
            print(f"{entry:20} {title:14} {learnt}", flush=True)
            write(f"train_{label}", LIBRARIES, result)


def attempt(bench: Bench, entry: str, name: str, size: int, row: Row) -> dict[str, Any]:
    try:
        return bench.speed(entry, name, size, row)
    except RuntimeError as error:
        return {"error": str(error).splitlines()[0]}


if __name__ == "__main__":
    main()
