"""The stages before training, one after the other in this process and folder, as `dvc repro` would run them.

    python -m tests.road ROOT SYNSET STAGE...

The project's own parameters, but small, so that little but the stages' machinery takes time.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pipeline import catalog
from pipeline.records import catalogue, records
from pipeline.runtime.params import PARAMS_FILE, Dataset, build, read

PARAMETERS = Path(__file__).parents[1] / PARAMS_FILE
SMALL = {
    "render": {"views": 2, "height": 24, "width": 36},
    "voxelize": {"resolution": 16, "points": 300},
    "pack": {"models_per_shard": 10},
}
T = TypeVar("T")
STAGES = ("catalog", "render", "voxelize", "pack")


def travel(root: Path, synset: str, stages: Sequence[str] = STAGES, max_rejected: float = 1.0) -> None:
    """Catalogue, records and shards of one category, below ./data."""
    if "catalog" in stages:
        catalog.catalog(Dataset(str(root), "auto", (synset,), max_rejected))
    entries = catalogue.read_table(catalogue.CATALOG / f"{synset}.csv")
    if "render" in stages:
        from pipeline import render

        job = render.job(small("render", render.Params))
        records.make(job, root, entries, records.RENDERS / f"{synset}.zip", max_rejected)
    if "voxelize" in stages:
        from pipeline import voxelize

        job = voxelize.job(small("voxelize", voxelize.Params))
        records.make(job, root, entries, records.VOXELS / f"{synset}.zip", max_rejected)
    if "pack" in stages:
        from pipeline import pack

        pack.pack(synset, small("pack", pack.Params))


def small(section: str, cls: type[T]) -> T:
    """A stage's parameters as in params.yaml, but for SMALL."""
    return build(cls, read(section, PARAMETERS) | SMALL[section], section)


if __name__ == "__main__":
    travel(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
