"""What it costs to score a test split, with a GPU and without: stages baselines and metrics, as a user runs them.

    python -m benchmarks.scoring r3d --root /data/project --before /data/older_checkout

Reads params.yaml, data/shards and the system's checkpoint below --root, and changes nothing there. Writes
benchmarks/results/scoring_<device>.json:

    seconds       of each way and stage, start to end, with as many workers as there are cores
    cpu_seconds   the same, of all processes together
    difference    of each way the largest difference of a mean from the first way's, by score

Ways: `cuda` where there is a GPU, `before` (another checkout's code, on the same device) where one is given, `cpu`. A
stage that does not end within --seconds, which are for all of them, is stopped, and so are those that follow.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import write

LIBRARIES = ("numpy", "scipy", "torch")
CODE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Way:
    """A checkout of the project, and the device it is to use."""

    code: Path
    device: str


def ways(before: Path | None) -> dict[str, Way]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = {device: Way(CODE, device)}
    if before is not None:
        chosen["before"] = Way(before.resolve(), device)
    return chosen | {"cpu": Way(CODE, "cpu")}


def lay_out(project: Path, root: Path) -> None:
    """A project that reads what `root` has, and writes beside it."""
    for name in ("params.yaml", "data/shards", "data/checkpoints"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).symlink_to((root / name).resolve(strict=True))


def run(stage: str, way: Way, project: Path, limit: float) -> tuple[float, float]:
    """Seconds, and CPU seconds of all its processes; TimeoutExpired where it took longer than the limit."""
    environment = os.environ | {"ONEVIEW_DEVICE": way.device, "PYTHONPATH": str(way.code)}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", *f"pipeline.{stage}".split()]
    subprocess.run(command, cwd=project, env=environment, check=True, timeout=limit)
    taken, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return taken, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def means(project: Path) -> dict[tuple[str, str], float]:
    """(name, score) -> mean over the test split."""
    found: dict[tuple[str, str], float] = {}
    for path in sorted((project / "data/scores").glob("*/metrics.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            lines = [line for line in csv.DictReader(file) if line["scope"] == "overall"]
        found |= {(path.parent.name, line["score"]): float(line["mean"]) for line in lines}
    return found


def differences(found: dict[tuple[str, str], float], expected: dict[tuple[str, str], float]) -> dict[str, float]:
    """Of every score of both, the largest difference over the names."""
    apart: dict[str, float] = {}
    for key in found.keys() & expected.keys():
        apart[key[1]] = max(apart.get(key[1], 0.0), abs(found[key] - expected[key]))
    return dict(sorted(apart.items()))


def measure(system: str, root: Path, before: Path | None, seconds: float) -> dict[str, Any]:
    end = time.perf_counter() + seconds
    result: dict[str, Any] = {"seconds": {}, "cpu_seconds": {}, "difference": {}}
    first: dict[tuple[str, str], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, way in ways(before).items():
            lay_out(Path(folder, name), root)
            for stage in ("baselines", f"metrics {system}"):
                print(f"{name}: {stage}", flush=True)
                try:
                    taken, cpu = run(stage, way, Path(folder, name), end - time.perf_counter())
                except subprocess.TimeoutExpired:
                    print(f"{name}: {stage}: expected to end within --seconds {seconds:g} in all, was stopped")
                    return result
                result["seconds"].setdefault(name, {})[stage] = taken
                result["cpu_seconds"].setdefault(name, {})[stage] = cpu
                print(f"{name}: {stage}: {taken:.1f} s, {cpu:.1f} CPU s", flush=True)
            figures = means(Path(folder, name))
            if first:
                result["difference"][name] = differences(figures, first)
            first = first or figures
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.scoring", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("system", help="an entry of systems in params.yaml, whose checkpoint is there")
    parser.add_argument(
        "--root", type=Path, default=Path(), help="a project with params.yaml, shards and the checkpoint"
    )
    parser.add_argument("--before", type=Path, help="another checkout of this project, to compare with")
    parser.add_argument("--seconds", type=float, default=300, help="for all of it")
    options = parser.parse_args()
    result = measure(options.system, options.root, options.before, options.seconds)
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    kind = "cuda" if name else "cpu"
    write(f"scoring_{kind}", LIBRARIES, {"gpu": name} | result)


if __name__ == "__main__":
    main()
