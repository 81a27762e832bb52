"""Stage catalog: every model found, checked, hashed and given a split.

    python -m pipeline.catalog                  reads dataset.root, writes data/catalog/<category>.csv
    python -m pipeline.catalog --list [N]       prints the categories found with at least N models, for params.yaml

The only stage that walks the raw tree. A table has one row for each model found, usable or not:

    synset, model_id    the model
    split               train, val or test; or variants, see below
    split_source        who says so: a list of the field with the first digits of its hash, as `all.csv:0a1b2c3d`, the
                        data set itself, or `hash` for 70/10/20 by a hash of the id (see `sources/splits.py`)
    status, detail      `ok`, or why it can't be used: the reason code of a `MeshError` or a `Lost` call, or `missing`
                        (a folder without a mesh), `doubtful` (a file that may say its category, group or split can't
                        be read), `duplicate`, `no_split` (the list does not have it)
    layout              which of `pipeline.sources` it lies in
    mesh, views, grid   where its mesh and what ready-made views and grid it brings lie, below the root
    sha256              of its mesh file
    parts_sha256        of all files of its views and grid
    looks_sha256        where `render.color` asks for it, of the files beside its mesh with its materials and textures
    vertices, faces     after the reading, as triangles
    stretch             of a variant
    axes                up and front, where `dataset.up` says them

Where `dataset.variants` asks for some, a table goes on with as many rows of every usable training model that has a mesh
and no views of its own: its variants `<id>~<n>`, of the split `variants`, with the factors of x, y and z by which they
are stretched, negative where mirrored. They are made of the same mesh, and nobody reads them but a training.

A model that was read before is not read again: data/cache/catalog.jsonl keeps what was found by the file's size, time
and inode, or by the size and CRC-32 of a zip's entry. A file younger than that note by the clock is read all the same.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pipeline.runtime.command import argument, run

    run(
        "pipeline.catalog",
        argument(
            "--list",
            "only print the categories found that have at least N models (default: %(const)s)",
            type=int,
            nargs="?",
            const=1,
            metavar="N",
            dest="minimum",
        ),
    )

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.records import records
from pipeline.records.catalogue import CATALOG, COLUMNS, write_table
from pipeline.records.checks import check_all
from pipeline.records.records import refuse_past
from pipeline.runtime.files import atomic_folder
from pipeline.runtime.params import Dataset, Variants, load, read
from pipeline.sources import folders, splits
from pipeline.sources.categories import NAMES, category, meant
from pipeline.sources.layout import Found
from pipeline.sources.registry import find
from pipeline.sources.survey import doubts, recognised, root_of, stood

ROLES = {"train": "train", "val": "validate", "test": "test"}  # what each split is for
OUTSIDE = {"outside_root": "links lead out of dataset.root, dataset.follow_links follows them"}


def main(minimum: int | None = None) -> None:
    dataset = load("dataset", Dataset)
    if minimum is None:
        catalog(dataset, color=read("render").get("color", False))
    else:
        looked = find(root_of(dataset))
        print(*[recognised(looked), *doubts(looked)], sep="\n", file=sys.stderr)
        for synset, count in sorted(Counter(model.ref.synset for model in looked.models).items()):
            if count >= minimum:
                name = f"{NAMES[synset]}, " if synset in NAMES else ""
                print(f'    - "{synset}" # {name}{count} models')


def catalog(dataset: Dataset, out: Path = CATALOG, color: bool = False) -> None:
    """Writes the tables of the configured categories.

    Args:
        color: whether files with materials and textures are looked at as well.

    Raises:
        ValueError: the root is missing or broken, a category has no models, or too many of one are unusable.
    """
    root = root_of(dataset)
    looked = find(root)
    found = [stood(model, dataset) for model in looked.models]
    print(f"catalog: {recognised(looked)}", flush=True)
    counts = Counter(model.ref.synset for model in found)
    synsets = synsets_of(dataset.categories, counts, f"in '{root}'", doubts(looked))
    split = splits.find(root, dataset.split)
    chosen = [model for model in found if model.ref.synset in synsets.values()]
    if dataset.split != "auto" or split.models:  # which go before what plain folders are called
        plain = folders.LAYOUT.name
        chosen = [replace(m, split="", split_source="") if m.ref.layout == plain else m for m in chosen]
    rows = [row(model, split) for model in chosen]
    absent = check_all(root.resolve(), [model.ref for model in chosen], rows, color)
    varied = 0
    with atomic_folder(out, "*.csv") as temporary:
        for entry, synset in sorted(synsets.items()):
            table = [r for r in rows if r["synset"] == synset]
            if all(r["status"] == "no_split" for r in table):
                raise ValueError(_uncovered(entry, table, split))
            # A model that is there twice is there.
            listed = [r for r in table if r["status"] not in ("no_split", "duplicate")]
            reasons = {f"{r['model_id']} ({r['mesh']})": r["status"] for r in listed if r["status"] != "ok"}
            refuse_past(dataset.max_rejected, reasons, len(listed), f"catalog {entry}", OUTSIDE)
            more = variants(table, dataset.variants)
            varied += len(more)
            write_table(temporary / f"{entry}.csv", table + more)
    _sum_up(rows, split, counts - Counter(r["synset"] for r in rows))
    for line in doubts(looked):
        print(f"catalog: {line}")
    if dataset.variants.count:
        print(f"catalog: {varied} variants of training models, for training alone")
    if absent:
        print(f"catalog: {len(absent)} models name materials or textures that are not there, as {absent[0]}")


def synsets_of(entries: Sequence[str], counts: Mapping[str, int], where: str, more: Sequence[str]) -> dict[str, str]:
    """What the data set calls each entry of `dataset.categories`; ValueError where it has none, or one of two names."""
    synsets: dict[str, str] = {}
    for entry in entries:
        if (synset := meant(entry, counts)) is None:
            there = ", ".join(f"{synset} ({NAMES[synset]})" if synset in NAMES else synset for synset in sorted(counts))
            found = "; ".join([f"found only {there or 'none'}", *more])
            raise ValueError(f"dataset.categories: expected models of '{entry}' {where}, {found}")
        if synset in synsets.values():
            raise ValueError(f"dataset.categories: expected every category once, got '{entry}' by two names")
        synsets[entry] = synset
    return synsets


def _uncovered(entry: str, table: Sequence[dict[str, str]], split: splits.Split) -> str:
    own, listed = table[0]["model_id"], split.lists(table[0]["synset"])
    has = f"{len(listed)} others, as '{listed[0]}'" if listed else "none of that category"
    return f"catalog {entry}: expected its {len(table)} models, as '{own}', in {split.source}, which lists {has}"


def row(model: Found, split: splits.Split) -> dict[str, str]:
    """The columns of a model's row that are known without reading it; `status` is empty if it has to be read."""
    ref = model.ref
    # A data set's own split is the one of its papers: no list, and no hash, mends or replaces it.
    source = model.split_source or split.source
    named = model.split if model.split_source else split.of(ref.synset, ref.model_id, model.group)
    values = dict.fromkeys(COLUMNS, "") | {name: getattr(ref, name) for name in COLUMNS if hasattr(ref, name)}
    values |= {"split": named, "split_source": source}
    if not (ref.mesh or ref.views or ref.grid):
        values |= {"status": "missing", "detail": "expected a mesh in the model's folder, found none"}
    elif model.doubt:
        values |= {"status": "doubtful", "detail": model.doubt}
    elif not named:
        values |= {"status": "no_split", "detail": f"expected the model in {source}, found it is not listed"}
    return values


def variants(table: Sequence[dict[str, str]], params: Variants) -> list[dict[str, str]]:
    """Rows of the variants of a category's training models, drawn by seed and model.

    Raises:
        ValueError: a model is called as a variant would be.
    """
    rows = []
    for own in table:
        if own["status"] != "ok" or own["split"] != "train" or not own["mesh"] or own["views"]:
            continue
        rng = records.seeded(params.seed, f"{own['synset']}/{own['model_id']}", "variants")
        for n in range(1, params.count + 1):
            factors = params.stretch ** rng.uniform(-1, 1, 3) * [rng.choice([-1, 1]), 1, 1]
            told = {"model_id": f"{own['model_id']}~{n}", "split": splits.VARIANTS, "grid": "", "parts_sha256": ""}
            rows.append(own | told | {"stretch": " ".join(f"{factor:.4f}" for factor in factors)})
    if taken := {row["model_id"] for row in rows} & {row["model_id"] for row in table}:
        raise ValueError(f"dataset.variants: expected no model called as a variant is, found '{min(taken)}'")
    return rows


def _sum_up(rows: list[dict[str, str]], split: splits.Split, others: Counter[str]) -> None:
    synsets = {r["synset"] for r in rows}
    listed = {(splits.known(r["synset"]), r["model_id"]) for r in rows}
    sources = ", ".join(sorted({r["split_source"] for r in rows}))
    print(f"catalog: {len(rows)} models of {len(synsets)} categories, split by {sources}", flush=True)
    for name, role in ROLES.items():
        lacking = sorted(synsets - {r["synset"] for r in rows if (r["split"], r["status"]) == (name, "ok")})
        if len(lacking) == len(synsets):
            print(f"catalog: warning: expected models to {role} with, found none of split {name}; see dataset.split")
        elif lacking:
            print(f"catalog: no models of split {name} in {' '.join(map(category, lacking))}")
    if twice := sum(r["status"] == "duplicate" for r in rows):
        print(f"catalog: {twice} models are there twice, of which the first is taken")
    categories = set(map(splits.known, synsets))
    if absent := sum(key[0] in categories and key not in listed for key in split.models):
        print(f"catalog: {absent} models of these categories are in {split.source} but not in dataset.root")
    if others:
        names = " ".join(map(category, sorted(others)))
        print(f"catalog: {others.total()} models of {len(others)} categories not in dataset.categories: {names}")
