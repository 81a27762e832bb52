"""For every test: runs repeat themselves, long ones come first, `cuda` tests are skipped where there is no device."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Before torch is imported: small tensors gain nothing from more, tests run side by side, and sums come out alike.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a shell starts in the background ignores Ctrl-C, and so would all the processes that tests start and stop.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: a test's first example may import torch. Derandomized: what failed once fails again.
settings.register_profile("oneview", deadline=None, derandomize=True)
settings.load_profile("oneview")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m cuda`, files without such tests are not even imported: a machine with a GPU may lack their libraries."""
    if config.getoption("markexpr") != "cuda" or not collection_path.match("test_*.py"):
        return None
    return "pytest.mark.cuda" not in collection_path.read_text(encoding="utf-8") or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole roads lie on top of the tree and take longest: first, so that no process is left with one at the end."""
    items.sort(key=lambda item: len(item.path.parts))
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium; the test is skipped where there is none."""
    from tests.browser import launched

    with launched() as found:
        yield found
