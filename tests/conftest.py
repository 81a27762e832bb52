"""For every test: `cuda` tests are skipped where there is no CUDA device, and runs repeat themselves."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# Before torch is imported: small tensors gain nothing from more, and sums come out alike on every machine.
os.environ.setdefault("OMP_NUM_THREADS", "2")

# No deadline: a test's first example may import torch. Derandomized: what failed once fails again.
settings.register_profile("oneview", deadline=None, derandomize=True)
settings.load_profile("oneview")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
