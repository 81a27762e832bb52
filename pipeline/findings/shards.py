"""Shards: what `pack` wrote, against `shards/layout.py`, and every model in them."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

from pipeline.findings import models
from pipeline.findings.finding import Check, Finding, gathered
from pipeline.pages.pictures import dots, strip
from pipeline.runtime.command import progress
from pipeline.shards.layout import CHECKSUMS, PER_VIEW, STRINGS, VARIANTS, open_shard, split_sha256
from pipeline.sources.categories import category

# Axes of arrays: M models, V views, H and W of a view, w of a packed row of its mask, o of a packed grid, P points.
FORM = {
    "views": ("MVHW", np.uint8),
    "masks": ("MVHw", np.uint8),
    "cameras": ("MV4", np.float32),
    "world_to_view": ("MV44", np.float32),
    "occupancy": ("Mo", np.uint8),
    "points": ("MP3", np.float32),
    "affine": ("M44", np.float64),
    "notes": ("M5", np.float32),
}
# Which are there where asked for.
MAPS = {"depth": ("MVHW", np.float16), "normals": ("MVHW3", np.int8), "color": ("MVHW3", np.uint8)}
ATTRIBUTES = ("synset", "split", "split_source", "resolution", "fingerprint")
LONG = 100  # models, from where on it is shown how far it is
DAMAGED = (KeyError, OSError, RuntimeError, ValueError)  # what h5py raises where a file is damaged, one kind or another


def look(path: Path) -> Finding:
    """What a shard holds, and its faults; ValueError where it is none."""
    with open_shard(path) as file:
        try:
            wrong = misfits(file)
            if not wrong:
                return _looked(path, file)
        except DAMAGED as error:
            wrong = [str(error)]
    return Finding("shard", {}, [Check("arrays are those of the layout", "; ".join(wrong))])


def misfits(file: h5py.File) -> list[str]:
    """What is otherwise in a file than in the layout, in words."""
    expected: dict[str, Any] = FORM | {name: form for name, form in MAPS.items() if name in file}
    missing = [name for name in (*expected, *STRINGS, CHECKSUMS) if name not in file]
    missing += [name for name in ATTRIBUTES if name not in file.attrs]
    if missing:
        return [f"expected {', '.join(missing)}, found none"]
    side = int(file.attrs["resolution"])
    known = dict(zip("MVHW", file["views"].shape, strict=False)) | {"o": -(-(side**3) // 8)}
    known |= {"w": -(-known.get("W", 0) // 8), "P": file["points"].shape[1]}
    wrong = []
    for name, (axes, kind) in expected.items():
        shape = tuple(int(axis) if axis.isdigit() else known[axis] for axis in axes)
        if (found := (file[name].shape, file[name].dtype)) != (shape, kind):
            wrong.append(f"expected {name} {shape} {np.dtype(kind)}, got {found[0]} {found[1]}")
    return wrong


def _looked(path: Path, file: h5py.File) -> Finding:
    names = [value.decode() for value in file["model_id"][:]]
    synset, split = str(file.attrs["synset"]), str(file.attrs["split"])
    count, views, height, width = file["views"].shape
    unread: dict[str, str] = {}
    by_check: dict[str, dict[str, str]] = {}
    with progress(f"inspect {path.name}", count, "model", shown=count >= LONG) as bar:
        for row, name in enumerate(names):
            try:
                arrays = {key: file[key][row] for key in file[CHECKSUMS]}
            except DAMAGED as error:
                unread[name] = str(error)
            else:
                if wrong := [key for key, array in arrays.items() if differs(array, file[CHECKSUMS][key][row], key)]:
                    unread[name] = f"{', '.join(wrong)} is not what its checksum says"
                for what, fault in models.faults(arrays).items():
                    by_check.setdefault(what, {}).update({name: fault} if fault else {})
            bar.update()
    filled = float(np.median(file["notes"][:, 0])) if count else 0.0
    source = file.attrs["split_source"] or "nobody"
    facts = {
        "models": f"{count} of {category(synset)} ({synset}), {split}, split by {source}",
        "split hash": split_sha256((synset, name) for name in names) + ", of these models",
        "views": f"{views} of {height}x{width}{''.join(f', with {key}' for key in MAPS if key in file)}",
        "grids": f"{file.attrs['resolution']}³ cells, {filled:.1%} of them full (median)",
        "points": f"{file['points'].shape[1]:,} a model",
        "size": f"{path.stat().st_size / 1e6:.1f} MB",
    }
    twice = {name: "it is there twice" for name in names if names.count(name) > 1}
    order = "" if names == sorted(names) else "they are in another order"
    checks = [
        Check("arrays are those of the layout"),
        gathered("all can be read and have their checksum", unread, count),
        Check("models are in order, each once", next((f"{n}: {why}" for n, why in twice.items()), order)),
        *(gathered(what, found, count) for what, found in by_check.items()),
        beside(path, split, set(names)),
    ]
    return Finding("shard", facts, checks, lambda: picture(path))


def differs(array: np.ndarray, kept: np.ndarray, name: str) -> bool:
    """Whether a model's array has another CRC-32 than those that were kept of it."""
    parts = array if name in PER_VIEW else [array]
    return [zlib.crc32(part.tobytes()) for part in parts] != np.atleast_1d(kept).tolist()


def beside(path: Path, split: str, names: set[str]) -> Check:
    """Whether the other shards in its folder have other models; variants go by the model that they are of."""
    what = "no model is in another shard beside it"
    own = {name.rpartition("~")[0] for name in names} if split == VARIANTS else names
    for other in sorted(path.parent.glob("*.h5")):
        theirs = other.name.rpartition("-")[0]
        if other.name == path.name or {split, theirs} == {VARIANTS, "train"}:
            continue
        try:
            with open_shard(other) as file:
                ids = {value.decode() for value in file["model_id"][:]}
        except DAMAGED:
            continue  # which is said of that one, once it is asked for
        if split != theirs == VARIANTS:
            ids = {name.rpartition("~")[0] for name in ids}
        if shared := (names if split == theirs else own) & ids:
            return Check(what, f"{len(shared)} are in {other.name}, as {min(shared)}")
    return Check(what)


def picture(path: Path) -> Image.Image:
    """Of some models, evenly spread, the first view, the grid and the points."""
    with open_shard(path) as file:
        count = len(file["model_id"])
        rows = []
        for row in sorted({n * count // models.SHOWN for n in range(models.SHOWN)}):
            arrays = {name: file[name][row] for name in ("views", "masks", "occupancy", "points")}
            (mask,) = models.unpacked(arrays["masks"][:1], arrays["views"].shape[-1])
            points = dots(arrays["points"][: models.DOTS])
            rows.append((models.photo(arrays["views"][0], mask), models.solid(arrays), [points]))
    return strip(rows, ["points"])
