"""Which settings of a training help, by ablation, and what the chosen ones are worth on the test split.

    python -m benchmarks.recipe PLAN.yaml --out FOLDER [--seconds 400]

A plan names projects (folders beside it with params.yaml and data/shards), and two lists that are worked through, until
the time is over:

    ablations   Settings, each trained on the same folds of the training and validation splits and compared with the
                first one, the base, on the same views. A change is kept where its mean gain is more than its standard
                error over shapes. The test split is not read.
    finals      Systems with all changes that were kept, trained on the training split and scored on the test split
                beside the nearest training image. The threshold is tuned on the validation split.

Trains by the project's own Trainer, from views that were prepared once and lie on the device. Everything is scored by
IoU at 32^3. Writes FOLDER/recipe.json, anew after every training, and FOLDER/<final>.pt.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
import traceback
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

import model
from benchmarks.store import AT_ONCE, Late, Store, StoreFeed, read_store
from model.layers.descriptors import descriptor
from pipeline import train
from pipeline.runtime.files import atomic_write
from pipeline.runtime.machine import device
from pipeline.runtime.params import Dataset, build, load, read
from pipeline.scoring.distances import iou
from pipeline.scoring.neighbours import nearest_rows
from pipeline.scoring.statistics import intervals, paired
from pipeline.shards.batches import grids
from pipeline.training import checkpoints
from pipeline.training.params import Params

SIDE = 32  # of the grids by which everything is compared
THRESHOLDS = [round(0.05 * n, 2) for n in range(1, 20)]
LARGE = 4096  # numbers


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


@torch.inference_mode()
def overlaps(network: Any, store: Store, rows: Sequence[int], views: int, both: bool = False) -> np.ndarray:
    """(N * views, T): IoU at SIDE^3 of every view's prediction at each of THRESHOLDS.

    Args:
        both: whether the mean of the answers to a view and to its mirror image is scored.
    """
    network.eval()
    items = torch.arange(len(rows) * views, device=device())
    given, found = torch.tensor(rows, device=device()), []
    for some in items.split(AT_ONCE):
        batch = store.batch(given[some // views], some % views, network.config.resolution)
        logits = network.predict(batch["images"]).float()
        if both:
            logits = (logits + network.predict(batch["images"].flip(-1)).float().flip(1)) / 2
        likely, truth = logits.sigmoid(), coarse(batch["occupancy"])
        found.append(torch.stack([iou(coarse(likely) > t, truth > 0) for t in THRESHOLDS], dim=1))
    return torch.cat(found).cpu().numpy()


def coarse(fields: Tensor) -> Tensor:
    """(B, R, R, R) -> (B, SIDE, SIDE, SIDE), the largest of each block: passing a threshold first changes nothing."""
    return torch.nn.functional.max_pool3d(fields[:, None], fields.shape[-1] // SIDE)[:, 0]


@torch.inference_mode()
def nearest_image(store: Store, rows: Sequence[int], asked: Sequence[int], views: int) -> np.ndarray:
    """(N * views,): IoU at SIDE^3 of the shape of the nearest view of `rows` with each of the views of `asked`."""

    def described(some: Sequence[int], count: int) -> Tensor:
        images = store.images[list(some), :count].flatten(0, 1)[:, None]
        return torch.cat([descriptor(part) for part in images.split(AT_ONCE)])

    nearest = nearest_rows(described(asked, views), described(rows, store.views)).to(device()) // store.views
    found = store.grids[torch.tensor(rows, device=device())[nearest]]
    truth = store.grids[torch.tensor(asked, device=device()).repeat_interleave(views)]
    pairs = zip(found.split(AT_ONCE), truth.split(AT_ONCE), strict=True)
    return torch.cat([iou(grids(a, SIDE), grids(b, SIDE)) for a, b in pairs]).cpu().numpy()


def halved(value: Tensor) -> Tensor:
    """Large arrays of weights in half precision, which costs no score; all else as it is."""
    return value.half() if value.is_floating_point() and value.numel() > LARGE else value


class Runner:
    """Works a plan through.

    Args:
        plan: see the file that is run.
        out: folder of the results.
        until: `time.monotonic()` at which everything ends.
    """

    def __init__(self, plan: dict[str, Any], out: Path, until: float):
        self.plan, self.out, self.until = plan, out, until
        out.mkdir(parents=True, exist_ok=True)
        self.begin = time.monotonic()
        self.stores: dict[tuple[str, tuple[int, int]], Store] = {}
        self.results: dict[str, Any] = {"device": self.device(), "plan": plan, "ablations": [], "finals": []}
        self.kept: dict[str, Any] = {}

    def device(self) -> str:
        return torch.cuda.get_device_name() if device() == "cuda" else "cpu"

    def write(self) -> None:
        self.results |= {"seconds": round(time.monotonic() - self.begin, 1), "kept": self.kept}
        with atomic_write(self.out / "recipe.json") as temporary:
            temporary.write_text(json.dumps(self.results) + "\n", encoding="utf-8")

    def store(self, project: str, image_size: tuple[int, int]) -> Store:
        if (project, image_size) not in self.stores:
            start, about = time.monotonic(), self.plan["projects"][project]
            store = read_store(Path(about["folder"]) / "data/shards", image_size)
            self.stores[project, image_size] = store
            self.log(f"{project}: {len(store.ids)} rows of {store.views} views, {time.monotonic() - start:.1f} s")
        return self.stores[project, image_size]

    def log(self, text: str) -> None:
        print(f"[{time.monotonic() - self.begin:6.1f} s] {text}", flush=True)

    def ablations(self) -> None:
        """Every setting on every fold, as long as there is time; then what is kept."""
        about = self.plan["ablations"]
        end = min(self.until, time.monotonic() + about["seconds"])
        scores: dict[str, list[np.ndarray]] = {}
        shapes: list[list[str]] = []
        for name, changes in about["settings"].items():
            found = []
            for fold in range(about["trained_folds"]):
                settings = about["common"] | changes
                try:
                    result = self.one(about["project"], about["system"], settings, fold, end)
                except (ValueError, RuntimeError) as error:
                    self.fail(name, error)
                    break
                if result is None:
                    break
                found.append(result.pop("views"))
                if name == "base":
                    shapes.append(result.pop("shapes"))
                result.pop("shapes", None)
                self.results["ablations"].append({"setting": name, "fold": fold} | result)
                self.write()
            if len(found) == about["trained_folds"]:
                scores[name] = found
                self.judge(name, scores, shapes)
                self.write()
        best = {n: c for n, c in about["settings"].items() if self.results.get("gains", {}).get(n, {}).get("kept")}
        for changes in best.values():
            self.kept |= changes

    def judge(self, name: str, scores: dict[str, list[np.ndarray]], shapes: list[list[str]]) -> None:
        """Mean gain over the base, and its interval, over the shapes of all folds."""
        if name == "base":
            return
        against = self.plan["ablations"].get("against", {}).get(name, "base")
        gain = np.concatenate([a - b for a, b in zip(scores[name], scores[against], strict=True)])
        names = [shape for some in shapes for shape in some]
        mean, low, high, won = paired(gain[:, None], np.zeros_like(gain)[:, None], names)[:, 0].tolist()
        error = (high - low) / 3.92
        kept = mean > max(error, 0.0)
        fold_means = [round(float((a - b).mean()), 4) for a, b in zip(scores[name], scores[against], strict=True)]
        about = {"against": against, "gain": mean, "low": low, "high": high, "won": won, "folds": fold_means}
        self.results.setdefault("gains", {})[name] = about | {"kept": bool(kept)}
        self.log(f"{name}: {mean:+.4f} [{low:+.4f}, {high:+.4f}] {fold_means}")

    def one(self, project: str, entry: str, settings: dict[str, Any], fold: int, until: float) -> dict[str, Any] | None:
        """A training on all folds but one, and the scores on that one's shapes; None where time is over."""
        store = self.store(project, self.image_size(project, entry, settings))
        folds = self.plan["ablations"]["folds"]
        pool = store.rows(("train", "val"))
        held = [row for row in pool if zlib.crc32(store.ids[row].encode()) % folds == fold]
        rest = set(pool) - set(held)
        wide = set(store.rows(("train",), variants=True)) if settings.get("variants") else set()
        own = store.origin.tolist()
        rows = sorted(rest | {row for row in wide if own[row] in rest})
        trained = self.train(project, entry, settings | {"train.seed": fold}, store, rows, held, until)
        if trained is None:
            return None
        trainer, about = trained
        curves = overlaps(trainer.network, store, held, store.views)
        mirrored = overlaps(trainer.network, store, held, store.views, both=True)
        best, best_mirrored = curves.mean(0).argmax(), mirrored.mean(0).argmax()
        about |= {"iou": float(curves.mean(0).max()), "threshold": THRESHOLDS[best]}
        about |= {"both_iou": float(mirrored.mean(0).max()), "both_threshold": THRESHOLDS[best_mirrored]}
        if "nearest_image" not in self.results.setdefault(f"fold_{fold}", {}):
            nearest = nearest_image(store, sorted(rest), held, store.views)
            self.results[f"fold_{fold}"] = {"nearest_image": float(nearest.mean()), "models": len(held)}
            self.log(f"fold {fold}: nearest image {nearest.mean():.4f}, {len(held)} of {len(pool)} models")
        self.log(f"  fold {fold} {json.dumps(settings)}: {about['iou']:.4f}, both {about['both_iou']:.4f}")
        shapes = [store.ids[row] for row in held for _ in range(store.views)]
        return about | {"views": curves[:, best].astype(np.float64), "shapes": shapes}

    def image_size(self, project: str, entry: str, settings: dict[str, Any]) -> tuple[int, int]:
        return self.config(project, entry, settings)[1].image_size

    def config(self, project: str, entry: str, settings: dict[str, Any]) -> tuple[Any, Any]:
        name = self.plan["modules"][entry]
        with inside(self.plan["projects"][project]["folder"]):
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
        if time.monotonic() > until:
            return None
        module, config = self.config(project, entry, settings)
        start = time.monotonic()
        with inside(self.plan["projects"][project]["folder"]):
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

    def final(self, final: dict[str, Any]) -> None:
        """A system of the plan with what was kept, if there is time."""
        settings = self.plan.get("final_common", {}) | self.kept | final["settings"]
        project = final["project"]
        store = self.store(project, self.image_size(project, final["system"], settings))
        rows = store.rows(("train",), bool(settings.get("variants")), self.first(final, "first"))
        few = self.first(final, "tested")
        val, test = (store.rows((split,), first=few) for split in ("val", "test"))
        trained = self.train(project, final["system"], settings, store, rows, val, self.until)
        if trained is None:
            self.log(f"{final['name']}: left out, no time")
            return
        trainer, about = trained
        about["name"] = final["name"]
        if trainer.network.output == "occupancy":
            about |= self.scored(trainer, store, rows, val, test)
        self.results["finals"].append(about)
        if final.get("weights", True):
            folder = Path(self.plan["projects"][project]["folder"])
            checkpoint = checkpoints.load(folder / train.CHECKPOINTS / f"{final['system']}.pt")
            checkpoint["state"] = {name: halved(value) for name, value in checkpoint["state"].items()}
            checkpoints.save(self.out / f"{final['name']}.pt", checkpoint)
        self.log(f"{final['name']}: {json.dumps({k: v for k, v in about.items() if k not in ('curve', 'settings')})}")
        self.write()

    def fail(self, name: str, error: Exception) -> None:
        traceback.print_exc()
        self.results.setdefault("failed", {})[name] = f"{type(error).__name__}: {error}"
        self.write()

    def first(self, final: dict[str, Any], key: str) -> set[str] | None:
        """The first so many models of every category, by the root's all.csv; None for all."""
        if key not in final:
            return None
        with inside(self.plan["projects"][final["project"]]["folder"]):
            path = Path(load("dataset", Dataset).root) / "all.csv"
            rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        found: dict[str, list[str]] = {}
        for row in rows:
            found.setdefault(row["synsetId"], []).append(row["modelId"])
        return {name for names in found.values() for name in names[: final[key]]}

    def scored(self, trainer: Alone, store: Store, rows: list[int], val: list[int], test: list[int]) -> dict[str, Any]:
        """Test scores, [mean, low, high] over shapes, and the paired difference to the nearest image's."""
        views = self.plan["views"]
        shapes = [store.ids[row] for row in test for _ in range(views)]
        models = [row for row in rows if store.origin[row] == row]
        looked_up = nearest_image(store, models, test, views).astype(np.float64)[:, None]
        found: dict[str, Any] = {"nearest_image": intervals(looked_up, shapes)[:, 0].tolist()}
        for label, both in (("one", False), ("both", True)):
            tuned = overlaps(trainer.network, store, val, views, both).mean(0)
            place = int(tuned.argmax())
            scores = overlaps(trainer.network, store, test, views, both)[:, place, None].astype(np.float64)
            found[label] = {"val_iou": float(tuned.max()), "threshold": THRESHOLDS[place]}
            found[label] |= {"test_iou": intervals(scores, shapes)[:, 0].tolist()}
            found[label] |= {"against_nearest_image": paired(scores, looked_up, shapes)[:, 0].tolist()}
        return found | {"test_models": len(test), "views": views}


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.recipe", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("plan", type=Path, help="what to train and to compare, as benchmarks/recipe.yaml has it")
    parser.add_argument("--out", type=Path, default=Path("data/recipe"), help="folder of the results")
    parser.add_argument("--seconds", type=float, default=400.0, help="nothing begins after so many")
    arguments = parser.parse_args()
    plan = yaml.safe_load(arguments.plan.read_text(encoding="utf-8"))
    out = arguments.out.resolve()
    runner = Runner(plan, out, time.monotonic() + arguments.seconds)
    with inside(arguments.plan.parent):
        if "ablations" in plan:
            runner.ablations()
        for final in plan["finals"]:
            try:
                runner.final(final)
            except (ValueError, RuntimeError) as error:  # the others are worth the time that is left
                runner.fail(final["name"], error)
        runner.write()
    runner.log("done")


if __name__ == "__main__":
    main()
