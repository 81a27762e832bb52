"""Stage report: what a trained system makes of test photos, to look at.

    python -m pipeline.report r3d

Reads what `metrics` and `baselines` wrote: data/views/<system>.csv, and data/scores/<name>/ of the system, its
retrieval, nearest_image, mean_shape and oracle; data/curves/<system>.csv, data/snapshots/<system>.npz, the checkpoint
and the shards. Writes data/report/<system>/: `contact_sheet.png`, of test models the photo, the true shape, the
reconstruction and what `nearest_image` answers; `training.png`, how the predictions of a few validation models changed;
and `index.html`, a page that holds it all.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pipeline.runtime.command import SYSTEM, run

    run("pipeline.report", SYSTEM)

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model import maps
from pipeline.metrics import VIEWS
from pipeline.pages.charts import charts
from pipeline.pages.page import OTHERS, Line, Results, page
from pipeline.pages.pictures import CELL, Row, Surface, contact_sheet, dots, strip
from pipeline.runtime.files import atomic_folder
from pipeline.runtime.machine import device
from pipeline.runtime.params import Dataset, load
from pipeline.scoring.figures import read_figures
from pipeline.scoring.predictions import Prediction, predict
from pipeline.scoring.scorer import batches
from pipeline.scoring.tables import METRICS, SCORES
from pipeline.shards.batches import grids, make_batch, unpack_bits
from pipeline.shards.layout import SHARDS, ShardDataset
from pipeline.shards.views import prepare
from pipeline.sources.categories import category
from pipeline.training import snapshots
from pipeline.training.checkpoints import CHECKPOINTS, load_checkpoint
from pipeline.training.curves import CURVES
from pipeline.training.snapshots import SNAPSHOTS

REPORT = Path("data/report")
MOMENTS = 5  # of the training that are shown, the first and the last validation among them
Sample = dict[str, str]  # a row of samples.csv
Key = tuple[str, ...]  # synset, model id, view


@dataclass(frozen=True)
class Params:
    """Section `report`.

    Attributes:
        rows: of the contact sheet, spread over the categories.
    """

    rows: int

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError(f"rows: expected at least 1, got {self.rows}")


@dataclass(frozen=True)
class Pick:
    """A sample to show: its row of samples.csv, and its model's rank among those of its category, 1 the best."""

    score: Sample
    rank: int
    models: int


def report(system: str, params: Params, categories: Sequence[str]) -> None:
    """Writes the contact sheet and the page.

    Raises:
        ValueError: figures, scores, curves, checkpoint or shards are missing, or scores are not of the same samples.
    """
    figures, curves, views = read_figures(system), read_csv(CURVES / f"{system}.csv"), VIEWS / f"{system}.csv"
    samples = {name: read_samples(name) for name in (system, "nearest_image", "mean_shape")}
    lines = {name: read_lines(name) for name in (system, f"{system}_retrieval", *OTHERS)}
    network, config, _ = load_checkpoint(CHECKPOINTS / f"{system}.pt", device())
    test = ShardDataset(SHARDS, categories, "test", targets=("occupancy", *maps(config)))
    for name, found in samples.items():
        if missing := samples[system].keys() - found.keys():
            raise ValueError(f"{SCORES / name}: expected the samples of {system}, lacks {'/'.join(min(missing))}")
    own = list(samples[system].values())
    shown = headline(own[0], config.resolution == test.resolution)
    picks = choose(own, params.rows, shown[0])
    items = items_of(test, [pick.score for pick in picks], system)
    shapes = reconstructions(network, config, test, items, figures["overall"].get("threshold", 0.5))
    train = ShardDataset(SHARDS, categories, "train")
    answers = looked_up(train, [samples["nearest_image"][key_of(pick.score)]["answer"] for pick in picks])
    captions = [caption(pick, shown, samples) for pick in picks]
    rows = [Row(*a, found, text) for a, found, text in zip(shapes, answers, captions, strict=True)]
    results = Results(system, shown, figures, lines, closer(samples[system], samples["nearest_image"], shown[0]))
    sweep = SCORES / system / "thresholds.csv"
    graphs = "".join(charts(curves, read_csv(sweep) if sweep.is_file() else [], read_csv(views)))
    shots = course(system, ShardDataset(SHARDS, categories, "val"))
    with atomic_folder(REPORT / system, "contact_sheet.png", "training.png", "index.html") as temporary:
        contact_sheet(rows).save(temporary / "contact_sheet.png", optimize=True)
        shots.save(temporary / "training.png", optimize=True)
        sheets = [(temporary / name).read_bytes() for name in ("contact_sheet.png", "training.png")]
        text = page(results, sheets[0], graphs, sheets[1])
        (temporary / "index.html").write_text(text, encoding="utf-8")
    print(f"report {system}: {REPORT / system / 'index.html'}", flush=True)


def headline(sample: Sample, same_resolution: bool) -> tuple[str, str]:
    """The two scores that are shown first; by the first one, samples are compared and models ranked.

    Args:
        sample: any of the system.
        same_resolution: as the shards, whose grids the baselines have; others are compared at 32^3.
    """
    of_grids = "iou" if same_resolution else "iou_32"
    return (of_grids, "chamfer_unsquared") if of_grids in sample else ("chamfer_unsquared", "f_score_1%")


def closer(own: dict[Key, Sample], others: dict[Key, Sample], score: str) -> float:
    """Share of the samples of which `own` is better than `others`."""
    sign = METRICS[score][1]
    return float(np.mean([sign * float(row[score]) > sign * float(others[key][score]) for key, row in own.items()]))


def choose(samples: list[Sample], count: int, score: str) -> list[Pick]:
    """Samples that stand for all: of every category as many models, evenly spaced by rank, each in its median view."""
    picks = []
    synsets = sorted({sample["synset"] for sample in samples})
    for index, synset in enumerate(synsets):
        ranked = ranked_models([sample for sample in samples if sample["synset"] == synset], score)
        places = (index + 1) * count // len(synsets) - index * count // len(synsets)
        for place in range(min(places, len(ranked))):
            rank = (2 * place + 1) * len(ranked) // (2 * min(places, len(ranked)))
            picks.append(Pick(ranked[rank], rank + 1, len(ranked)))
    return picks


def ranked_models(samples: list[Sample], score: str) -> list[Sample]:
    """The row of the median view (the worse of two) of every model, the best model first."""
    sign = METRICS[score][1]
    views: dict[str, list[Sample]] = {}
    for sample in sorted(samples, key=lambda s: (sign * float(s[score]), s["model_id"], int(s["view"]))):
        views.setdefault(sample["model_id"], []).append(sample)
    medians = [rows[(len(rows) - 1) // 2] for rows in views.values()]
    return sorted(medians, key=lambda s: (-sign * float(s[score]), s["model_id"]))


def items_of(test: ShardDataset, samples: list[Sample], system: str) -> list[int]:
    """The items that rows of samples.csv are of; ValueError where there is none."""
    first = {key: index * test.groups for index, key in enumerate(test.models)}
    keys = [(sample["synset"], sample["model_id"]) for sample in samples]
    if unknown := [key for key in keys if key not in first]:
        raise ValueError(f"{SCORES / system}: expected scores of the test shards, got {'/'.join(unknown[0])}")
    return [first[key] + int(sample["view"]) for key, sample in zip(keys, samples, strict=True)]


def reconstructions(
    network: Any, config: Any, test: ShardDataset, items: Sequence[int], threshold: float
) -> list[tuple[np.ndarray, Surface, Surface]]:
    """Photo, true shape and reconstruction of every item."""
    found = []
    for raw in batches(test, items, 1):
        batch = make_batch(raw, config.image_size, test.resolution)
        prediction = predict(network, batch["images"].to(device()))[0]
        cloud = prediction.points
        shape = prediction.surface(threshold) if cloud is None else dots(cloud)
        found.append((photo(raw), solid(batch["occupancy"]), shape))
    return found


def course(system: str, val: ShardDataset) -> Image.Image:
    """What was predicted of a few validation models at MOMENTS of the training; ValueError where that is not known."""
    path = SNAPSHOTS / f"{system}.npz"
    items, shots = snapshots.read(path)
    if not shots or max(items) >= len(val):
        raise ValueError(
            f"{path}: expected predictions of the {len(val)} validation views, got {len(shots)} of {items}"
        )
    moments = sorted({round(place) for place in np.linspace(0, len(shots) - 1, MOMENTS)})
    rows = []
    for index, raw in enumerate(batches(val, items, 1)):
        truth = solid(grids(raw["occupancy"], val.resolution).float())
        shapes = [shots[moment][1][index] for moment in moments]
        found = [s.surface(0.5) if s.points is None else dots(s.points) for s in shapes]
        rows.append((photo(raw), truth, found))
    return strip(rows, [f"{shots[moment][0]:,}" for moment in moments])


def looked_up(train: ShardDataset, answers: Sequence[str]) -> list[Surface]:
    """The training shapes that `nearest_image` answered with, by `synset/model_id`."""
    places = {"/".join(model): index * train.groups for index, model in enumerate(train.models)}
    packed = (torch.from_numpy(train[places[answer]]["occupancy"])[None] for answer in answers)
    return [solid(grids(grid, train.resolution).float()) for grid in packed]


def solid(grid: Tensor) -> Surface:
    """The surface of a grid (1, R, R, R) float."""
    return Prediction(field=grid[0].numpy()).surface(0.5)


def photo(raw: dict[str, Any]) -> np.ndarray:
    """(H, W) uint8, as large as a cell of the sheet: the view as the network gets it, in finer pixels, on white."""
    mask = unpack_bits(raw["masks"], raw["views"].shape[-1])
    picture, alpha = (prepare(v, mask, (CELL[1], CELL[0]))[0, 0, 0] for v in (raw["views"], 255 * mask.byte()))
    return ((picture + 1 - alpha) * 255).round().byte().numpy()


def caption(pick: Pick, shown: Sequence[str], samples: dict[str, dict[Key, Sample]]) -> tuple[str, ...]:
    def both(row: Sample) -> str:
        return ", ".join(f"{float(row[score]):.3f}" for score in shown)

    own, key = pick.score, key_of(pick.score)
    return (
        category(own["synset"]).replace("_", " "),
        *(f"{METRICS[score][0]} {float(own[score]):.3f}" for score in shown),
        *(f"{name} {both(samples[other][key])}" for other, name in list(OTHERS.items())[:2]),
        f"rank {pick.rank} of {pick.models}",
        f"{own['model_id'][:12]}, view {own['view']}",
    )


def read_samples(name: str) -> dict[Key, Sample]:
    return {key_of(row): row for row in read_csv(SCORES / name / "samples.csv")}


def read_lines(name: str) -> dict[tuple[str, str], Line]:
    """Lines of metrics.csv by scope and score."""
    numbers = ("mean", "low", "high", "samples")
    rows = read_csv(SCORES / name / "metrics.csv")
    return {(row["scope"], row["score"]): {key: float(row[key]) for key in numbers} for row in rows}


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a table; ValueError where there is none."""
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))) if path.is_file() else []
    if not rows:
        raise ValueError(f"{path}: expected a table with rows, found none")
    return rows


def key_of(sample: Sample) -> Key:
    return sample["synset"], sample["model_id"], sample["view"]


def main(system: str) -> None:
    report(system, load("report", Params), load("dataset", Dataset).categories)
