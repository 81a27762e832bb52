from __future__ import annotations

from pipeline.training import resume
from tests.imports import ROOT, imported

# What can't change weights or curves: how they are shown, kept and taken up, how a batch is read, and the shards'
# layout, as their content is a fact of its own.
HARMLESS = {
    f"pipeline/{name}"
    for name in """
    training/checkpoints.py training/curves.py training/memory.py training/origin.py training/pretrained.py
    training/resume.py
    training/snapshots.py training/start.py training/stop.py training/watch.py training/weights.py shards/layout.py
    shards/chunks.py
    """.split()
}


def test_a_changed_file_that_matters_is_another_training() -> None:
    found, queue = set(), ["pipeline/train.py"]
    while queue:
        if (path := queue.pop()) not in found:
            found.add(path)
            queue += imported(path)
    used = {path for path in found if path.startswith("pipeline/") and "/runtime/" not in path}
    used = {path for path in used if not path.endswith("__init__.py")}
    assert {f"pipeline/{name}" for name in resume.CODE} == used - HARMLESS
    assert used >= HARMLESS and all((ROOT / path).is_file() for path in used)
