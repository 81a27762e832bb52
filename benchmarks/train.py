"""Samples a second of every system in training, from a plain float32 loop to what the trainer makes of the machine.

    python -m benchmarks.train --root data/shards

Writes benchmarks/results/train_<device>.json as it goes, the most telling rows first, and stops after --seconds. A row
adds one thing to the row above:

    plain       a float32 eager loop over a DataLoader, with PyTorch's layers, that reads its losses in every step
    no wait     the trainer's step: losses stay on the device, AdamW is one fused kernel
    layers      convolutions of a single channel, and nearest points, as `model/layers` has them
    tf32        float32 in TF32, attention in bfloat16, convolutions tried out
    bf16        precision bf16-mixed
    layout      images with their channels last in memory
    resident    the split in the device's memory
    recorded    steps repeated as CUDA graphs, where they are all alike
    compiled    and their losses compiled by torch.compile

All with the adversarial game on. `times` is a row's speed as a multiple of the plain one's, `waiting` the share of the
time that goes into getting the next batch, `rate` what all multiplications and additions of a step
(torch.utils.flop_counter, of the plain row) make of the rate that a large bfloat16 matrix product reaches there.

Then `learning`: what the losses come to in the last tenth of so many steps, plain and as fast as it gets, from the same
first weights in the same order; a second seed says what is noise.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

import model
from benchmarks.common import write
from model.layers import pointloss
from model.layers.blocks import Doubling, Halving
from pipeline.runtime.machine import device, workers
from pipeline.runtime.params import load
from pipeline.shards.batches import make_batch
from pipeline.shards.layout import SHARDS, ShardDataset
from pipeline.shards.resident import Resident
from pipeline.training.order import Batches
from pipeline.training.params import Params
from pipeline.training.speed import WARM_STEPS, Choices, prepare, repeat
from pipeline.training.updates import Updates

LIBRARIES = ("numpy", "torch")
ENTRIES = {  # entry of `systems:` -> its file in model/, samples a step
    "cuda": {
        "r3d_seed": ("r3d", 32),
        "view2voxel_gpu": ("view2voxel", 64),
        "view2points_gpu": ("view2points", 32),
        "view2mesh_gpu": ("view2mesh", 32),
        "view2implicit_gpu": ("view2implicit", 32),
        "r3d": ("r3d", 64),
        "vaegan3d_paper": ("vaegan3d", 32),
        "r2n2_paper": ("r2n2", 16),
    },
    "cpu": {"r3d": ("r3d", 8), "view2voxel": ("view2voxel", 8)},
}
LEARNT = {
    "cuda": {"r3d": ("r3d", 8), "view2voxel": ("view2voxel", 8), "r2n2_simple_gru_1": ("r2n2", 8)},
    "cpu": {"r3d": ("r3d", 8)},
}
STEPS = {"cuda": 2000, "cpu": 20}
MATRIX = {"cuda": (8192, torch.bfloat16), "cpu": (1024, torch.float32)}
MEASURED = 1.0  # seconds a row
LR, DECAY, WARMUP = 1e-3, 0.01, 0.05
Step = Callable[[dict[str, Any], int], dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """One way to train.

    Attributes:
        plain: the loop that is no trainer's.
        layers: those of `model/layers` where PyTorch has the same.
        bf16: precision bf16-mixed.
        choices: of `training/speed.py`.
    """

    plain: bool = False
    layers: bool = True
    bf16: bool = False
    choices: Choices = field(default_factory=Choices)


def rows(kind: str, alike: bool) -> dict[str, Row]:
    """The rows of the table, from slow to fast.

    Args:
        kind: cuda, or cpu, which has no TF32, no CUDA graphs, and takes minutes to compile.
        alike: whether steps are, so that they can be recorded.
    """
    table, choices = {"plain": Row(True, False), "no wait": Row(False, False), "layers": Row()}, {}
    if kind == "cuda":
        choices = {"tf32": True, "tried": True}
        table["tf32"] = Row(choices=Choices(**choices))
    table["bf16"] = Row(bf16=True, choices=Choices(**choices))
    further = {"layout": "channels_last", "resident": "resident"}
    if kind == "cuda":
        further |= ({"recorded": "recorded"} if alike else {}) | {"compiled": "compiled"}
    for name, choice in further.items():
        choices[choice] = True
        table[name] = Row(bf16=True, choices=Choices(**choices))
    return table


@contextmanager
def layers_of_pytorch() -> Iterator[None]:
    """Convolutions of one channel, and nearest points, as PyTorch has them."""
    instead: tuple[tuple[Any, str, Any], ...] = (
        (Doubling, "forward", nn.ConvTranspose3d.forward),
        (Halving, "forward", nn.Conv3d.forward),
        (pointloss, "nearest", lambda a, b: torch.cdist(a, b).argmin(2)),
    )
    kept = [getattr(place, name) for place, name, _ in instead]
    try:
        for place, name, function in instead:
            setattr(place, name, function)
        yield
    finally:
        for (place, name, _), function in zip(instead, kept, strict=True):
            setattr(place, name, function)


class Plain:
    """A training step as one writes it first."""

    def __init__(self, network: nn.Module, params: Params):
        self.network, self.params = network, params
        parts: dict[str, dict[str, Any]] = network.parts()  # type: ignore[operator]
        self.optimizers = {
            part: torch.optim.AdamW([{"lr": LR} | group], weight_decay=DECAY) for part, group in parts.items()
        }
        self.full = {part: group.get("lr", LR) for part, group in parts.items()}

    def __call__(self, batch: dict[str, Any], number: int) -> dict[str, float]:
        torch.manual_seed(number)
        self.network.train()
        batch = dict(batch)
        values: dict[str, float] = {}
        for part, optimizer in self.optimizers.items():
            optimizer.param_groups[0]["lr"] = self.full[part] * self.params.rate(number)
            for name, other in self.optimizers.items():
                for parameter in other.param_groups[0]["params"]:
                    parameter.requires_grad_(name == part)
            losses: dict[str, Tensor] = self.network.losses(batch, part)  # type: ignore[operator]
            values |= {name: loss.item() for name, loss in losses.items()}
            if losses and (total := torch.stack(list(losses.values())).sum()).requires_grad:
                optimizer.zero_grad()
                total.backward()
                optimizer.step()
        return values


def trainers(network: nn.Module, row: Row, kind: str, params: Params) -> Step:
    """The trainer's step."""
    fabric = Fabric(accelerator=kind, devices=1, precision=params.precision)  # type: ignore[arg-type]
    updates = Updates(fabric, network, params)
    if row.choices.recorded:
        repeat(updates, network.phases)  # type: ignore[arg-type]
    return lambda batch, number: updates.step(batch, number, params.rate(number))


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


class Entry:
    """An entry of `systems:`, to be trained in several ways.

    Args:
        root: of the shards.
        place: the device.
        entry: its name.
        name: of its file in model/.
        size: samples a step.
    """

    def __init__(self, root: Path, place: torch.device, entry: str, name: str, size: int):
        self.place, self.kind, self.entry, self.size = place, place.type, entry, size
        self.module = model.system(name)
        self.config = load(f"systems.{entry}", self.module.Config)
        categories = sorted(path.name for path in root.iterdir() if path.is_dir())
        targets = sorted({*self.module.Model.targets, *model.maps(self.config), "occupancy"})
        stored = ShardDataset(root, categories, "train", 1, targets).groups
        views = min(getattr(self.config, "views", 1), stored)
        self.data = ShardDataset(root, categories, "train", views, targets)
        self.rows = rows(self.kind, hasattr(self.network(0), "phases"))
        self.fastest = "recorded" if "recorded" in self.rows else "resident"

    def network(self, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        network: nn.Module = self.module.Model(self.config)
        return network.to(self.place)

    def step(self, row: Row, seed: int, steps: int) -> Step:
        """The row's step with new weights, in a training of so many."""
        precision = "bf16-mixed" if row.bf16 else "32-true"
        params = Params(seed, steps * self.size, self.size, LR, WARMUP, DECAY, precision, 1, 1, 0.5)
        network = prepare(self.network(seed), row.choices)
        step = Plain(network, params) if row.plain else trainers(network, row, self.kind, params)

        def run(batch: dict[str, Any], number: int) -> dict[str, Any]:
            with nullcontext() if row.layers else layers_of_pytorch():
                return step(batch, number)

        return run

    def feed(self, resident: bool, seed: int = 0) -> Feed:
        return Feed(self.data, self.config, self.size, self.place, resident, seed)

    def flops(self) -> float:
        """Of a sample, in a plain step."""
        step, batch = self.step(Row(True, False), 0, 10), next(iter(self.feed(False)))
        with FlopCounterMode(display=False) as counter:
            step(batch | {"progress": 1.0}, 0)
        return counter.get_total_flops() / self.size

    def speed(self, row: Row, seconds: float) -> dict[str, Any]:
        """One row of the table, from so many seconds."""
        if self.kind == "cuda":
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        step, feed = self.step(row, 0, 10**6), self.feed(row.choices.resident)
        batches = iter(feed)
        for number in range(WARM_STEPS + 2):
            step(next(batches) | {"progress": 1.0}, number)
        self._wait()
        first, feed.seconds = time.perf_counter() - start, 0.0
        start, steps, ends = time.perf_counter(), 0, [torch.cuda.Event() for _ in range(2 * (self.kind == "cuda"))]
        while steps < 2 or time.perf_counter() - start < seconds:
            step(next(batches) | {"progress": 1.0}, steps)
            if ends:  # at most two steps ahead of the device, or the clock would stop long before it
                ends[steps % 2].record()
                ends[(steps + 1) % 2].synchronize()
            steps += 1
        self._wait()
        taken = time.perf_counter() - start
        memory = torch.cuda.max_memory_allocated() if self.kind == "cuda" else 0
        return {
            "samples_per_s": round(steps * self.size / taken, 1),
            "waiting": round(feed.seconds / taken, 4),
            "start_s": round(first, 1),
            "memory_gb": round(memory / 1e9, 2),
        }

    def learn(self, row: Row, seed: int, steps: int) -> dict[str, float]:
        """Mean of each loss over the last tenth of a training, and its seconds."""
        start, step, batches = time.perf_counter(), self.step(row, seed, steps), iter(self.feed(True, seed))
        sums: dict[str, list[Tensor]] = {}
        for number in range(steps):
            for loss, value in step(next(batches) | {"progress": number / steps}, number).items():
                if number >= steps - max(1, steps // 10):
                    sums.setdefault(loss, []).append(torch.as_tensor(value, device=self.place).float())
        means = {loss: round(torch.stack(values).mean().item(), 5) for loss, values in sums.items()}
        return means | {"seconds": round(time.perf_counter() - start, 1)}

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


class Table:
    """The result, written after every figure, until the time is up.

    Args:
        kind: cuda or cpu.
        seconds: after so many nothing more begins.
    """

    def __init__(self, kind: str, seconds: float):
        self.begun, self.seconds, self.rate = time.perf_counter(), seconds, matrix_rate(kind)
        name = torch.cuda.get_device_name() if kind == "cuda" else "cpu"
        self.result: dict[str, Any] = {"device": name, "matrix_tflops": round(self.rate / 1e12, 2)}
        self.file = f"train_{'_'.join(name.lower().split())}"

    def time_is_up(self) -> bool:
        return time.perf_counter() - self.begun > self.seconds

    def add(self, part: str, entry: Entry, title: str, measure: Callable[[], dict[str, Any]]) -> None:
        """Puts what `measure` gives, or that it failed, under the entry's title."""
        found = self.result.setdefault(part, {}).setdefault(entry.entry, {"batch": entry.size})
        if self.time_is_up() or title in found:
            return
        try:
            found[title] = measure()
        except RuntimeError as error:
            found[title] = {"error": str(error).splitlines()[0]}
        order = [name for name in found if name not in entry.rows] + [name for name in entry.rows if name in found]
        self.result[part][entry.entry] = {name: found[name] for name in order}
        print(f"{entry.entry:20} {title:14} {found[title]}", flush=True)
        write(self.file, LIBRARIES, self.result)

    def speed(self, entry: Entry, title: str, seconds: float) -> None:
        def measure() -> dict[str, Any]:
            found = self.result["speed"][entry.entry]
            if "gflops_a_sample" not in found:
                found["gflops_a_sample"] = round(entry.flops() / 1e9, 2)
            row = entry.speed(entry.rows[title], seconds)
            row["rate"] = round(row["samples_per_s"] * found["gflops_a_sample"] * 1e9 / self.rate, 3)
            if plain := found.get("plain", row).get("samples_per_s"):
                row["times"] = round(row["samples_per_s"] / plain, 2)
            return row

        self.add("speed", entry, title, measure)

    def learning(self, entry: Entry, steps: int) -> None:
        for title, seed in ((entry.fastest, 0), ("plain", 0), (entry.fastest, 1)):
            learn = partial(entry.learn, entry.rows[title], seed, steps)
            self.add(f"after {steps} steps", entry, f"{title}, seed {seed}", learn)


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.train", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, default=SHARDS, help="folder of the shards")
    parser.add_argument("--seconds", type=float, default=210, help="nothing begins after so many")
    parser.add_argument("--row-seconds", type=float, default=MEASURED, help="a row is timed for so many")
    parser.add_argument("--entries", nargs="*", help="entries of params.yaml instead of all")
    parser.add_argument("--steps", type=int, help="of `learning`; 0 leaves it out")
    args = parser.parse_args()
    kind = device()
    table, place = Table(kind, args.seconds), torch.device(kind)

    def entries(wanted: dict[str, tuple[str, int]]) -> list[Entry]:
        return [
            Entry(args.root, place, entry, name, size)
            for entry, (name, size) in wanted.items()
            if not args.entries or entry in args.entries
        ]

    measured, steps = entries(ENTRIES[kind]), STEPS[kind] if args.steps is None else args.steps
    learnt = entries(LEARNT[kind]) if steps else []
    for entry in measured:
        for title in ("plain", entry.fastest):
            table.speed(entry, title, args.row_seconds)
    for entry in learnt[:2]:
        table.learning(entry, steps)
    for entry in measured:
        for title in entry.rows:
            if title != "compiled":
                table.speed(entry, title, args.row_seconds)
    for entry in learnt[2:]:
        table.learning(entry, steps)
    for entry in measured:
        if "compiled" in entry.rows:
            table.speed(entry, "compiled", args.row_seconds)


if __name__ == "__main__":
    main()
