"""Which models train, validate and test: the official lists of the field, or a hash of the model's id.

Known lists: ShapeNet's `all.csv` (SHREC16; columns synsetId, modelId, split) and Pix2Vox's `ShapeNet.json`
([{taxonomy_id, train, val, test}], Choy et al.'s 13 categories). Figures compare only where the split is the same, so
its name, with the first eight digits of the file's hash, travels with every model. A list of one's own has those
columns too; its categories may be names.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

from pipeline.runtime.files import sha256
from pipeline.sources.categories import SYNSETS
from pipeline.sources.layout import listing, slug

SPLITS, VARIANTS = ("train", "val", "test"), "variants"  # those are made of training models, and of no list
AUTOMATIC = ("all.csv", "ShapeNet.json")  # files that are taken for the split where they lie in the root


Listed = tuple[tuple[str, str], str]  # category and model id, split


@dataclass(frozen=True)
class Split:
    """A list of models.

    Attributes:
        source: file name and hash, as `all.csv:0a1b2c3d`; `hash` where there is no list.
        models: (synset, or name of a category that has none; model id) -> train, val or test.
    """

    source: str
    models: dict[tuple[str, str], str]

    def of(self, synset: str, model_id: str, group: str) -> str:
        """The split of a model; empty where a list does not have it. `group` is what a hash must not tear apart."""
        return self.models.get((known(synset), model_id), "") if self.models else hashed(group or model_id)

    def lists(self, synset: str) -> list[str]:
        """The models that it has of a category."""
        return [model_id for own, model_id in self.models if own == known(synset)]


def known(category: str) -> str:
    """What a list calls a category, be it by synset, with its leading zeros or without, or by name."""
    return category.zfill(8) if category.isdigit() else SYNSETS.get(slug(category), slug(category))


def find(root: Path, choice: str) -> Split:
    """The split of a data set; `choice` is `auto`, `hash`, or the name of a list in the root.

    Raises:
        ValueError: there is no such file, or it is no known list.
    """
    if choice == "auto":
        choice = next((name for name in AUTOMATIC if (root / name).is_file()), "hash")
    if choice == "hash":
        return Split("hash", {})
    path = root / choice
    if not path.is_file():
        raise ValueError(f"dataset.split: expected auto, hash or a file in '{root}', got '{choice}'")
    content = path.read_bytes()
    models: dict[tuple[str, str], str] = {}
    for key, split in _pix2vox(path, content) if path.suffix == ".json" else _shrec16(path, content):
        if split not in SPLITS:
            raise ValueError(f"{path}: model {key[1]}: expected split train, val or test, got '{split}'")
        if models.setdefault(key, split) != split:
            raise ValueError(f"{path}: model {key[1]}: expected one split, got '{models[key]}' and '{split}'")
    if not models:
        raise ValueError(f"{path}: expected a list of models with their splits, got an empty one")
    return Split(f"{path.name}:{sha256(content)[:8]}", models)


def hashed(name: str) -> str:
    """70 % train, 10 % val, 20 % test by a hash of the name: no model moves when others come or go."""
    percent = int(sha256(name.encode("utf-8", "surrogateescape"))[:8], 16) % 100
    return "train" if percent < 70 else "val" if percent < 80 else "test"


def validates(name: str) -> bool:
    """Whether what a data set trains on is of the tenth, by a hash of its name, that validates instead."""
    return int(sha256(name.encode())[:8], 16) % 10 == 0


def _shrec16(path: Path, content: bytes) -> list[Listed]:
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        missing = {"synsetId", "modelId", "split"} - set(reader.fieldnames or ())
        rows = [] if missing else [(row["synsetId"], row["modelId"], row["split"]) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: expected a table of splits, got {error}") from error
    if missing:
        raise ValueError(f"{path}: expected a column {sorted(missing)[0]}, got {reader.fieldnames}")
    if any(None in row for row in rows):
        raise ValueError(f"{path}: expected a synset, a model and a split in each row, got a shorter one")
    return [((known(synset.strip()), model_id.strip()), split.strip()) for synset, model_id, split in rows]


def _pix2vox(path: Path, content: bytes) -> list[Listed]:
    with listing(str(path), "taxonomy_id, train, val and test"):
        return [
            ((known(str(category["taxonomy_id"])), model_id.strip()), split)
            for category in json.loads(content)
            for split in SPLITS
            for model_id in category[split]
        ]
