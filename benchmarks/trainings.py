"""A plan's projects, and trainings on them by the project's own Trainer, from views that lie on the device."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import model
from benchmarks.store import Late, Store, StoreFeed, read_store
from pipeline import train
from pipeline.runtime.params import Dataset, build, load, read
from pipeline.training.params import Params


@contextmanager
def inside(folder: str | Path) -> Iterator[None]:
    """In a project's folder, whose relative paths the stages use."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


class Alone(train.Trainer):
    """The trainer, but that its training is not taken up again and takes up none."""

    def _keep(self, now: bool, failed: bool = False) -> None:
        pass

    def _go_on(self) -> None:
        pass


class Trainings:
    """Trains systems of a plan's projects.

    Args:
        plan: see `recipe.py`.
        until: `time.monotonic()` at which everything ends.
    """

    def __init__(self, plan: dict[str, Any], until: float):
        self.plan, self.until, self.begin = plan, until, time.monotonic()
        self.stores: dict[tuple[str, tuple[int, int]], Store] = {}

    def folder(self, project: str) -> Path:
        return Path(self.plan["projects"][project]["folder"])

    def store(self, project: str, image_size: tuple[int, int]) -> Store:
        if (project, image_size) not in self.stores:
            start = time.monotonic()
            store = read_store(self.folder(project) / "data/shards", image_size)
            self.stores[project, image_size] = store
            self.log(f"{project}: {len(store.ids)} rows of {store.views} views, {time.monotonic() - start:.1f} s")
        return self.stores[project, image_size]

    def log(self, text: str) -> None:
        print(f"[{time.monotonic() - self.begin:6.1f} s] {text}", flush=True)

    def image_size(self, project: str, entry: str, settings: dict[str, Any]) -> tuple[int, int]:
        return self.config(project, entry, settings)[1].image_size

    def config(self, project: str, entry: str, settings: dict[str, Any]) -> tuple[Any, Any]:
        name = self.plan["modules"][entry]
        with inside(self.folder(project)):
            values = dict(read("systems").get(entry, {}))
        values |= {k.removeprefix("system."): v for k, v in settings.items() if k.startswith("system.")}
        values |= {k.removeprefix(f"{name}."): v for k, v in settings.items() if k.startswith(f"{name}.")}
        module = model.system(name)
        known = {k: v for k, v in values.items() if k in module.Config.__dataclass_fields__}
        return module, build(module.Config, known, entry)

    def train(
        self,
        project: str,
        entry: str,
        settings: dict[str, Any],
        store: Store,
        rows: list[int],
        val: list[int],
        until: float,
    ) -> tuple[Alone, dict[str, Any]] | None:
        """The trainer with its best weights, and what it did; None where time is over.

        Args:
            settings: `train.` and what follows, of the section; `system.` or the system's name, of the entry.
            rows, val: of the store, to train and to validate on.
        """
        if time.monotonic() > until:
            return None
        module, config = self.config(project, entry, settings)
        start = time.monotonic()
        with inside(self.folder(project)):
            values = read("train") | {"augment": {}}
            for key, value in settings.items():
                if key.startswith("train.augment."):
                    values["augment"][key.rpartition(".")[2]] = value
                elif key.startswith("train."):
                    values[key.removeprefix("train.")] = value
            params = build(Params, values, "train")
            categories = load("dataset", Dataset).categories
            fabric = train.launch(train.precision(params, module.Model))
            trainer = Alone(fabric, entry, module, config, params, categories)
            trainer.feed = StoreFeed(store, rows, val, until, params, config)
            try:
                best, _ = trainer.train()
            except Late:
                self.log(f"{entry} {json.dumps(settings)}: given up, no time")
                return None
        trainer.network = trainer.updates.averaged
        trainer.network.load_state_dict(best["state"])
        seconds = time.monotonic() - start
        about: dict[str, Any] = {"entry": entry, "project": project, "settings": settings, "seed": params.seed}
        about |= {"seconds": round(seconds, 1), "samples": params.steps * params.batch_size, "models": len(rows)}
        about |= {"best_samples": best["samples"], "curve": trainer.state.rows}
        return trainer, about
