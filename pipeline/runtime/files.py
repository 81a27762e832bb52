"""Files that are whole or not there: everything is written beside its place and renamed into it."""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; it replaces `path` when the block ends well, and goes when not.

    The temporary path may be written as a file or made a folder; a folder replaces an older folder whole. An OSError
    from the block that does not say which file it is about (no space left, say) is made to name this one.
    """
    path = Path(path)
    with workspace(path.parent, f".{path.name}.", ".tmp") as folder:
        temporary = folder / path.name
        with naming(path):
            yield temporary
        if path.is_dir() and not path.is_symlink():
            os.replace(path, folder / "old")
        os.replace(temporary, path)


@contextmanager
def atomic_folder(path: Path, *names: str) -> Iterator[Path]:
    """`atomic_write` of a folder, which is there in the block; `names` are patterns of all files that it ever holds.

    Raises:
        ValueError: the older folder holds anything else, which is someone's and would be lost.
    """
    for other in sorted(path.iterdir()) if path.is_dir() else ():
        if other.is_dir() or not any(fnmatch.fnmatchcase(other.name, name) for name in names):
            expected = ", ".join(names)
            raise ValueError(f"{other}: expected only {expected} in {path}, as it is made anew; move this elsewhere")
    with atomic_write(path) as temporary:
        temporary.mkdir()
        yield temporary


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Makes an OSError from the block that does not say which file it is about name this one."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def workspace(parent: Path, prefix: str, suffix: str = "") -> Iterator[Path]:
    """A new folder for the block's time; those of this name that killed processes have left are removed as well."""
    parent.mkdir(parents=True, exist_ok=True)
    for stale in parent.glob(f"{glob.escape(prefix)}*{suffix}"):
        if _left_behind(stale.name[len(prefix) :]):
            shutil.rmtree(stale, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}@{platform.node()}.", suffix=suffix, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _left_behind(name: str) -> bool:
    """Whether `pid@host...` tells of a process that is gone. Another machine's processes can't be seen from here."""
    pid, _, rest = name.partition("@")
    if not pid.isdigit() or not rest.startswith(f"{platform.node()}."):
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def told(error: BaseException) -> str:
    """An error for people to read: an OSError by its file and reason, without Python's number for it."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{os.fspath(error.filename)}: {error.strerror}" if error.filename else error.strerror
