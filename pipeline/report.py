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

from pipeline.exhibits.grids import doubts, read_statuses
from pipeline.exhibits.models import gallery
from pipeline.exhibits.sheet import sheet
from pipeline.exhibits.systems import opened, tests
from pipeline.exhibits.trainings import course, hangs_on
from pipeline.metrics import VIEWS
from pipeline.pages.charts import charts, compared
from pipeline.pages.gallery import webp
from pipeline.pages.page import Training, page
from pipeline.pages.results import read_csv, read_results, read_samples
from pipeline.runtime.files import atomic_folder, atomic_write
from pipeline.runtime.params import Dataset, load, selected_systems
from pipeline.scoring.tables import COMPETITOR, SCORES
from pipeline.shards.layout import SHARDS, ShardDataset
from pipeline.training.curves import CURVES

REPORT = Path("data/report")


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
    shown = gallery(systems, samples[COMPETITOR], categories, train, params.models)  # forks, before this one draws
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
    pictured = doubts(statuses, categories)
    text = page(results, shown, compared(curves, views), trainings, statuses, pictured)
    with atomic_write(REPORT / "index.html") as path:
        path.write_text(text, encoding="utf-8")
    print(f"report: {REPORT / 'index.html'}, {len(text) / 1e6:.1f} MB", flush=True)


def main() -> None:
    report(list(selected_systems()), load("report", Params), load("dataset", Dataset).categories)
