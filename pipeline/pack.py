"""Stage pack: the records of a category -> HDF5 shards by split.

    python -m pipeline.pack 03001627

Reads data/catalog/<category>.csv, data/renders/<category>.zip and data/voxels/<category>.zip, writes
data/shards/<category>/: `<split>-<n>.h5` as `shards/layout.py` documents them, and `status.csv` with a row for every
model of the catalogue: `packed`, or the stage that rejected it, the reason code and a message; and the note of its grid
(see `geometry/solid.py`). The grids most in doubt, by the last column:

    sort -t, -k10,10gr data/shards/03001627/status.csv | head
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pipeline.runtime.command import CATEGORY, run

    run("pipeline.pack", CATEGORY)

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.records import records
from pipeline.records.catalogue import CATALOG, read_table
from pipeline.records.quality import NOTE, Quality, Status, sift
from pipeline.records.records import Archive, Entry, refuse_past
from pipeline.runtime.command import progress
from pipeline.runtime.files import atomic_folder, sha256
from pipeline.runtime.params import Dataset, load
from pipeline.shards import layout


@dataclass(frozen=True)
class Params:
    """Section `pack`.

    Attributes:
        models_per_shard: at most so many models a file.
        quality: which models are good enough, and what becomes of those that are alike.
    """

    models_per_shard: int
    quality: Quality = field(default_factory=Quality)

    def __post_init__(self) -> None:
        if self.models_per_shard < 1:
            raise ValueError(f"models_per_shard: expected at least 1, got {self.models_per_shard}")


def pack(category: str, params: Params, out: Path = layout.SHARDS, max_rejected: float = 1.0) -> None:
    """Writes the shards and the status table of one category, all or nothing.

    Raises:
        ValueError: no model is left that both renders and voxels hold, or more than a share of `max_rejected` have
            other views than most.
    """
    entries = sorted(read_table(CATALOG / f"{category}.csv"), key=lambda e: e.ref.model_id)
    with (
        Archive(records.RENDERS / f"{category}.zip") as renders,
        Archive(records.VOXELS / f"{category}.zip") as voxels,
        atomic_folder(out / category, "*.h5", "status.csv") as temporary,
    ):
        statuses = [status(entry, renders, voxels) for entry in entries]
        refuse_odd_views(entries, statuses, renders, max_rejected, f"pack {category}")
        sift(entries, statuses, voxels, params.quality, f"pack {category}")
        refuse_orphans(entries, statuses)
        packed = [entry for entry, row in zip(entries, statuses, strict=True) if row[0] == "packed"]
        if not packed:
            raise ValueError(f"pack {category}: expected models with views and a grid, found none of {len(entries)}")
        with progress(f"pack {category}", len(packed), "model") as bar:
            for split in (*layout.SPLITS, layout.VARIANTS):
                chosen = [entry for entry in packed if entry.split == split]
                for n, part in enumerate(_parts(chosen, params.models_per_shard)):
                    path = temporary / f"{split}-{n:03}.h5"
                    marks = [renders.checksum(e.ref.model_id) + voxels.checksum(e.ref.model_id) for e in part]
                    fingerprint = sha256("\n".join([e.sha256 for e in part] + marks).encode())
                    source = ",".join(sorted({e.split_source for e in part}))
                    rows = samples(part, renders, voxels, bar)
                    layout.write(path, rows, len(part), part[0].ref.synset, split, fingerprint, source)
        write_status(temporary / "status.csv", entries, statuses, voxels)


def status(entry: Entry, renders: Archive, voxels: Archive) -> Status:
    """(`packed` or the stage that rejected the model, reason code, message)."""
    if entry.status != "ok":
        return "catalog", entry.status, entry.detail
    for stage, archive in (("render", renders), ("voxelize", voxels)):
        if entry.ref.model_id in archive.rejects:
            reason, message = archive.rejects[entry.ref.model_id]
            return stage, reason, message
        if entry.ref.model_id not in archive.model_ids:
            return stage, "missing", "expected a record of this model; run the stage again"
    remark = renders.remark(entry.ref.model_id)
    return "packed", "damaged_looks" if remark else "", remark


def refuse_odd_views(
    entries: list[Entry], statuses: list[Status], renders: Archive, max_rejected: float, label: str
) -> None:
    """Rejects models with fewer, more or larger views than most: ready-made ones may differ, a shard's may not."""
    shapes = {
        n: renders.shape(entry.ref.model_id, "views")
        for n, (entry, row) in enumerate(zip(entries, statuses, strict=True))
        if row[0] == "packed"
    }
    if not shapes:
        return
    own = {n: shape for n, shape in shapes.items() if not entries[n].stretch}
    (usual, _), *_ = Counter(sorted((own or shapes).values(), reverse=True)).most_common(1)
    odd = {n: shape for n, shape in shapes.items() if shape != usual}
    for n, shape in odd.items():
        statuses[n] = "pack", "shape", f"expected views of shape {usual}, as most of the category, got {shape}"
    refuse_past(max_rejected, {entries[n].ref.model_id: "shape" for n in odd if n in own}, len(own), label)


def refuse_orphans(entries: list[Entry], statuses: list[Status]) -> None:
    """Rejects variants of models that are not packed."""
    packed = {entry.ref.model_id for entry, row in zip(entries, statuses, strict=True) if row[0] == "packed"}
    for n, entry in enumerate(entries):
        own = entry.ref.model_id.rpartition("~")[0]
        if entry.stretch and statuses[n][0] == "packed" and own not in packed:
            statuses[n] = "pack", "origin", f"expected the model {own}, of which it is a variant, packed as well"


def samples(entries: list[Entry], renders: Archive, voxels: Archive, bar: tqdm) -> Iterator[layout.Sample]:
    """The rows of a shard, one at a time."""
    for entry in entries:
        view, solid = renders[entry.ref.model_id], voxels[entry.ref.model_id]
        side = round((8 * len(solid["occupancy"])) ** (1 / 3))
        grid = np.unpackbits(solid["occupancy"])[: side**3].reshape(side, side, side)
        masks = np.unpackbits(view["masks"], axis=-1)[..., : view["views"].shape[-1]]
        yield layout.Sample(
            model_id=entry.ref.model_id,
            mesh_sha256=entry.sha256 or entry.parts_sha256,
            views=view["views"],
            masks=masks.astype(bool),
            cameras=view["cameras"],
            world_to_view=view["world_to_view"],
            occupancy=grid.astype(bool),
            points=solid["points"],
            affine=solid["affine"],
            notes=solid["notes"],
            depth=view.get("depth"),
            normals=view.get("normals"),
            color=view.get("color"),
        )
        bar.update()


def write_status(path: Path, entries: list[Entry], statuses: list[Status], voxels: Archive) -> None:
    """A row a model, with the note of its grid (see `solid.py`) if it is packed: sort by disagreement to find doubt."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["synset", "model_id", "split", "status", "reason", "message", "mesh", *NOTE])
        for entry, row in zip(entries, statuses, strict=True):
            ref = entry.ref
            note = voxels[ref.model_id]["notes"].tolist() if row[0] == "packed" else [""] * len(NOTE)
            writer.writerow([ref.synset, ref.model_id, entry.split, *row, ref.mesh, *note])


def _parts(entries: list[Entry], size: int) -> list[list[Entry]]:
    return [entries[start : start + size] for start in range(0, len(entries), size)]


def main(category: str) -> None:
    pack(category, load("pack", Params), max_rejected=load("dataset", Dataset).max_rejected)
