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
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader
from tqdm import tqdm

import model
from pipeline.geometry import isosurface, surfaces
from pipeline.runtime.command import progress
from pipeline.runtime.files import sha256
from pipeline.runtime.machine import workers
from pipeline.runtime.params import Dataset, load, selected_systems
from pipeline.scoring import clouds, distances, predictions
from pipeline.shards import batches, resident, views
from pipeline.shards.batches import make_batch
from pipeline.shards.layout import SHARDS, ShardDataset
from pipeline.shards.resident import Resident, stored_bytes
from pipeline.training import checkpoints, order, speed, updates, validation
from pipeline.training.checkpoints import CHECKPOINTS
from pipeline.training.curves import Curves
from pipeline.training.launch import launch
from pipeline.training.order import Batches
from pipeline.training.params import Params
from pipeline.training.speed import hasten, precision, repeat
from pipeline.training.state import State
from pipeline.training.updates import Updates
from pipeline.training.validation import COLLAPSED, validate

RESUME = Path("data/cache/train")
KEEP_SECONDS = 60  # at most this much is lost when a run is killed
READ_SECONDS = 1  # how often losses are read from the device, and the bar shows them
PATIENCE = 50  # steps in a row that are not finite, before it is given up


def main(system: str) -> None:
    module, config = configured(system)
    params, categories = load("train", Params), load("dataset", Dataset).categories
    trainer = Trainer(launch(precision(params)), system, module, config, params, categories)
    best = trainer.train()
    if trainer.fabric.is_global_zero:
        name = validation.SCORES[trainer.network.output][0]
        print(f"{CHECKPOINTS / system}.pt: {name} {best[name]:.4f} at {best['samples']:,} samples")


def configured(system: str) -> tuple[ModuleType, Any]:
    """The module and Config of an entry of `systems:`; ValueError where it is not selected or does not fit."""
    selected = selected_systems()
    if system not in selected:
        found = ", ".join(selected) or "none"
        raise ValueError(f"params.yaml: selected_systems: expected an entry '{system}', found {found}")
    module = model.system(selected[system])
    return module, load(f"systems.{system}", module.Config)


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
        self.choices = hasten(fabric, self.network, params, sum(map(stored_bytes, self.data.values())))
        self.updates = Updates(fabric, self.network, params)
        if self.choices.recorded:
            repeat(self.updates, self.network.phases)
        self.resident: dict[str, Resident] = {}
        self.checkpoint, self.resume_point = CHECKPOINTS / f"{system}.pt", RESUME / f"{system}.pt"
        self.key, self.kept, self.seen = self._key(module), time.monotonic(), 0.0

    def train(self) -> dict[str, Any]:
        """Trains to the end, from where a stopped run was. Returns the checkpoint that it wrote."""
        self._go_on()
        params, state, first, system = self.params, self.state, self.fabric.is_global_zero, self.about["system"]
        done, total = state.step * params.batch_size, params.steps * params.batch_size
        bar = progress(f"train {system}", total, "sample", done, first)
        with Curves(system, state.rows, first) as curves, bar:
            for raw in self._loader("train"):
                batch = self._batch(raw) | {"progress": state.step / params.steps}
                losses = self.updates.step(batch, state.step, params.rate(state.step))
                state.add(losses)
                due = params.validated(state.step)
                if due or time.monotonic() - self.seen > READ_SECONDS:
                    self._look(bar, losses)
                if due:
                    curves.add(self._validate(bar))
                self._keep(due)
        if first:
            self.resume_point.unlink(missing_ok=True)
        return state.best

    def _look(self, bar: tqdm, losses: dict[str, Tensor]) -> None:
        """Shows how far the training is; ValueError where it has come to an end, as nothing is finite any more."""
        self.seen, done = time.monotonic(), self.state.step * self.params.batch_size
        bar.set_postfix({name: f"{mean:.4f}" for name, mean in self.state.means().items()}, refresh=False)
        bar.update(done - bar.n)
        if (count := int(self.updates.in_a_row)) >= PATIENCE:
            values = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
            raise ValueError(
                f"train: expected finite losses and gradients, had none in the {count} steps up to {self.state.step} "
                f"({values}); a lower train.lr or a train.clip_norm may help"
            )

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

    def _loader(self, split: str) -> Iterable[dict[str, Tensor]]:
        """Collated items of this process: of every step to come for `train`, its share of the views for `val`."""
        data, size = self.data[split], self.params.batch_size
        rank, processes = self.fabric.global_rank, self.fabric.world_size
        items = [item for item in range(len(data)) if item % data.groups < self.params.validation_views]
        batches: Any = BatchSampler(items[rank::processes], size // processes, drop_last=False)
        if split == "train":
            steps = range(self.state.step, self.params.steps)
            batches = Batches(len(data), size, steps, self.params.seed, rank, processes)
        on_cuda, count = self.fabric.device.type == "cuda", max(1, workers() // processes)
        if self.choices.resident:
            if split not in self.resident:
                self.resident[split] = Resident(data, self.fabric.device, count)
            return self.resident[split].batches(batches)
        # On a CPU the network itself needs every core.
        readers = min(8, count) if on_cuda else 0
        return DataLoader(data, batch_sampler=batches, num_workers=readers, pin_memory=on_cuda)  # type: ignore[arg-type]

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
        modules = (module, *networks, batches, order, resident, *scored, speed, updates, views, sys.modules[__name__])
        code = [Path(str(m.__file__)) for m in modules]
        data = {split: dataset.fingerprint for split, dataset in self.data.items()}
        machine = [self.fabric.device.type, self.fabric.world_size, torch.__version__]
        facts = [dataclasses.asdict(self.params), self.about, data, machine]
        return sha256(json.dumps([*facts, *(sha256(path.read_bytes()) for path in code)]).encode())
