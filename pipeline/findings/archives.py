"""Record archives: what `render` and `voxelize` wrote, data/renders/*.zip and data/voxels/*.zip."""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.findings import models
from pipeline.findings.finding import Finding, gathered
from pipeline.pages.pictures import gallery, tiles
from pipeline.records.records import Archive, Record
from pipeline.runtime.command import progress

KINDS = {"views": "record archive of views", "occupancy": "record archive of grids and points"}
LONG = 100  # models, from where on it is shown how far it is


def look(path: Path) -> Finding:
    """What an archive holds, and its faults; ValueError where it is none."""
    try:
        archive = Archive(path)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        found = "a zip without rejects.json" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path}: expected an archive of records (data/renders, data/voxels), got {found}") from error
    with archive:
        names = archive.model_ids
        unread: dict[str, str] = {}
        by_check: dict[str, dict[str, str]] = {}
        shapes: Counter[str] = Counter()
        with progress(f"inspect {path.name}", len(names), "model", shown=len(names) >= LONG) as bar:
            for name in names:
                try:
                    record = archive[name]
                except (zipfile.BadZipFile, zlib.error, RuntimeError, ValueError, OSError) as error:
                    unread[name] = str(error)
                else:
                    shapes[form(record)] += 1
                    for what, fault in models.faults(record).items():
                        by_check.setdefault(what, {}).update({name: fault} if fault else {})
                bar.update()
        reasons = Counter(reason for reason, _ in archive.rejects.values())
    usual = shapes.most_common(1)[0][0] if shapes else ""
    kind = next((words for key, words in KINDS.items() if key in usual), "record archive")
    rejects = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    facts = {
        "models": str(len(names)),
        "rejected": f"{sum(reasons.values())}{f' ({rejects}), as {min(archive.rejects)}' if reasons else ''}",
        "each has": usual,
        "size": f"{path.stat().st_size / 1e6:.1f} MB",
    }
    odd = {str(count): f"they have {found}" for found, count in shapes.items() if found != usual}
    checks = [
        gathered("all can be read", unread, len(names)),
        gathered("all have arrays of the same shapes", odd, len(shapes), "kinds"),
        *(gathered(what, found, len(names)) for what, found in by_check.items()),
    ]
    return Finding(kind, facts, checks, (lambda: picture(path)) if len(unread) < len(names) else None)


def form(record: Record) -> str:
    """Its arrays, by name, shape and kind."""
    return ", ".join(f"{name} {'x'.join(map(str, array.shape))} {array.dtype}" for name, array in record.items())


def picture(path: Path) -> Image.Image:
    """Of some models, evenly spread, the first view or the grid."""
    with Archive(path) as archive:
        ids = archive.model_ids
        chosen = [ids[n] for n in sorted({n * len(ids) // models.SHOWN for n in range(models.SHOWN)})]
        records = [archive[name] for name in chosen]
    captions = [name[:16] for name in chosen]
    if "views" not in records[0]:
        return gallery([models.solid(record) for record in records], captions)
    masks = [models.unpacked(record["masks"][:1], record["views"].shape[-1])[0] for record in records]
    photos = [models.photo(record["views"][0], mask) for record, mask in zip(records, masks, strict=True)]
    return tiles([Image.fromarray(np.asarray(photo)) for photo in photos], captions)
