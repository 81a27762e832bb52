"""What a model costs on its way from a mesh to a shard, and what two workers gain.

    python -m benchmarks.preprocess --root DIR [--models N]

Core-seconds a model for reading (unzip, parse, normalise), render, voxelize and pack, in one thread of one process,
with the parameters of params.yaml; their sum for ShapeNetCore's 51,300 models. Then the wall-clock of the two stages
over the same models with one worker and with two, in turns, worker processes started beforehand.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import mean, median

import numpy as np
import torch

from benchmarks.common import models, seconds, write
from pipeline import pack, render, voxelize
from pipeline.geometry import meshes
from pipeline.records import records
from pipeline.records.records import Archive, Entry
from pipeline.runtime.command import progress
from pipeline.runtime.files import sha256
from pipeline.runtime.params import load
from pipeline.shards import layout
from pipeline.sources.layout import ModelRef
from pipeline.sources.registry import LAYOUTS

SHAPENET = 51_300  # models of ShapeNetCore.v2
PARTS = ("read", "render", "voxelize", "pack")
TURNS = 3


def entry(root: Path, ref: ModelRef) -> Entry:
    return Entry(ref, "train", "hash", sha256(ref.read(root)), "", "ok", "")


def jobs() -> list[records.Job]:
    return [render.job(load("render", render.Params)), voxelize.job(load("voxelize", voxelize.Params))]


def load_mesh(root: Path, ref: ModelRef) -> tuple[meshes.Mesh, np.ndarray]:
    return meshes.normalise(meshes.read(ref.read(root), ref.extension), LAYOUTS[ref.layout].rotation)


def costs(root: Path, refs: Sequence[ModelRef], folder: Path) -> dict[str, list[float]]:
    """Core-seconds of each part for each model; packing is shared out evenly."""
    torch.set_num_threads(1)
    found: dict[str, list[float]] = {part: [] for part in PARTS}
    stages = jobs()
    for ref in [*refs[:3], *refs]:  # the first ones again: they pay for what is set up once
        taken, normalised = seconds(partial(load_mesh, root, ref))
        found["read"].append(taken)
        for job in stages:
            taken, _ = seconds(partial(job.compute, f"{ref.synset}/{ref.model_id}", *normalised, job.params))
            found[job.stage].append(taken)
    entries = [entry(root, ref) for ref in refs]
    outs = [folder / f"{job.stage}.zip" for job in stages]
    for job, out in zip(stages, outs, strict=True):
        records.make(job, root, entries, out, 0)
    bar = progress("pack", len(entries), "model", shown=False)
    with Archive(outs[0]) as views, Archive(outs[1]) as voxels:
        samples = pack.samples(entries, views, voxels, bar)
        taken, _ = seconds(lambda: layout.write(folder / "all.h5", samples, len(entries), "all", "train", ""))
    found["pack"] = [taken / len(refs)] * len(refs)
    return {part: values[-len(refs) :] for part, values in found.items()}


def walls(root: Path, refs: Sequence[ModelRef]) -> dict[int, float]:
    """Models a second with one worker and with two, by wall-clock; the median of the turns."""
    entries = [entry(root, ref) for ref in refs]
    taken: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(TURNS + 1):
        for count in taken:
            os.environ["ONEVIEW_WORKERS"] = str(count)
            start = time.monotonic()
            for job in jobs():
                shutil.rmtree(records.CACHE, ignore_errors=True)
                records.make(job, root, entries if turn else entries[:8], Path("all.zip"), 0)
            if turn:
                taken[count].append(time.monotonic() - start)
    return {count: len(refs) / median(values) for count, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("data/embedded"))
    parser.add_argument("--models", type=int, default=120)
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    refs = models(root, arguments.models)
    os.environ["ONEVIEW_DEVICE"] = "cpu"
    settings = Path("params.yaml").read_text(encoding="utf-8")
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)  # where the stages keep their cache
        Path("params.yaml").write_text(settings, encoding="utf-8")
        parts = costs(root, refs, Path(name))
        rates = walls(root, refs)
        os.chdir(here)
    total = sum(mean(values) for values in parts.values())
    result = {
        "models": len(refs),
        "core_seconds_a_model": {part: round(mean(values), 4) for part, values in parts.items()},
        "core_seconds_a_model_median": {part: round(median(values), 4) for part, values in parts.items()},
        "core_seconds_a_model_total": round(total, 3),
        "core_hours_for_shapenet": round(total * SHAPENET / 3600, 1),
        "models_a_second": {f"{count} workers": round(rate, 2) for count, rate in rates.items()},
        "two_workers_over_one": round(rates[2] / rates[1], 2),
    }
    for name, value in result.items():
        print(f"{name}: {value}")
    write("preprocess", ["torch", "open3d", "easypytorch3d", "numpy", "h5py", "joblib"], result)


if __name__ == "__main__":
    main()
