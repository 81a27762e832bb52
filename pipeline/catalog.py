"""Stage catalog: every model found, checked, hashed and given a split.

    python -m pipeline.catalog                  reads dataset.root, writes data/catalog/<synset>.csv
    python -m pipeline.catalog --list [N]       prints the categories found with at least N models, for params.yaml

The only stage that walks the raw tree. A table has one row for each model found, usable or not:

    synset, model_id    the model
    split               train, val or test: from `all.csv` in the root, otherwise by a hash of the model id, 70/10/20
    split_source        `all.csv` or `hash`
    status, detail      `ok`, or why it can't be used: a reason code of `meshes.MeshError`, `unreadable` or `duplicate`
    layout              which of `pipeline.sources` it lies in
    path, member        its file, or zip and entry, below the root
    sha256              of its mesh file
    vertices, faces     after the reading, as triangles
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from pathlib import Path

from pipeline import meshes
from pipeline.command import run
from pipeline.files import atomic_write, sha256
from pipeline.meshes import MeshError
from pipeline.params import Dataset, load
from pipeline.records import Entry, parallel, refuse_past
from pipeline.sources import ModelRef, find

CATALOG = Path("data/catalog")
COLUMNS = "synset model_id split split_source status detail layout path member sha256 vertices faces".split()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--list", type=int, nargs="?", const=1, metavar="N")
    minimum = parser.parse_args().list
    dataset = load("dataset", Dataset)
    if minimum is None:
        catalog(dataset)
    else:
        for synset, count in sorted(Counter(ref.synset for ref in find(Path(dataset.root))).items()):
            if count >= minimum:
                print(f'    - "{synset}" # {count} models')


def catalog(dataset: Dataset, out: Path = CATALOG) -> None:
    """Writes the tables of the configured categories.

    Raises:
        ValueError: the root is missing or broken, a category has no models, or too many of one are unusable.
    """
    root = Path(dataset.root)
    refs = find(root)
    found = Counter(ref.synset for ref in refs)
    for synset in dataset.categories:
        if not found[synset]:
            raise ValueError(
                f"dataset.categories: expected models of '{synset}' in '{root}', found only {sorted(found) or 'none'}"
            )
    splits = official_splits(root / "all.csv")
    chosen = [ref for ref in refs if ref.synset in dataset.categories]
    seen: set[tuple[str, str]] = set()
    jobs = []
    for ref in chosen:
        jobs.append((root.resolve(), ref, (ref.synset, ref.model_id) in seen))
        seen.add((ref.synset, ref.model_id))
    checks = parallel(check, jobs, "catalog")
    rows = [row(ref, splits) | result for ref, result in zip(chosen, checks, strict=True)]
    with atomic_write(out) as temporary:
        temporary.mkdir()
        for synset in sorted(dataset.categories):
            table = [r for r in rows if r["synset"] == synset]
            reasons = {f"{r['path']} {r['member']}": r["status"] for r in table if r["status"] != "ok"}
            refuse_past(dataset.max_rejected, reasons, len(table), f"catalog {synset}")
            write_table(temporary / f"{synset}.csv", table)
    others = sorted(set(found) - set(dataset.categories))
    print(f"catalog: {len(rows)} models of {len(dataset.categories)} categories", flush=True)
    if others:
        left = sum(found[synset] for synset in others)
        print(f"catalog: {left} models of {len(others)} categories not in dataset.categories: {' '.join(others)}")


def check(root: Path, ref: ModelRef, duplicate: bool) -> dict[str, str]:
    """Whether a model can be used: the columns status, detail, sha256, vertices and faces of its row."""
    result = dict.fromkeys(("status", "detail", "sha256", "vertices", "faces"), "")
    if duplicate:
        return result | {
            "status": "duplicate",
            "detail": "expected each model once, another file of that id came first",
        }
    try:
        data = ref.read(root)
        result["sha256"] = sha256(data)
        mesh = meshes.read(data, ref.extension)
    except MeshError as error:
        return result | {"status": error.reason, "detail": str(error)}
    except OSError as error:
        return result | {"status": "unreadable", "detail": f"{type(error).__name__}: {error}"}
    return result | {"status": "ok", "vertices": str(len(mesh.vertices)), "faces": str(len(mesh.faces))}


def row(ref: ModelRef, official: dict[tuple[str, str], str]) -> dict[str, str]:
    """The columns of a model's row that are known without reading it."""
    listed = official.get((ref.synset, ref.model_id))
    return {
        "synset": ref.synset,
        "model_id": ref.model_id,
        "split": listed or hashed_split(ref.model_id),
        "split_source": "all.csv" if listed else "hash",
        "layout": ref.layout,
        "path": ref.path,
        "member": ref.member,
    }


def hashed_split(model_id: str) -> str:
    """70 % train, 10 % val, 20 % test by a hash of the id: no model moves when others come or go."""
    percent = int(sha256(model_id.encode())[:8], 16) % 100
    return "train" if percent < 70 else "val" if percent < 80 else "test"


def official_splits(path: Path) -> dict[tuple[str, str], str]:
    """(synset, model id) -> split from ShapeNet's `all.csv`; empty where there is no such file.

    Raises:
        ValueError: a column is missing or a split is none of train, val, test.
    """
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = {"synsetId", "modelId", "split"} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{path}: expected a column {sorted(missing)[0]}, got {reader.fieldnames}")
        splits = {(r["synsetId"].zfill(8), r["modelId"]): r["split"] for r in reader}
    for key, split in splits.items():
        if split not in ("train", "val", "test"):
            raise ValueError(f"{path}: model {key[1]}: expected split train, val or test, got '{split}'")
    return splits


def write_table(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
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
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != COLUMNS:
            raise ValueError(f"{path}: expected columns {COLUMNS}, got {reader.fieldnames}")
        return [
            Entry(
                ModelRef(r["synset"], r["model_id"], r["layout"], r["path"], r["member"]),
                **{name: r[name] for name in ("split", "sha256", "status", "detail")},
            )
            for r in reader
        ]


if __name__ == "__main__":
    run("pipeline.catalog")
