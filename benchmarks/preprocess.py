"""What a model costs on its way from a mesh to a shard: the bare work, what a user waits for, what two workers gain.

    python -m benchmarks.preprocess --root DIR [--models N] [--least N] [--busy]

work    core-seconds a model for reading (unzip, parse, normalise), render, voxelize and pack, in one thread of one
        process, with the parameters of params.yaml; their sum for ShapeNetCore's 51,300 models
road    core-seconds of `dvc repro` through pack in a new project, as the system counts them, children included: all
        categories with at least N models, no record in the cache, two workers. What `python -m pipeline.<stage>` takes
        is counted for itself, the rest is DVC's own. Then the same again with nothing to do
worker  core-seconds that a worker process takes to start, and the memory of its own that it has then, by stage
walls   wall-clock of the two stages over the same models with one worker and with two, in turns
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch
import yaml

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
PROJECT = ("pipeline", "model", "dvc.yaml", "params.yaml", ".dvcignore", ".gitignore")
STAGES = ("catalog", "render", "voxelize", "pack")
# Stands in for `python` in the stages' commands: runs it, and notes what it was called with and the time it took.
TIMED = """#!/bin/sh
'{python}' "$@"
status=$?
{{ echo "$@"; times; }} >> '{log}'
exit $status
"""


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


def road(root: Path, least: int, folder: Path) -> dict[str, Any]:
    """Core-seconds of `dvc repro` through pack in a new project, and of the same with nothing to do."""
    counts = Counter(ref.synset for ref in models(root))
    categories = sorted(synset for synset, count in counts.items() if count >= least)
    total = sum(counts[synset] for synset in categories)
    project, log = folder / "project", folder / "times"
    for name in PROJECT:
        (shutil.copytree if Path(name).is_dir() else shutil.copy)(name, project / name)
    values = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    values["dataset"] |= {"root": str(root), "categories": categories}
    (project / "params.yaml").write_text(json.dumps(values), encoding="utf-8")  # YAML too
    python = folder / "bin" / "python"
    python.parent.mkdir()
    python.write_text(TIMED.format(python=sys.executable, log=log), encoding="utf-8")
    python.chmod(0o755)
    environment = {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}", "ONEVIEW_WORKERS": "2"}
    dvc = [sys.executable, "-m", "dvc"]

    def run(*command: str) -> float:
        """Core-seconds of a command and all its children."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=project, env=os.environ | environment, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    run("git", "init", "--quiet")
    run(*dvc, "init", "--quiet")
    targets = [f"pack@{synset}" for synset in categories]
    whole, nothing = (run(*dvc, "repro", "--quiet", *targets) for _ in range(2))
    stages = dict.fromkeys(STAGES, 0.0)
    for call, taken in re.findall(r"^-m pipeline[.](\w+).*\n.*\n(.*)$", log.read_text(encoding="utf-8"), re.MULTILINE):
        stages[call] += sum(60 * float(m) + float(s) for m, s in re.findall(r"(\d+)m([\d.]+)s", taken))
    return {
        "categories": len(categories),
        "models": total,
        "core_seconds": round(whole, 1),
        "core_seconds_by_stage": {name: round(taken, 1) for name, taken in stages.items()},
        "core_seconds_of_dvc": round(whole - sum(stages.values()), 1),
        "core_seconds_a_model": round(whole / total, 3),
        "core_seconds_with_nothing_to_do": round(nothing, 1),
    }


def worker(stage: str) -> dict[str, float]:
    """What a worker of a stage takes to start; asked in a new process, which has imported nothing yet."""
    command = [sys.executable, "-m", "benchmarks.worker", stage]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.preprocess", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("data/embedded"), help="data set with meshes")
    parser.add_argument("--models", type=int, default=120, help="of these the bare work and the wall-clock are taken")
    parser.add_argument("--least", type=int, default=7, help="models that a category has which goes the whole road")
    parser.add_argument(
        "--busy", action="store_true", help="leave out the wall-clock, which tells nothing beside other work"
    )
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    refs = models(root, arguments.models)
    os.environ["ONEVIEW_DEVICE"] = "cpu"
    settings = Path("params.yaml").read_text(encoding="utf-8")
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        whole = road(root, arguments.least, Path(name))
        starts = {stage: worker(stage) for stage in ("catalog", "render", "voxelize")}
        os.chdir(name)  # where the stages keep their cache
        Path("params.yaml").write_text(settings, encoding="utf-8")
        parts = costs(root, refs, Path(name))
        rates = {} if arguments.busy else walls(root, refs)
        os.chdir(here)
    total = sum(mean(values) for values in parts.values())
    result = {
        "models": len(refs),
        "core_seconds_a_model": {part: round(mean(values), 4) for part, values in parts.items()},
        "core_seconds_a_model_median": {part: round(median(values), 4) for part, values in parts.items()},
        "core_seconds_a_model_total": round(total, 3),
        "core_hours_for_shapenet": round(total * SHAPENET / 3600, 1),
        "dvc_repro_through_pack": whole,
        "worker": starts,
    }
    if rates:
        result["models_a_second"] = {f"{count} workers": round(rate, 2) for count, rate in rates.items()}
        result["two_workers_over_one"] = round(rates[2] / rates[1], 2)
    for name, value in result.items():
        print(f"{name}: {value}")
    write("preprocess", ["torch", "open3d", "easypytorch3d", "numpy", "h5py", "dvc"], result)


if __name__ == "__main__":
    main()
