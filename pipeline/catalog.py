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

import csv
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.geometry import meshes
from pipeline.geometry.meshes import MeshError
from pipeline.records import looks, records
from pipeline.records.journal import open_journal
from pipeline.records.parallel import Lost, parallel
from pipeline.records.records import Entry, parts_sha256, refuse_past
from pipeline.runtime.files import atomic_folder, sha256, told
from pipeline.runtime.params import Dataset, Variants, load, read
from pipeline.sources import folders, foreign, splits, tree
from pipeline.sources.categories import NAMES, category, meant
from pipeline.sources.layout import FRONTS, Found, ModelRef, turning
from pipeline.sources.registry import LAYOUTS, Looked, find

CATALOG, CACHE = Path("data/catalog"), Path("data/cache/catalog.jsonl")
COLUMNS = (
    "synset model_id split split_source status detail layout mesh views grid sha256 parts_sha256 looks_sha256 "
    "vertices faces stretch axes"
).split()
CHECKED = ("status", "detail", "sha256", "parts_sha256", "looks_sha256", "vertices", "faces")
MACHINES = ("unreadable", "timeout", "crashed", "too_large")  # what may be another time, with the very same file
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
    synsets = {entry: meant(entry, counts) for entry in dataset.categories}
    for entry, synset in synsets.items():
        if not synset:
            there = ", ".join(f"{synset} ({NAMES[synset]})" if synset in NAMES else synset for synset in sorted(counts))
            why = "".join(f"; {line}" for line in doubts(looked))
            raise ValueError(
                f"dataset.categories: expected models of '{entry}' in '{root}', found only {there or 'none'}{why}"
            )
        if list(synsets.values()).count(synset) > 1:
            raise ValueError(f"dataset.categories: expected every category once, got '{entry}' by two names")
    split = splits.find(root, dataset.split)
    chosen = [model for model in found if model.ref.synset in synsets.values()]
    if dataset.split != "auto" or split.models:  # which go before what plain folders are called
        plain = folders.LAYOUT.name
        chosen = [replace(m, split="", split_source="") if m.ref.layout == plain else m for m in chosen]
    rows = [row(model, split) for model in chosen]
    absent = _check_all(root.resolve(), [model.ref for model in chosen], rows, color)
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


def root_of(dataset: Dataset) -> Path:
    """The folder of the raw meshes, which says as well whether links may lead out of it."""
    return tree.root_of(dataset.root, dataset.follow_links)


def stood(model: Found, dataset: Dataset) -> Found:
    """A model with its axes as `dataset.up` and `dataset.front` say them.

    Raises:
        ValueError: they are no axes, or the layout knows them, as the cameras and grids that it brings have them too.
    """
    up, front = dataset.up or "y" * bool(dataset.front), dataset.front
    if not up:
        return model
    front = front or FRONTS.get(up[-1], "")
    try:
        turning(up, front)
    except ValueError as error:
        raise ValueError(f"dataset.up, dataset.front: {error}") from error
    layout = LAYOUTS[model.ref.layout]
    if layout.views or layout.grid:
        raise ValueError(f"dataset.up: expected none for {layout.name}, whose axes are known, got '{up}'")
    return replace(model, ref=replace(model.ref, axes=f"{up} {front}"))


def recognised(looked: Looked) -> str:
    """Which layouts were told, in words."""
    layouts = Counter(model.ref.layout for model in looked.models)
    return "recognised " + (", ".join(f"{n} models of {name}" for name, n in layouts.most_common()) or "no layout")


def doubts(looked: Looked) -> list[str]:
    """What lies there and was not looked into, or is hardly meant so, in words."""
    lines = [foreign.told(looked.foreign)] * bool(looked.foreign)
    if looked.links:
        links = f"{len(looked.links)} links to folders out of dataset.root, as {looked.links[0]!r}"
        lines += [f"{links}; dataset.follow_links follows them"]
    unsure = [model for model in looked.models if model.doubt]
    if unsure:
        ref, why = unsure[0].ref, unsure[0].doubt
        lines += [f"{len(unsure)} models in doubt and left out, as {ref.synset}/{ref.model_id}: {why}"]
    own = Counter(model.ref.synset for model in looked.models if model.ref.layout == folders.LAYOUT.name)
    if own.total() == len(own) > 2:
        lines += [
            f"{len(own)} folders of one model each, which are taken for categories; put models into a folder of theirs"
        ]
    return lines


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


def _check_all(root: Path, refs: Sequence[ModelRef], rows: list[dict[str, str]], color: bool) -> list[str]:
    """Fills the columns that take a look into the files, from what is remembered or by reading.

    Returns:
        Models that name files of their looks that are not there, with the first of these.
    """
    seen: set[tuple[str, str]] = set()
    unread: list[tuple[int, str]] = []
    absent: list[str] = []
    code = records.code_sha256(*looks.MODULES) if color else ""

    def note(n: int, found: Sequence[str]) -> None:
        *values, watched = found
        rows[n] |= dict(zip(CHECKED, values, strict=True))
        if lost := looks.absent(json.loads(watched)):
            absent.append(f"{refs[n].synset}/{refs[n].model_id} {lost[0]}")

    with open_journal(CACHE, records.code_sha256(__name__, tree.__name__)[:16]) as journal:
        for n, (ref, values) in enumerate(zip(refs, rows, strict=True)):
            if values["status"]:
                continue
            if (ref.synset, ref.model_id) in seen:
                values |= {"status": "duplicate", "detail": "expected each model once, another of that id came first"}
                continue
            seen.add((ref.synset, ref.model_id))
            key = stamp(root, ref, code)
            if (known := journal.get(key)) and looks.unchanged(root, json.loads(known[-1])):
                note(n, known)
            else:
                unread.append((n, key))
        print(f"catalog: {len(seen)} models, {len(seen) - len(unread)} unchanged", flush=True)
        for i, found in parallel(check, [(root, refs[n], color) for n, _ in unread], "catalog"):
            n, key = unread[i]
            if isinstance(found, Lost):
                found = (found.reason, found.message, *[""] * 5, "[]")
            note(n, found)
            if key and found[0] not in MACHINES:
                journal.add(key, list(found))
    return absent


def stamp(root: Path, ref: ModelRef, looked: str = "") -> str:
    """Changes when one of a model's files does; empty where a file's time can't be trusted to tell.

    Args:
        looked: by what code files with its looks were found, where these are asked for.
    """
    try:
        locations = ref.files(root) + LAYOUTS[ref.layout].parts(root, ref)
        stamps = [tree.stamp(root, location) for location in locations]
    except (OSError, ValueError):  # read, it gives its reason
        return ""
    if not all(tree.settled(changed) for _, changed in stamps):
        return ""
    return sha256(repr((root, ref, stamps, looked)).encode("utf-8", "surrogateescape"))


def check(root: Path, ref: ModelRef, color: bool = False) -> tuple[str, ...]:
    """Whether a model can be used: the columns CHECKED of its row, and files beside its own that matter, as JSON."""
    own = parts = looked = ""
    watched: looks.Watched = []
    try:
        parts = parts_sha256(root, ref)
        if not ref.mesh:
            return "ok", "", "", parts, "", "", "", "[]"
        alone = ref.alone(root)
        watched = [(name, True, looks.stamped(root, [at])) for name, at in ref.buffers(alone).items()]
        data = ref.whole(root, alone)
        own = sha256(data)
        mesh = meshes.read(data, ref.extension)
        if color and not ref.views:
            looked, more = looks.catalogued(root, ref, data)
            watched += more
        counts = str(len(mesh.vertices)), str(len(mesh.faces))
        return "ok", "", own, parts, looked, *counts, json.dumps(watched)
    except MeshError as error:
        failure = error.reason, str(error)
    except OSError as error:
        failure = "unreadable", told(error)
    except MemoryError:
        raise
    except Exception as error:  # as of records: one model's failure is a line in a table
        failure = "failed", f"{type(error).__name__}: {error}"
    return *failure, own, parts, "", "", "", json.dumps(watched)


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
