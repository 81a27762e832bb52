"""The contact sheet of a system."""

from __future__ import annotations

from PIL import Image

from pipeline.exhibits.drawn import looked_up, photo, solid, surface_of
from pipeline.exhibits.systems import System, answered, batch_of, items_of
from pipeline.pages.picks import Key, Pick, Sample, choose, key_of
from pipeline.pages.pictures import Row, contact_sheet
from pipeline.scoring.tables import COMPETITOR, METRICS
from pipeline.shards.layout import ShardDataset
from pipeline.sources.categories import category


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
        found.append(Row(photo(raw), solid(batch["occupancy"].numpy()), shape, answer, caption(pick, system, samples)))
    return contact_sheet(found)


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
