"""Stage train: the one training loop, for every system.

    python -m pipeline.train r3d

Reads `data/shards/` and, for the entry of `systems:`, its network in model/. Writes `data/checkpoints/<system>.pt`, the
weights that did best in validation, and `<system>_last.pt` (`training/checkpoints.py` says what is in them); and
`data/curves/<system>.csv`, a row a validation: samples seen, the mean of each training loss since the row before, the
scores of `training/validation.py` and lr. DVCLive, where it is installed, gets the same rows.

Order of the samples, noise and learning rate are functions of the seed and the step alone. A stopped run therefore
needs little to go on where it was and to end with the weights of an undisturbed one (`training/resume.py`).
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pipeline.runtime.command import SYSTEM, argument, run

    FIT = argument("--fit", "only find out which train.accumulate a GPU has the memory for", action="store_true")
    run("pipeline.train", SYSTEM, FIT)

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from lightning_fabric import Fabric
from tqdm import tqdm

import model
from pipeline.runtime.command import STOPPED, progress
from pipeline.runtime.params import Dataset, load, selected_systems
from pipeline.shards.layout import SHARDS, ShardDataset, split_sha256
from pipeline.shards.resident import stored_bytes
from pipeline.training import checkpoints, memory, resume, snapshots, stop, validation
from pipeline.training.augment import augmented
from pipeline.training.checkpoints import CHECKPOINTS
from pipeline.training.curves import Curves
from pipeline.training.feed import Feed
from pipeline.training.launch import available, converted, launch
from pipeline.training.origin import origin
from pipeline.training.params import Params
from pipeline.training.pretrained import take_encoder
from pipeline.training.snapshots import SNAPSHOTS
from pipeline.training.speed import hasten, precision, repeat
from pipeline.training.start import start_from
from pipeline.training.state import State
from pipeline.training.stop import Stop
from pipeline.training.together import alike
from pipeline.training.updates import Updates
from pipeline.training.validation import COLLAPSED, validate
from pipeline.training.watch import Watch

KEEP_SECONDS = 60  # at most this much is lost when a run is killed


def main(system: str, fit: bool = False) -> None:
    module, config = configured(system)
    params, categories = load("train", Params), load("dataset", Dataset).categories
    trainer = Trainer(launch(precision(params, module.Model), alone=fit), system, module, config, params, categories)
    if fit:
        return trainer.fit()
    best, whole = trainer.train()
    if not whole:
        if trainer.fabric.is_global_zero:
            print(f"train {system}: {STOPPED}", flush=True)
        sys.exit(stop.EXIT)
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
        ValueError: shards are missing or of another version, the batch can't be shared among processes and pieces, or
            the checkpoint to start from does not fit.
    """

    def __init__(
        self, fabric: Fabric, system: str, module: ModuleType, config: Any, params: Params, categories: Sequence[str]
    ):
        self.at_a_time = params.at_a_time(fabric.world_size)
        self.fabric, self.config, self.params, self.state = fabric, config, params, State()
        torch.manual_seed(params.seed)
        self.network = module.Model(config)
        targets = {"occupancy", *self.network.targets, *model.maps(config)}
        if self.network.output != "occupancy":
            targets.add("points")  # to validate with
        stored = ShardDataset(SHARDS, categories, "train").groups
        together = {"train": min(getattr(config, "views", 1), stored), "val": 1}
        self.data = {
            split: ShardDataset(SHARDS, categories, split, views, sorted(targets), variants=split == "train")
            for split, views in together.items()
        }
        self.first = fabric.is_global_zero
        models = {split: split_sha256(shards.models[n] for n in shards.origins) for split, shards in self.data.items()}
        self.about = checkpoints.describe(system, module, config) | origin(models)
        fingerprints = {split: shards.fingerprint for split, shards in self.data.items()}
        self.facts = resume.facts(module, self.about, params, fingerprints, fabric.device.type, fabric.world_size)
        self.best, self.last = CHECKPOINTS / f"{system}.pt", CHECKPOINTS / f"{system}_last.pt"
        self.resume_point = resume.RESUME / f"{system}.pt"
        if params.encoder_weights and self.first:
            take_encoder(Path(params.encoder_weights), self.network)
        if params.start_from and self.first:
            start_from(Path(params.start_from), self.network, (self.best, self.last, self.resume_point))
        self.choices = hasten(fabric, self.network, params, sum(map(stored_bytes, self.data.values())))
        self.updates = Updates(fabric, self.network, params)
        self.feed = Feed(fabric, self.data, params, config, self.choices.resident)
        alike([*self.updates.values, *self.updates.averages])
        self.watch, self.kept = Watch(self.updates, params), time.monotonic()
        self.shown = snapshots.fixed(len(self.data["val"].models), self.data["val"].groups)

    def train(self) -> tuple[dict[str, Any], bool]:
        """Trains from where a stopped run was to the end, or until SIGTERM.

        Returns:
            The checkpoint that did best, and whether it came to the end.
        """
        self._go_on()
        if not self.state.step:
            self._remember(self.updates.network)
        if self.choices.recorded:
            repeat(self.updates, self.network.phases)
        params, state, system = self.params, self.state, self.about["system"]
        done, total = state.step * params.batch_size, params.steps * params.batch_size
        bar = progress(f"train {system}", total, "sample", done, self.first)
        curves = Curves(system, state.rows, self.first, params.tensorboard)
        lack = memory.told(system, self.config, self.at_a_time)
        self.watch.begin(state.step)
        with curves, bar, lack, Stop(self.fabric.device) as stopping:
            for given in self.watch.over(self.feed.training(state.step)):
                batch = augmented(given, params.augment, params.seed, state.step, self.fabric.global_rank)
                batch |= {"progress": state.step / params.steps}
                losses = self.updates.step(batch, state.step, params.rate(state.step))
                state.add(losses)
                due, ends = params.validated(state.step), False
                if due or self.watch.due(state.step):
                    curves.log(state.step * params.batch_size, self.watch.look(bar, state))
                    if reason := self.watch.hopeless(state.step, losses):
                        self._keep(True, failed=True)
                        raise ValueError(reason)
                    ends = stopping.agreed()
                if due:
                    curves.add(self._validate(bar))
                    self.watch.begin(state.step)
                self._keep(due or ends)
                if ends and state.step < params.steps:
                    return state.best, False
        return state.best, True

    def fit(self) -> None:
        """Prints which `accumulate` the memory of a GPU allows; ValueError where none does."""
        size = self.params.batch_size // math.prod(available(self.fabric.device.type))
        self._remember(self.updates.network)
        batch = next(self.feed.training(0))
        share = {name: value[:size] for name, value in batch.items()}
        if (count := memory.pieces(self.updates, share)) is None:
            raise ValueError(f"train.batch_size: not even {memory.described(self.config, 1)} at a time fits")
        print(f"train.accumulate: {count} fits, {memory.described(self.config, size // count)} at a time", flush=True)

    def _validate(self, bar: tqdm) -> dict[str, float]:
        """A row of the curves; these weights become the last checkpoint, and where they are the best so far, that."""
        state, params, network = self.state, self.params, self.updates.averaged
        for each in {self.updates.network, network}:
            self._remember(each)
        given = self.feed.validation()
        scores = validate(self.fabric, network, given, params.best_threshold, self.config.resolution)
        variety, samples = scores.pop("variety"), state.step * params.batch_size
        if self.first:
            bar.write(f"{samples:,} samples: " + ", ".join(f"{name} {value:.4f}" for name, value in scores.items()))
            if variety < COLLAPSED and state.step * 4 > params.steps:
                bar.write(f"warning: predictions differ {variety:.1%} as much as the shapes do; the network collapsed")
        weights = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
        state.last = {**self.about, "samples": samples, **scores, "state": weights}
        if not state.best or validation.better(self.network.output, scores, state.best):
            state.best = state.last
        if self.first:
            few = self.feed.some(self.shown)["images"]
            shapes = snapshots.taken(self.fabric, network, few, params.best_threshold)
            state.snapshots.append({"samples": samples, "shapes": shapes})
        self._publish()
        row = {"samples": samples, **state.means(), **scores, "lr": params.lr * params.rate(state.step - 1)}
        state.sums.clear()
        return row

    def _remember(self, network: Any) -> None:
        """Shows the training split to a network that keeps it (see `remember` in `model/__init__.py`)."""
        if remember := getattr(network, "remember", None):
            with self.fabric.autocast():
                remember(converted(self.fabric, batch) for batch in self.feed.memory())

    def _publish(self) -> None:
        if self.first:
            for path, contents in ((self.best, self.state.best), (self.last, self.state.last)):
                if contents:
                    checkpoints.save(path, contents)
            snapshots.write(SNAPSHOTS / f"{self.about['system']}.npz", self.shown, self.state.snapshots)

    def _keep(self, now: bool, failed: bool = False) -> None:
        """Writes the resume point, if `now` or if it is KEEP_SECONDS old."""
        if self.first and (now or time.monotonic() - self.kept > KEEP_SECONDS):
            resume.save(self.resume_point, self.facts, self.updates.state_dict(), vars(self.state), failed)
            self.kept = time.monotonic()

    def _go_on(self) -> None:
        """Takes up the resume point, if there is one of this training, or of one that this may continue."""
        found = resume.find(self.resume_point, self.facts, self.params.steps) if self.first else None
        point = self.fabric.broadcast(found)
        if point is None:
            return
        self.state = State(**point["state"])
        if point["failed"]:
            self.updates.begin_with(self.state.best["state"])
        else:
            self.updates.load_state_dict(point["updates"])
        self._publish()
