"""Which settings of a training help, by ablation, and what the chosen ones are worth on the test split.

    python -m benchmarks.recipe PLAN.yaml --out FOLDER [--seconds 400]

A plan names projects (folders beside it with params.yaml and data/shards), and two lists that are worked through, until
the time is over:

    ablations   Settings, each trained on the same folds of the training and validation splits and compared with the
                first one, the base, on the same views. A change is kept where its mean gain is more than its standard
                error over shapes. The test split is not read.
    finals      Systems with all changes that were kept, trained on the training split and scored on the test split
                beside the nearest training image. The threshold is tuned on the validation split.

A setting may train on another project's views of the same models (`project`), and `held` names views that the held-out
models are scored on as well, by the same network and threshold: another project's, or before drawn backgrounds.

Trains by the project's own Trainer, from views that were prepared once and lie on the device. Everything is scored by
IoU at 32^3. Writes FOLDER/recipe.json, anew after every training, and FOLDER/<final>.pt.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
import traceback
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from benchmarks.overlaps import THRESHOLDS, nearest_image, overlaps
from benchmarks.store import Store
from benchmarks.trainings import Alone, Trainings, inside
from pipeline import train
from pipeline.runtime.files import atomic_write
from pipeline.runtime.machine import device
from pipeline.runtime.params import Dataset, load
from pipeline.scoring.statistics import intervals, paired
from pipeline.training import checkpoints

LARGE = 4096  # numbers
PLAIN = "plain"  # views: the project's own

Scores = dict[str, list[np.ndarray]]  # by kind of views, and then for each fold: the IoU of every held-out view


def halved(value: Tensor) -> Tensor:
    """Large arrays of weights in half precision, which costs no score; all else as it is."""
    return value.half() if value.is_floating_point() and value.numel() > LARGE else value


def compared(found: list[np.ndarray], base: list[np.ndarray], shapes: list[list[str]]) -> dict[str, Any]:
    """Mean gain, its interval over the shapes of all folds, and the mean of every fold."""
    gain = np.concatenate([a - b for a, b in zip(found, base, strict=True)])
    names = [shape for some in shapes for shape in some]
    mean, low, high, won = paired(gain[:, None], np.zeros_like(gain)[:, None], names)[:, 0].tolist()
    folds = [round(float((a - b).mean()), 4) for a, b in zip(found, base, strict=True)]
    return {"gain": mean, "low": low, "high": high, "won": won, "folds": folds}


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
        self.trainings = Trainings(plan, until)
        self.log = self.trainings.log
        self.results: dict[str, Any] = {"device": self.device(), "plan": plan, "ablations": [], "finals": []}
        self.kept: dict[str, Any] = {}

    def device(self) -> str:
        return torch.cuda.get_device_name() if device() == "cuda" else "cpu"

    def write(self) -> None:
        self.results |= {"seconds": round(time.monotonic() - self.trainings.begin, 1), "kept": self.kept}
        with atomic_write(self.out / "recipe.json") as temporary:
            temporary.write_text(json.dumps(self.results) + "\n", encoding="utf-8")

    def ablations(self) -> None:
        """Every setting on every fold, as long as there is time; then what is kept."""
        about = self.plan["ablations"]
        end = min(self.until, time.monotonic() + about["seconds"])
        scores: dict[str, Scores] = {}
        shapes: list[list[str]] = []
        for name, changes in about["settings"].items():
            found: Scores = {}
            for fold in range(about["trained_folds"]):
                try:
                    result = self.one(about["project"], about["system"], about["common"] | changes, fold, end)
                except (ValueError, RuntimeError) as error:
                    self.fail(name, error)
                    break
                if result is None:
                    break
                held, views, about_it = result
                for kind, values in views.items():
                    found.setdefault(kind, []).append(values)
                if name == "base":
                    shapes.append(held)
                self.results["ablations"].append({"setting": name, "fold": fold} | about_it)
                self.write()
            if len(found.get(PLAIN, [])) == about["trained_folds"]:
                scores[name] = found
                self.judge(name, scores, shapes)
                self.write()
        best = {n: c for n, c in about["settings"].items() if self.results.get("gains", {}).get(n, {}).get("kept")}
        for changes in best.values():
            self.kept |= changes

    def judge(self, name: str, scores: dict[str, Scores], shapes: list[list[str]]) -> None:
        """Mean gain over the base on each kind of views, of the base over itself on plain ones."""
        against = self.plan["ablations"].get("against", {}).get(name, "base")
        for kind, found in scores[name].items():
            if name != "base":
                about = {"against": against} | compared(found, scores[against][kind], shapes)
            elif kind != PLAIN:
                about = {"against": PLAIN} | compared(found, scores[name][PLAIN], shapes)
            else:
                continue
            if kind == PLAIN:
                about["kept"] = about["gain"] > max((about["high"] - about["low"]) / 3.92, 0.0)
                self.results.setdefault("gains", {})[name] = about
            else:
                self.results.setdefault("held", {}).setdefault(kind, {})[name] = about
            self.log(
                f"{name}, {kind}: {about['gain']:+.4f} [{about['low']:+.4f}, {about['high']:+.4f}] {about['folds']}"
            )

    def one(
        self, project: str, entry: str, settings: dict[str, Any], fold: int, until: float
    ) -> tuple[list[str], dict[str, np.ndarray], dict[str, Any]] | None:
        """A training on all folds but one; None where time is over.

        Returns:
            Of that fold's views the shape, and for each kind of views the IoU, and what was done.
        """
        size = self.trainings.image_size(project, entry, settings)
        plain = self.trainings.store(project, size)
        store = self.trainings.store(settings.get("project", project), size)
        pool, held = self.fold(plain, fold)
        rest = set(store.rows(("train", "val"))) - set(self.fold(store, fold)[1])
        wide = set(store.rows(("train",), variants=True)) if settings.get("variants") else set()
        own = store.origin.tolist()
        rows = sorted(rest | {row for row in wide if own[row] in rest})
        trained = self.trainings.train(
            project, entry, settings | {"train.seed": fold}, store, rows, self.fold(store, fold)[1], until
        )
        if trained is None:
            return None
        trainer, about = trained
        curves = overlaps(trainer.network, plain, held, plain.views)
        mirrored = overlaps(trainer.network, plain, held, plain.views, both=True)
        best, best_mirrored = curves.mean(0).argmax(), mirrored.mean(0).argmax()
        about |= {"iou": float(curves.mean(0).max()), "threshold": THRESHOLDS[best]}
        about |= {"both_iou": float(mirrored.mean(0).max()), "both_threshold": THRESHOLDS[best_mirrored]}
        found = {PLAIN: curves[:, best].astype(np.float64)}
        for kind, views in self.plan["ablations"].get("held", {}).items():
            other = self.trainings.store(views.get("project", project), size)
            seen = overlaps(
                trainer.network,
                other,
                self.fold(other, fold)[1],
                other.views,
                background=views.get("background", False),
            )
            found[kind] = seen[:, best].astype(np.float64)
            about[f"{kind}_iou"] = float(found[kind].mean())
        if "nearest_image" not in self.results.setdefault(f"fold_{fold}", {}):
            nearest = nearest_image(plain, sorted(set(pool) - set(held)), held, plain.views)
            self.results[f"fold_{fold}"] = {"nearest_image": float(nearest.mean()), "models": len(held)}
            self.log(f"fold {fold}: nearest image {nearest.mean():.4f}, {len(held)} of {len(pool)} models")
        means = ", ".join(f"{kind} {values.mean():.4f}" for kind, values in found.items())
        self.log(f"  fold {fold} {json.dumps(settings)}: {means}, both {about['both_iou']:.4f}")
        return [plain.ids[row] for row in held for _ in range(plain.views)], found, about

    def fold(self, store: Store, fold: int) -> tuple[list[int], list[int]]:
        """Rows of all models that are trained on or validated with, and of those that this fold holds out."""
        pool, folds = store.rows(("train", "val")), self.plan["ablations"]["folds"]
        return pool, [row for row in pool if zlib.crc32(store.ids[row].encode()) % folds == fold]

    def final(self, final: dict[str, Any]) -> None:
        """A system of the plan with what was kept, if there is time."""
        settings = self.plan.get("final_common", {}) | self.kept | final["settings"]
        project = final["project"]
        store = self.trainings.store(project, self.trainings.image_size(project, final["system"], settings))
        rows = store.rows(("train",), bool(settings.get("variants")), self.first(final, "first"))
        few = self.first(final, "tested")
        val, test = (store.rows((split,), first=few) for split in ("val", "test"))
        trained = self.trainings.train(project, final["system"], settings, store, rows, val, self.until)
        if trained is None:
            self.log(f"{final['name']}: left out, no time")
            return
        trainer, about = trained
        about["name"] = final["name"]
        if trainer.network.output == "occupancy":
            about |= self.scored(trainer, store, rows, val, test)
        self.results["finals"].append(about)
        if final.get("weights", True):
            folder = self.trainings.folder(project)
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
        with inside(self.trainings.folder(final["project"])):
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
