"""The gallery of test models, with what every system makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from pipeline.exhibits.drawn import looked_up, photo, solid, surface_of
from pipeline.exhibits.systems import System, answered, batch_of, items_of, tests
from pipeline.pages import picks, shapes
from pipeline.pages.gallery import SKY_RAYS, Entry, Scene, webp
from pipeline.pages.picks import Key, Sample, key_of, ranks
from pipeline.pages.pictures import FOUND_COLOUR, PREDICTED_COLOUR, TRUE_COLOUR, Surface, camera_rays, corners, shaded
from pipeline.runtime.command import progress
from pipeline.runtime.forks import spread
from pipeline.scoring.predictions import Prediction
from pipeline.scoring.tables import COMPETITOR, METRICS
from pipeline.shards.layout import ShardDataset
from pipeline.sources.categories import category

FACES, FEWEST = 1500, 100  # of a shape in the page, where there is room, and where there is none
ROOM = 14e6  # bytes that all shapes in the page may take, at A_FACE each
A_FACE = 7.5


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
    chosen = picks.spread({name: [*rows.values()] for name, rows in ranked.items()}, models)
    keys = [key_of(ranked[first.name][model].score) for model in chosen]
    data = [tests(system, categories) for system in systems]
    items = items_of(data[0], [first.samples[key] for key in keys], first.name)
    retrieved = looked_up(train, [nearest[key]["answer"] for key in keys])
    faces = int(min(FACES, max(FEWEST, ROOM / A_FACE / (len(keys) * (len(systems) + 2)))))

    def seen() -> Iterator[tuple[Key, np.ndarray, np.ndarray, Surface, list[Prediction]]]:
        for key, item, found in zip(keys, items, retrieved, strict=True):
            shown = [batch_of(system, test, item) for system, test in zip(systems, data, strict=True)]
            given = [answered(system, batch) for system, (_, batch) in zip(systems, shown, strict=True)]
            raw, batch = shown[0]
            yield key, photo(raw), batch["occupancy"].numpy(), found, given

    def drawn(key: Key, view: np.ndarray, grid: np.ndarray, found: Surface, given: Sequence[Prediction]) -> Entry:
        truth = solid(grid)
        surfaces = [surface_of(p, system.threshold) for p, system in zip(given, systems, strict=True)]
        rays = camera_rays(corners([truth, found, *surfaces]), samples=2)
        scene = Scene(shapes.simplified(truth, faces), rays, faces)
        answers = {
            system.name: scene.answer(surface, PREDICTED_COLOUR, words(system.samples[key], system.shown), p.points)
            for system, surface, p in zip(systems, surfaces, given, strict=True)
        }
        answers[COMPETITOR] = scene.answer(found, FOUND_COLOUR, words(nearest[key], first.shown))
        own = {name: rows[key[0], key[1]] for name, rows in ranked.items()}
        failed = {system.name: system.samples[key]["failed"] == "1" for system in systems}
        places = {name: (pick.rank, pick.models, failed[name]) for name, pick in own.items()}
        pictures = webp(Image.fromarray(view)), webp(shaded(truth, scene.rays, TRUE_COLOUR, SKY_RAYS))
        model, name = (key[0], key[1]), category(key[0])
        return Entry(model, key[2], name, *pictures, shapes.packed(scene.truth), answers, places)

    entries = []
    with progress("report gallery", len(keys), "model") as bar:
        for entry in spread(drawn, seen()):
            entries.append(entry)
            bar.update()
    return sorted(entries, key=lambda entry: (entry.category, entry.ranks[first.name], entry.model))


def words(row: Sample, shown: Sequence[str]) -> str:
    return "<br>".join(f"{METRICS[score][0]} {float(row[score]):.3f}" for score in shown if row.get(score))
