"""What a worker process of a stage takes to start, as JSON; in a process that is new, as a stage's is.

python -m benchmarks.worker catalog|render|voxelize
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path

from pipeline.records.parallel import parallel


def taken() -> dict[str, float]:
    """Core-seconds of this process so far, and its memory that no other process shares."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    own = sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
    return {"core_seconds": round(time.process_time(), 3), "own_megabytes": round(own * 1024 / 1e6, 1)}


def main(stage: str) -> None:
    for module in getattr(import_module(f"pipeline.{stage}"), "MODULES", ()):
        import_module(module)
    ((_, found),) = parallel(taken, [()], stage)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
