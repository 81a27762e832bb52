"""The tables of the catalogue, which `catalog` writes and the stages behind it read."""

from __future__ import annotations

import csv
from pathlib import Path

from pipeline.records.records import Entry
from pipeline.sources.layout import ModelRef

CATALOG = Path("data/catalog")
COLUMNS = (
    "synset model_id split split_source status detail layout mesh views grid sha256 parts_sha256 looks_sha256 "
    "vertices faces stretch axes"
).split()


def write_table(path: Path, rows: list[dict[str, str]]) -> None:
    # Names that are no UTF-8 are written as the bytes that they are.
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_table(path: Path) -> list[Entry]:
    """The rows of a category's table, in its order.

    Raises:
        ValueError: there is no such table, or it has other columns.
    """
    if not path.is_file():
        raise ValueError(f"{path}: expected the catalogue of this category; is it in dataset.categories?")
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != COLUMNS:
            raise ValueError(f"{path}: expected columns {COLUMNS}, got {reader.fieldnames}")
        return [_entry(row) for row in reader]


def _entry(row: dict[str, str]) -> Entry:
    ref = ModelRef(*(row[name] for name in ("synset", "model_id", "layout", "mesh", "views", "grid", "axes")))
    names = ("split", "split_source", "sha256", "parts_sha256", "looks_sha256", "status", "detail")
    told = {name: row[name] for name in names}
    return Entry(ref, **told, stretch=tuple(map(float, row["stretch"].split())))
