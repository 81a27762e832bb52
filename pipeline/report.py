"""Stage report: what all systems make of test photos, to look at.

    python -m pipeline.report

Reads what `metrics`, `baselines` and `compare` wrote: data/scores/<name>/ of every selected system, its retrieval and
the baselines, data/comparison/, data/views/<system>.csv; data/curves/<system>.csv, data/snapshots/<system>.npz, the
checkpoints and the shards. Writes data/report/:

    index.html                  one page with all of it, which needs no other file and no network
    <system>/contact_sheet.png  of test models photo, true shape, reconstruction and `nearest_image`'s answer
    <system>/training.png       how the predictions of a few validation models changed
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pipeline.runtime.command import run

    run("pipeline.report")

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model import maps
from pipeline.answers.looks import look
from pipeline.metrics import VIEWS
from pipeline.pages import shapes
from pipeline.pages.charts import charts, compared
from pipeline.pages.dataset import Status, doubtful
from pipeline.pages.gallery import SKY_RAYS, Entry, Scene, webp
from pipeline.pages.heat import Look, looked_into
from pipeline.pages.page import Training, page
from pipeline.pages.picks import Key, Pick, Sample, choose, headline, key_of, ranks, spread
from pipeline.pages.pictures import (
    CELL,
    FOUND_COLOUR,
    PREDICTED_COLOUR,
    TRUE_COLOUR,
    Row,
    Surface,
    camera_rays,
    contact_sheet,
    corners,
    dots,
    shaded,
    strip,
)
from pipeline.pages.results import read_csv, read_results, read_samples
from pipeline.pages.scores import Results
from pipeline.runtime.command import progress
from pipeline.runtime.files import atomic_folder, atomic_write
from pipeline.runtime.machine import device, one_thread
from pipeline.runtime.params import Dataset, load, selected_systems
from pipeline.scoring.predictions import Prediction, predict
from pipeline.scoring.scorer import batches
from pipeline.scoring.tables import COMPETITOR, METRICS, SCORES
from pipeline.shards.batches import grids, make_batch, unpack_bits
from pipeline.shards.layout import SHARDS, VARIANTS, ShardDataset
from pipeline.shards.views import prepare
from pipeline.sources.categories import category
from pipeline.training import snapshots
from pipeline.training.checkpoints import CHECKPOINTS, load_checkpoint
from pipeline.training.curves import CURVES
from pipeline.training.snapshots import SNAPSHOTS

REPORT = Path("data/report")
MOMENTS = 5  # of the training that are shown, the first and the last validation among them
FACES, FEWEST = 1500, 100  # of a shape in the page, where there is room, and where there is none
ROOM = 14e6  # bytes that all shapes in the page may take, at A_FACE each
A_FACE = 7.5
PICTURED = 12  # doubtful grids
LOOKED_INTO, COARSE = 3, 4  # test models whose answers are explained, and squares along the shorter side of a view


@dataclass(frozen=True)
class Params:
    """Section `report`.

    Attributes:
        rows: of a contact sheet, spread over the categories.
        models: in the page's gallery, at most, spread over the categories; with 200 the page has about 20 MB.
    """

    rows: int
    models: int

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")


@dataclass(frozen=True)
class System:
    """A trained system and what is known of it.

    Attributes:
        samples: rows of its samples.csv.
        shown: the two scores that are shown; by the first one, models are ranked.
    """

    name: str
    network: Any
    config: Any
    threshold: float
    samples: dict[Key, Sample]
    shown: tuple[str, str]


def report(names: Sequence[str], params: Params, categories: Sequence[str]) -> None:
    """Writes the contact sheets and the page.

    Raises:
        ValueError: figures, scores, curves, checkpoints or shards are missing, or scores are not of the same samples.
    """
    results = read_results(names)
    samples = {name: read_samples(name) for name in (*names, COMPETITOR, "mean_shape")}
    first = samples[names[0]]
    for name, found in samples.items():
        if missing := first.keys() - found.keys():
            raise ValueError(f"{SCORES / name}: expected the samples of {names[0]}, lacks {'/'.join(min(missing))}")
    curves = {name: read_csv(CURVES / f"{name}.csv") for name in names}
    views = {name: read_csv(VIEWS / f"{name}.csv") for name in names}
    statuses = [row for name in categories for row in read_statuses(name)]
    systems = [opened(name, samples[name], results) for name in names]
    train = ShardDataset(SHARDS, categories, "train")
    trainings = {}
    for system in systems:
        sweep = SCORES / system.name / "thresholds.csv"
        drawn = charts(curves[system.name], read_csv(sweep) if sweep.is_file() else [], views[system.name])
        shots = course(system.name, ShardDataset(SHARDS, categories, "val"))
        trainings[system.name] = Training(drawn, webp(shots), webp(hangs_on(system, tests(system, categories))))
        picture = sheet(system, samples, tests(system, categories), train, params.rows)
        with atomic_folder(REPORT / system.name, "contact_sheet.png", "training.png", "index.html") as temporary:
            picture.save(temporary / "contact_sheet.png", optimize=True)
            shots.save(temporary / "training.png", optimize=True)
    shown = gallery(systems, samples[COMPETITOR], categories, train, params.models)
    pictured = doubts(statuses, categories)
    text = page(results, shown, compared(curves, views), trainings, statuses, pictured)
    with atomic_write(REPORT / "index.html") as path:
        path.write_text(text, encoding="utf-8")
    print(f"report: {REPORT / 'index.html'}, {len(text) / 1e6:.1f} MB", flush=True)


def opened(name: str, samples: dict[Key, Sample], results: Results) -> System:
    network, config, _ = load_checkpoint(CHECKPOINTS / f"{name}.pt", device())
    threshold = results.figures[name]["overall"].get("threshold", 0.5)
    return System(name, network, config, threshold, samples, headline(next(iter(samples.values())), results.judged_by))


def tests(system: System, categories: Sequence[str]) -> ShardDataset:
    """The test split with what the system takes."""
    return ShardDataset(SHARDS, categories, "test", targets=("occupancy", *maps(system.config)))


def sheet(
    system: System, samples: dict[str, dict[Key, Sample]], test: ShardDataset, train: ShardDataset, rows: int
) -> Image.Image:
    """The contact sheet of a system."""
    picks = choose(list(system.samples.values()), rows, system.shown[0])
    items = items_of(test, [pick.score for pick in picks], system.name)
    answers = looked_up(train, [samples[COMPETITOR][key_of(pick.score)]["answer"] for pick in picks])
    found = []
    for item, pick, answer in zip(items, picks, answers, strict=True):
        raw, batch = batch_of(system, test, item)
        shape = surface_of(answered(system, batch), system.threshold)
        found.append(Row(photo(raw), solid(batch["occupancy"]), shape, answer, caption(pick, system, samples)))
    return contact_sheet(found)


def hangs_on(system: System, test: ShardDataset) -> Image.Image:
    """What its answers to LOOKED_INTO test models hang on, of the first one with what attention reads."""
    picks = choose(list(system.samples.values()), LOOKED_INTO, system.shown[0])
    found: list[Look] = []
    for item, pick in zip(items_of(test, [pick.score for pick in picks], system.name), picks, strict=True):
        images = batch_of(system, test, item)[1]["images"].to(device())
        name = category(pick.score["synset"]).replace("_", " ")
        score = f"{METRICS[system.shown[0]][0].replace('³', '^3')} {float(pick.score[system.shown[0]]):.3f}"
        words = f"{name} {pick.score['model_id'][:12]}, view {pick.score['view']}, {score}"
        with one_thread():
            found.append(look(system.network, images, system.threshold, words, COARSE, reads=not found))
    return looked_into(found)


def gallery(
    systems: Sequence[System],
    nearest: dict[Key, Sample],
    categories: Sequence[str],
    train: ShardDataset,
    models: int,
) -> list[Entry]:
    """The gallery: some test models, each in the view that is the first system's median one."""
    first = systems[0]
    ranked = {system.name: ranks(list(system.samples.values()), system.shown[0]) for system in systems}
    chosen = spread({name: [*rows.values()] for name, rows in ranked.items()}, models)
    keys = [key_of(ranked[first.name][model].score) for model in chosen]
    data = [tests(system, categories) for system in systems]
    items = items_of(data[0], [first.samples[key] for key in keys], first.name)
    retrieved = looked_up(train, [nearest[key]["answer"] for key in keys])
    faces = int(min(FACES, max(FEWEST, ROOM / A_FACE / (len(keys) * (len(systems) + 2)))))
    entries = []
    with progress("report gallery", len(keys), "model") as bar:
        for key, item, found in zip(keys, items, retrieved, strict=True):
            batches_of = [batch_of(system, test, item) for system, test in zip(systems, data, strict=True)]
            raw, truth = batches_of[0][0], solid(batches_of[0][1]["occupancy"])
            given = [answered(system, batch) for system, (_, batch) in zip(systems, batches_of, strict=True)]
            surfaces = [surface_of(p, system.threshold) for p, system in zip(given, systems, strict=True)]
            rays = camera_rays(corners([truth, found, *surfaces]), samples=2)
            scene = Scene(shapes.simplified(truth, faces), rays, faces)
            answers = {
                system.name: scene.answer(surface, PREDICTED_COLOUR, words(system.samples[key], system.shown), p.points)
                for system, surface, p in zip(systems, surfaces, given, strict=True)
            }
            answers[COMPETITOR] = scene.answer(found, FOUND_COLOUR, words(nearest[key], first.shown))
            picks = {name: rows[key[0], key[1]] for name, rows in ranked.items()}
            failed = {system.name: system.samples[key]["failed"] == "1" for system in systems}
            places = {name: (pick.rank, pick.models, failed[name]) for name, pick in picks.items()}
            pictures = webp(Image.fromarray(photo(raw))), webp(shaded(truth, scene.rays, TRUE_COLOUR, SKY_RAYS))
            model, name = (key[0], key[1]), category(key[0])
            entries.append(Entry(model, key[2], name, *pictures, shapes.packed(scene.truth), answers, places))
            bar.update()
    return sorted(entries, key=lambda entry: (entry.category, entry.ranks[first.name], entry.model))


def items_of(test: ShardDataset, samples: list[Sample], system: str) -> list[int]:
    """The items that rows of samples.csv are of; ValueError where there is none."""
    first = {key: index * test.groups for index, key in enumerate(test.models)}
    keys = [(sample["synset"], sample["model_id"]) for sample in samples]
    if unknown := [key for key in keys if key not in first]:
        raise ValueError(f"{SCORES / system}: expected scores of the test shards, got {'/'.join(unknown[0])}")
    return [first[key] + int(sample["view"]) for key, sample in zip(keys, samples, strict=True)]


def batch_of(system: System, test: ShardDataset, item: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A view as the shards have it, and as the system takes it."""
    (raw,) = batches(test, [item], 1)
    return raw, make_batch(raw, system.config.image_size, test.resolution)


def answered(system: System, batch: dict[str, Any]) -> Prediction:
    return predict(system.network, batch["images"].to(device()))[0]


def surface_of(prediction: Prediction, threshold: float) -> Surface:
    """To be drawn; of points a ball for each."""
    return prediction.surface(threshold) if prediction.points is None else dots(prediction.points)


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
        taken = [shots[moment][1][index] for moment in moments]
        found = [surface_of(shape, 0.5) for shape in taken]
        rows.append((photo(raw), truth, found))
    return strip(rows, [f"{shots[moment][0]:,}" for moment in moments])


def doubts(statuses: Sequence[Status], categories: Sequence[str]) -> dict[tuple[str, str], bytes]:
    """Of the most doubtful grids a picture each by synset and model id: a view, and the grid beside it."""
    found, splits = {}, {}
    for row in doubtful(statuses)[:PICTURED]:
        if row["split"] not in splits:
            splits[row["split"]] = ShardDataset(SHARDS, categories, row["split"])
        shards, key = splits[row["split"]], (row["synset"], row["model_id"])
        (raw,) = batches(shards, [shards.models.index(key) * shards.groups], 1)
        shape = solid(grids(raw["occupancy"], shards.resolution).float())
        picture = Image.new("RGB", (2 * CELL[0], CELL[1]))
        picture.paste(Image.fromarray(photo(raw)), (0, 0))
        picture.paste(shaded(shape, camera_rays(corners([shape]), samples=2), TRUE_COLOUR, SKY_RAYS), (CELL[0], 0))
        found[key] = webp(picture)
    return found


def looked_up(train: ShardDataset, answers: Sequence[str]) -> list[Surface]:
    """The training shapes that `nearest_image` answered with, by `synset/model_id`."""
    places = {"/".join(model): index * train.groups for index, model in enumerate(train.models)}
    packed = (torch.from_numpy(train[places[answer]]["occupancy"])[None] for answer in answers)
    return [solid(grids(grid, train.resolution).float()) for grid in packed]


def solid(grid: Tensor) -> Surface:
    """The surface of a grid (1, R, R, R) float."""
    return Prediction(field=grid[0].numpy()).surface(0.5)


def photo(raw: dict[str, Any]) -> np.ndarray:
    """(H, W) or (H, W, 3) uint8, as large as a cell of the sheet: the view as the network gets it, finer, on white."""
    mask = unpack_bits(raw["masks"], raw["views"].shape[-1])
    views = raw.get("color", raw["views"])
    picture, alpha = (prepare(v, mask, (CELL[1], CELL[0]))[0, 0] for v in (views, 255 * mask.byte()))
    return ((picture + 1 - alpha) * 255).round().byte().movedim(0, -1).squeeze(-1).numpy()


def words(row: Sample, shown: Sequence[str]) -> str:
    return "<br>".join(f"{METRICS[score][0]} {float(row[score]):.3f}" for score in shown if row.get(score))


def caption(pick: Pick, system: System, samples: dict[str, dict[Key, Sample]]) -> tuple[str, ...]:
    def both(name: str) -> str:
        row = samples[name][key_of(pick.score)]
        return ", ".join(f"{float(row[score]):.3f}" for score in system.shown)

    own = pick.score
    return (
        category(own["synset"]).replace("_", " "),
        *(f"{METRICS[score][0].replace('³', '^3')} {float(own[score]):.3f}" for score in system.shown),  # no glyph
        f"nearest image {both(COMPETITOR)}",
        f"mean shape {both('mean_shape')}",
        f"rank {pick.rank} of {pick.models}",
        f"{own['model_id'][:12]}, view {own['view']}",
    )


def read_statuses(name: str) -> list[dict[str, str]]:
    """What became of every model of a category, as dataset.categories names it; variants are none."""
    rows = [row for row in read_csv(SHARDS / name / "status.csv") if row["split"] != VARIANTS]
    return [row | {"category": category(row["synset"] or name)} for row in rows]


def main() -> None:
    report(list(selected_systems()), load("report", Params), load("dataset", Dataset).categories)
