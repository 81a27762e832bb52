"""What became of the models of the data set, and the most doubtful of their grids."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from pipeline.exhibits.drawn import photo, solid
from pipeline.pages.dataset import Status, doubtful
from pipeline.pages.gallery import SKY_RAYS, webp
from pipeline.pages.pictures import CELL, TRUE_COLOUR, camera_rays, corners, shaded
from pipeline.pages.results import read_csv
from pipeline.scoring.scorer import batches
from pipeline.shards.batches import grids
from pipeline.shards.layout import SHARDS, VARIANTS, ShardDataset
from pipeline.sources.categories import category

PICTURED = 12  # doubtful grids


def read_statuses(name: str) -> list[dict[str, str]]:
    """What became of every model of a category, as dataset.categories names it; variants are none."""
    rows = [row for row in read_csv(SHARDS / name / "status.csv") if row["split"] != VARIANTS]
    return [row | {"category": category(row["synset"] or name)} for row in rows]


def doubts(statuses: Sequence[Status], categories: Sequence[str]) -> dict[tuple[str, str], bytes]:
    """Of the most doubtful grids a picture each by synset and model id: a view, and the grid beside it."""
    found, splits = {}, {}
    for row in doubtful(statuses)[:PICTURED]:
        if row["split"] not in splits:
            splits[row["split"]] = ShardDataset(SHARDS, categories, row["split"])
        shards, key = splits[row["split"]], (row["synset"], row["model_id"])
        (raw,) = batches(shards, [shards.models.index(key) * shards.groups], 1)
        shape = solid(grids(raw["occupancy"], shards.resolution).float().numpy())
        picture = Image.new("RGB", (2 * CELL[0], CELL[1]))
        picture.paste(Image.fromarray(photo(raw)), (0, 0))
        picture.paste(shaded(shape, camera_rays(corners([shape]), samples=2), TRUE_COLOUR, SKY_RAYS), (CELL[0], 0))
        found[key] = webp(picture)
    return found
