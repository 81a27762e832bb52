"""All that only a machine with a GPU can show, in at most 8 minutes: the `cuda` tests, how fast systems train, and
how fast they are scored.

    python -m benchmarks.gpu --root data/shards

It needs shards, for the scoring a checkpoint of r3d beside them (data/checkpoints), and of the libraries neither Open3D
nor PyTorch3D, trimesh or DVC. Writes benchmarks/results/gpu_<device>.json, what became of each job and in how many
seconds, beside what the jobs themselves write. A job that fails or takes too long keeps none of the others from
running; the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import write
from pipeline.shards.layout import SHARDS

LIBRARIES = ("numpy", "torch")
SCORED = "r3d"
GRACE = 40  # seconds that a job gets to end what it has begun


def jobs(root: Path) -> dict[str, tuple[int, list[str]]]:
    """By name, in how many seconds a job must be done, and what it is: arguments of Python."""
    tests = ["-m", "pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider"]
    train = ["-m", "benchmarks.train", "--root", str(root), "--seconds", "200"]
    found = {"cuda tests": (110, tests), "train": (200 + GRACE, train)}
    project = root.resolve().parents[1]
    if (project / f"data/checkpoints/{SCORED}.pt").is_file():
        scoring = ["-m", "benchmarks.scoring", SCORED, "--root", str(project), "--seconds", "90"]
        found["scoring"] = 90 + GRACE, scoring
    return found


def run(given: dict[str, tuple[int, list[str]]]) -> dict[str, dict[str, Any]]:
    """What became of each job: its exit status, or that its time was up, and its seconds."""
    found = {}
    for name, (seconds, arguments) in given.items():
        print(f"--- {name}, at most {seconds} s: python {' '.join(arguments)}", flush=True)
        start = time.perf_counter()
        try:
            done = subprocess.run([sys.executable, *arguments], timeout=seconds, env=environment())
            status: int | str = done.returncode
        except subprocess.TimeoutExpired:
            status = "time is up"
        found[name] = {"status": status, "seconds": round(time.perf_counter() - start, 1)}
        print(f"--- {name}: {found[name]}", flush=True)
    return found


def environment() -> dict[str, str]:
    """This process's, but output comes as it is made."""
    return os.environ | {"PYTHONUNBUFFERED": "1"}


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, default=SHARDS, help="folder of the shards")
    root = parser.parse_args().root
    if not torch.cuda.is_available():
        sys.exit("benchmarks.gpu: expected a CUDA device, found none")
    found = run(jobs(root))
    device = torch.cuda.get_device_name()
    write(f"gpu_{'_'.join(device.lower().split())}", LIBRARIES, {"device": device, "jobs": found})
    sys.exit(any(job["status"] != 0 for job in found.values()))


if __name__ == "__main__":
    main()
