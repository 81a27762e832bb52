"""Files that are whole or not there: everything is written beside its place and renamed into it."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; it replaces `path` when the block ends well, and goes when not.

    The temporary path may be written as a file or made a folder; a folder replaces an older folder whole.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in path.parent.glob(f".{path.name}.*.tmp"):  # left by a run that was killed
        shutil.rmtree(stale, ignore_errors=True)
    workspace = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    temporary = workspace / path.name
    try:
        yield temporary
        if path.is_dir() and not path.is_symlink():
            os.replace(path, workspace / "old")
        os.replace(temporary, path)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
