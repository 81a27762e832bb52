"""Stage report: what a trained system makes of test photos, to look at.

    python -m pipeline.report r3d

Reads what `metrics` wrote (data/metrics/<system>/, data/scores/<system>/), data/curves/<system>.csv, the checkpoint and
the test shards. Writes data/report/<system>/: `contact_sheet.png`, photo, true shape and reconstruction of test models,
and `index.html`, a page that holds it all.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model import maps
from model.isosurface import marching_cubes
from pipeline.batches import make_batch, unpack_bits
from pipeline.categories import category
from pipeline.charts import charts
from pipeline.checkpoints import CHECKPOINTS, load_checkpoint
from pipeline.command import run
from pipeline.curves import CURVES
from pipeline.files import atomic_write
from pipeline.machine import device
from pipeline.page import Figures, page
from pipeline.params import Dataset, load
from pipeline.pictures import CELL, Row, contact_sheet
from pipeline.scoring import METRICS, SCORES, batches
from pipeline.shards import SHARDS, ShardDataset
from pipeline.views import prepare

REPORT = Path("data/report")


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

    score: dict[str, str]
    rank: int
    models: int


def report(system: str, params: Params, categories: Sequence[str]) -> None:
    """Writes the contact sheet and the page.

    Raises:
        ValueError: the metrics or the curves of the system are missing, or of other shards.
    """
    figures, scores = read_metrics(METRICS / system), read_csv(SCORES / system / "samples.csv")
    curves, sweep = read_csv(CURVES / f"{system}.csv"), read_csv(SCORES / system / "thresholds.csv")
    picks = choose(scores, params.rows)
    sheet = contact_sheet(reconstructions(system, picks, categories, figures["overall"]["threshold"]))
    wins = sum(float(score["iou"]) > float(score["mean_shape_iou"]) for score in scores) / len(scores)
    with atomic_write(REPORT / system) as temporary:
        temporary.mkdir()
        sheet.save(temporary / "contact_sheet.png", optimize=True)
        picture = (temporary / "contact_sheet.png").read_bytes()
        text = page(system, figures, wins, picture, charts(curves, sweep))
        (temporary / "index.html").write_text(text, encoding="utf-8")
    print(f"report {system}: {REPORT / system / 'index.html'}", flush=True)


def choose(scores: list[dict[str, str]], count: int) -> list[Pick]:
    """Samples that stand for all: of every category as many models, evenly spaced by rank, each in its median view."""
    picks = []
    synsets = sorted({score["synset"] for score in scores})
    for index, synset in enumerate(synsets):
        ranked = ranked_models([score for score in scores if score["synset"] == synset])
        places = (index + 1) * count // len(synsets) - index * count // len(synsets)
        for place in range(min(places, len(ranked))):
            rank = (2 * place + 1) * len(ranked) // (2 * min(places, len(ranked)))
            picks.append(Pick(ranked[rank], rank + 1, len(ranked)))
    return picks


def ranked_models(scores: list[dict[str, str]]) -> list[dict[str, str]]:
    """The row of the median view (the lower of two) of every model, the best model first."""
    views: dict[str, list[dict[str, str]]] = {}
    for score in sorted(scores, key=lambda s: (float(s["iou"]), s["model_id"], int(s["view"]))):
        views.setdefault(score["model_id"], []).append(score)
    medians = [rows[(len(rows) - 1) // 2] for rows in views.values()]
    return sorted(medians, key=lambda s: (-float(s["iou"]), s["model_id"]))


def reconstructions(system: str, picks: list[Pick], categories: Sequence[str], threshold: float) -> list[Row]:
    """The rows of the contact sheet."""
    model, config, _ = load_checkpoint(CHECKPOINTS / f"{system}.pt", device())
    dataset = ShardDataset(SHARDS, categories, "test", targets=("occupancy", *maps(config)))
    first = {key: index * dataset.groups for index, key in enumerate(dataset.models)}
    keys = [(pick.score["synset"], pick.score["model_id"]) for pick in picks]
    unknown = [key for key in keys if key not in first]
    if unknown:
        raise ValueError(f"data/scores/{system}: expected scores of the test shards, got {'/'.join(unknown[0])}")
    items = [first[key] + int(pick.score["view"]) for key, pick in zip(keys, picks, strict=True)]
    rows = []
    for pick, raw in zip(picks, batches(dataset, items, 1), strict=True):
        batch = make_batch(raw, config.image_size, config.resolution)
        with torch.inference_mode():
            field: torch.Tensor = model.predict(batch["images"].to(device())).float().sigmoid()[0].cpu()
        # A prediction that is no number fails in `metrics`, and is shown as the nothing that it counts as.
        field = field if field.isfinite().all() else torch.zeros_like(field)
        truth = marching_cubes(batch["occupancy"][0].numpy())
        rows.append(Row(photo(raw), truth, marching_cubes(field.numpy(), threshold), caption(pick)))
    return rows


def photo(raw: dict[str, Any]) -> np.ndarray:
    """(H, W) uint8, as large as a cell of the sheet: the view as the network gets it, in finer pixels, on white."""
    mask = unpack_bits(raw["masks"], raw["views"].shape[-1])
    picture, alpha = (prepare(v, mask, (CELL[1], CELL[0]))[0, 0, 0] for v in (raw["views"], 255 * mask.byte()))
    return ((picture + 1 - alpha) * 255).round().byte().numpy()


def caption(pick: Pick) -> tuple[str, ...]:
    score = pick.score
    return (
        category(score["synset"]).replace("_", " "),
        f"IoU {float(score['iou']):.3f}",
        f"Chamfer {float(score['chamfer_unsquared']):.3f}",
        f"mean shape {float(score['mean_shape_iou']):.3f}, {float(score['mean_shape_chamfer_unsquared']):.3f}",
        f"rank {pick.rank} of {pick.models} by IoU",
        f"{score['model_id'][:12]}, view {score['view']}",
    )


def read_metrics(folder: Path) -> dict[str, Figures]:
    """`overall` and the categories by name; ValueError where the metrics stage has not run."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    if "overall" not in found:
        raise ValueError(f"{folder}: expected the figures of the metrics stage, found none")
    return found


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a table; ValueError where there is none."""
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))) if path.is_file() else []
    if not rows:
        raise ValueError(f"{path}: expected a table with rows, found none")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("system", help="an entry of `selected_systems` in params.yaml")
    report(parser.parse_args().system, load("report", Params), load("dataset", Dataset).categories)


if __name__ == "__main__":
    run("pipeline.report")
