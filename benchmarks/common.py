"""What all benchmarks share: which meshes they run on, how seconds are taken, and the JSON that they leave."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from pipeline.records.records import seeded
from pipeline.runtime.files import atomic_write
from pipeline.sources.layout import ModelRef
from pipeline.sources.registry import find

RESULTS = Path("benchmarks/results")
T = TypeVar("T")


def models(root: Path, count: int | None = None) -> list[ModelRef]:
    """All models below `root`, or `count` of them, the same ones every time, drawn evenly over the categories."""
    refs = [model.ref for model in find(root)[0] if model.ref.mesh]
    if count is None:
        return refs
    shuffled = [refs[i] for i in seeded("benchmark").permutation(len(refs))]
    seen: dict[str, int] = {}
    rounds = []
    for ref in shuffled:
        rounds.append((seen.setdefault(ref.synset, 0), ref))
        seen[ref.synset] += 1
    return [ref for _, ref in sorted(rounds, key=lambda pair: (pair[0], pair[1]))[:count]]


def seconds(function: Callable[[], T]) -> tuple[float, T]:
    """(process CPU seconds, what the function gave); of one thread, they are its time without the machine's drift."""
    start = time.process_time()
    value = function()
    return time.process_time() - start, value


def write(name: str, libraries: Sequence[str], result: dict[str, Any], folder: Path = RESULTS) -> None:
    """Writes `<name>.json`: the machine, the versions of the libraries that were measured, and the result."""
    content = {
        "machine": {"cpu": _cpu(), "cores": len(os.sched_getaffinity(0)), "python": platform.python_version()},
        "versions": {library: metadata.version(library) for library in libraries},
        **result,
    }
    with atomic_write(folder / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {folder / name}.json")


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
