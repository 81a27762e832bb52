"""Stage train: the one training loop, for every system.

    python -m pipeline.train r3d

Reads `data/shards/` and, for the entry of `systems:`, its network in model/. Writes `data/checkpoints/<system>.pt`, the
weights that did best in validation (`training/checkpoints.py` says what is in it), and `data/curves/<system>.csv`, a
row a validation: samples seen, the mean of each training loss since the row before, the scores of
`training/validation.py` and lr. DVCLive, where it is installed, gets the same rows.

Order of the samples, noise and learning rate are functions of the seed and the step alone. A stopped run therefore
needs little to go on where it was and to end with the weights of an undisturbed one: network, optimizers, step. They
lie in `data/cache/train/<system>.pt`, and count only while parameters, data and code are the same.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pipeline.runtime.command import SYSTEM, run

    run("pipeline.train", SYSTEM)

import dataclasses
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

import model
from pipeline.geometry import isosurface, surfaces
from pipeline.runtime.command import progress
from pipeline.runtime.files import sha256
from pipeline.runtime.machine import device, workers
from pipeline.runtime.params import Dataset, load, read
from pipeline.scoring import clouds, distances, predictions
from pipeline.shards import batches, views
from pipeline.shards.batches import make_batch
from pipeline.shards.layout import SHARDS, ShardDataset
from pipeline.training import checkpoints, order, updates, validation
from pipeline.training.checkpoints import CHECKPOINTS
from pipeline.training.curves import Curves
from pipeline.training.order import Batches
from pipeline.training.updates import Updates
from pipeline.training.validation import COLLAPSED, validate

RESUME = Path("data/cache/train")
KEEP_SECONDS = 60  # at most this much is lost when a run is killed


@dataclass(frozen=True)
class Params:
    """Section `train`.

    Attributes:
        seed: of first weights, order and noise.
        samples: to train on in all; a sample is a view of a model (or as many views as a system takes together). It is
            validated on single views.
        batch_size: samples a step, over all processes together.
        lr: learning rate of AdamW after the warm-up; a cosine takes it to 0. A part of a system may have its own.
        lr_warmup: share of the training in which the rate rises from 0.
        weight_decay: of AdamW.
        precision: of Lightning Fabric: 32-true, bf16-mixed, 16-mixed, ...
        validations: how often the validation split is predicted, evenly spaced, at the end for the last time.
        validation_views: of each of its models, the first ones; all where there are fewer.
        best_threshold: probability above which a cell counts as full, for the choice of the best weights.
    """

    seed: int
    samples: int
    batch_size: int
    lr: float
    lr_warmup: float
    weight_decay: float
    precision: str
    validations: int
    validation_views: int
    best_threshold: float

    def __post_init__(self) -> None:
        for name, smallest in (
            ("seed", 0),
            ("samples", 1),
            ("batch_size", 2),
            ("validations", 1),
            ("validation_views", 1),
            ("lr", 0),
        ):
            if getattr(self, name) < smallest:
                raise ValueError(f"{name}: expected {smallest} or more, got {getattr(self, name)}")
        for name in ("lr_warmup", "best_threshold"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a number from 0 to 1, got {getattr(self, name)}")

    @property
    def steps(self) -> int:
        return math.ceil(self.samples / self.batch_size)

    def validated(self, step: int) -> bool:
        """Whether the validation split is due after so many steps."""
        return step * self.validations // self.steps > (step - 1) * self.validations // self.steps

    def rate(self, step: int) -> float:
        """Share of the full learning rate at a step: a linear rise, then a cosine down to 0."""
        warm = round(self.lr_warmup * self.steps)
        if step < warm:
            return (step + 1) / (warm + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / (self.steps - warm)))


def main(system: str) -> None:
    module, config = configured(system)
    params, categories = load("train", Params), load("dataset", Dataset).categories
    trainer = Trainer(launch(params.precision), system, module, config, params, categories)
    best = trainer.train()
    if trainer.fabric.is_global_zero:
        name = validation.SCORES[trainer.network.output][0]
        print(f"{CHECKPOINTS / system}.pt: {name} {best[name]:.4f} at {best['samples']:,} samples")


def configured(system: str) -> tuple[ModuleType, Any]:
    """The module and Config of an entry of `systems:`; ValueError where it is not selected or does not fit."""
    selected = read("selected_systems")
    if not isinstance(selected, dict) or system not in selected:
        raise ValueError(f"params.yaml: selected_systems: expected an entry '{system}', got {selected}")
    module = model.system(selected[system])
    return module, load(f"systems.{system}", module.Config)


def launch(precision: str) -> Fabric:
    """Fabric on the CPU or on every CUDA device there is, one process each."""
    kind = device()
    count = torch.cuda.device_count() if kind == "cuda" else 1
    # A part at a time is updated, so in every pass the others' parameters stay without a gradient.
    strategy = "ddp_find_unused_parameters_true" if count > 1 else "auto"
    fabric = Fabric(accelerator=kind, devices=count, strategy=strategy, precision=precision)  # type: ignore[arg-type]
    fabric.launch()
    return fabric


@dataclass
class State:
    """How far a training is, beside the weights.

    Attributes:
        step: steps done.
        best: the checkpoint that did best in validation so far.
        rows: of the curves.
        sums: name of a loss -> its sum and count since the last row.
    """

    step: int = 0
    best: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, float]] = field(default_factory=list)
    sums: dict[str, list[float]] = field(default_factory=dict)

    def add(self, losses: dict[str, float]) -> None:
        self.step += 1
        for name, value in losses.items():
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = [total + value, count + 1]

    def means(self) -> dict[str, float]:
        return {name: total / count for name, (total, count) in self.sums.items()}


class Trainer:
    """A system in training.

    Args:
        fabric: launched.
        system: entry of `systems:`.
        module: its file in model/.
        config: its `Config`.
        params: section `train`.
        categories: those to read, as dataset.categories names them.

    Raises:
        ValueError: shards are missing or of another version, or the batch can't be shared among the processes.
    """

    def __init__(
        self, fabric: Fabric, system: str, module: ModuleType, config: Any, params: Params, categories: Sequence[str]
    ):
        if params.batch_size % fabric.world_size:
            raise ValueError(
                f"train.batch_size: expected a multiple of the {fabric.world_size} processes, got {params.batch_size}"
            )
        self.fabric, self.config, self.params, self.state = fabric, config, params, State()
        self.about = checkpoints.describe(system, module, config)
        torch.manual_seed(params.seed)
        self.network = module.Model(config)
        wanted = {*self.network.targets, *model.maps(config)}
        if self.network.output != "occupancy":
            wanted.add("points")  # to validate with
        stored = ShardDataset(SHARDS, categories, "train").groups
        together = {"train": min(getattr(config, "views", 1), stored), "val": 1}
        self.data = {
            split: ShardDataset(SHARDS, categories, split, views, sorted(wanted | {"occupancy"}))
            for split, views in together.items()
        }
        self.updates = Updates(fabric, self.network, params.lr, params.weight_decay, params.seed)
        self.checkpoint, self.resume_point = CHECKPOINTS / f"{system}.pt", RESUME / f"{system}.pt"
        self.key, self.kept = self._key(module), time.monotonic()

    def train(self) -> dict[str, Any]:
        """Trains to the end, from where a stopped run was. Returns the checkpoint that it wrote."""
        self._go_on()
        params, state, first, system = self.params, self.state, self.fabric.is_global_zero, self.about["system"]
        done, total = state.step * params.batch_size, params.steps * params.batch_size
        bar = progress(f"train {system}", total, "sample", done, first)
        with Curves(system, state.rows, first) as curves, bar:
            for raw in self._loader("train"):
                batch = self._batch(raw) | {"progress": state.step / params.steps}
                state.add(self.updates.step(batch, state.step, params.rate(state.step)))
                bar.set_postfix({name: f"{mean:.4f}" for name, mean in state.means().items()}, refresh=False)
                bar.update(params.batch_size)
                due = params.validated(state.step)
                if due:
                    curves.add(self._validate(bar))
                self._keep(due)
        if first:
            self.resume_point.unlink(missing_ok=True)
        return state.best

    def _validate(self, bar: tqdm) -> dict[str, float]:
        """A row of the curves; where it is the best so far, these weights become the checkpoint."""
        state, params = self.state, self.params
        shown = map(self._batch, self._loader("val"))
        scores = validate(self.fabric, self.network, shown, params.best_threshold, self.config.resolution)
        variety, samples = scores.pop("variety"), state.step * params.batch_size
        if self.fabric.is_global_zero:
            bar.write(f"{samples:,} samples: " + ", ".join(f"{name} {value:.4f}" for name, value in scores.items()))
            if variety < COLLAPSED and state.step * 4 > params.steps:
                bar.write(f"warning: predictions differ {variety:.1%} as much as the shapes do; the network collapsed")
        if not state.best or validation.better(self.network.output, scores, state.best):
            weights = {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}
            state.best = {**self.about, "samples": samples, **scores, "state": weights}
            self._publish()
        row = {"samples": samples, **state.means(), **scores, "lr": params.lr * params.rate(state.step - 1)}
        state.sums.clear()
        return row

    def _publish(self) -> None:
        if self.fabric.is_global_zero and self.state.best:
            checkpoints.save(self.checkpoint, self.state.best)

    def _batch(self, raw: dict[str, Tensor]) -> dict[str, Any]:
        return make_batch(self.fabric.to_device(raw), self.config.image_size, self.config.resolution)

    def _loader(self, split: str) -> DataLoader:
        """Collated items of this process: of every step to come for `train`, its share of the views for `val`."""
        data, size = self.data[split], self.params.batch_size
        rank, processes = self.fabric.global_rank, self.fabric.world_size
        items = [item for item in range(len(data)) if item % data.groups < self.params.validation_views]
        given: dict[str, Any] = {"sampler": items[rank::processes], "batch_size": size // processes}
        if split == "train":
            steps = range(self.state.step, self.params.steps)
            given = {"batch_sampler": Batches(len(data), size, steps, self.params.seed, rank, processes)}
        # On a CPU the network itself needs every core.
        on_cuda = self.fabric.device.type == "cuda"
        count = max(1, min(8, workers() // processes)) if on_cuda else 0
        return DataLoader(data, num_workers=count, pin_memory=on_cuda, **given)  # type: ignore[arg-type]

    def _keep(self, now: bool) -> None:
        """Writes the resume point, if `now` or if it is KEEP_SECONDS old."""
        if self.fabric.is_global_zero and (now or time.monotonic() - self.kept > KEEP_SECONDS):
            state = {"key": self.key, "updates": self.updates.state_dict(), "state": vars(self.state)}
            checkpoints.save(self.resume_point, state)
            self.kept = time.monotonic()

    def _go_on(self) -> None:
        """Takes up the resume point, if there is one of this very training."""
        try:
            kept = checkpoints.load(self.resume_point) if self.resume_point.is_file() else {}
        except ValueError as error:
            print(f"starting anew: {error}", flush=True)
            kept = {}
        if kept.get("key") == self.key:
            self.updates.load_state_dict(kept["updates"])
            self.state = State(**kept["state"])
            self._publish()

    def _key(self, module: ModuleType) -> str:
        """Hash of all that decides what is trained."""
        networks = [m for name, m in sorted(sys.modules.items()) if name.split(".")[0] == "model"]
        scored = (clouds, distances, isosurface, predictions, surfaces, validation)
        modules = (module, *networks, batches, order, *scored, updates, views, sys.modules[__name__])
        code = [Path(str(m.__file__)) for m in modules]
        data = {split: dataset.fingerprint for split, dataset in self.data.items()}
        machine = [self.fabric.device.type, self.fabric.world_size, torch.__version__]
        facts = [dataclasses.asdict(self.params), self.about, data, machine]
        return sha256(json.dumps([*facts, *(sha256(path.read_bytes()) for path in code)]).encode())
