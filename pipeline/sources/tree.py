"""A folder of files, some of them in zips, which are read in place and never unpacked.

A location is a path below the root with forward slashes, and for an entry of a zip the zip's path, `!/` and the
entry's name: `03001627.zip!/03001627/1a6f/models/model_normalized.obj`.
"""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath

from pipeline.geometry.meshes import MeshError

MAX_BYTES = 1 << 30  # of one file or entry; ShapeNetCore's largest mesh has a tenth of it
_ENTRY = ".zip!/"


def walk(root: Path) -> tuple[list[str], list[str]]:
    """Locations of all files below root, in order, and of links to folders that lead out of it and are not followed.

    An empty folder is listed too, with a slash at its end. Hidden files and folders are passed over.

    Raises:
        ValueError: root is missing, no folder, or holds an empty or broken zip.
    """
    if not root.is_dir():
        raise ValueError(f"dataset.root: expected a folder of meshes, found none at '{root}'")
    files: list[str] = []
    links: list[str] = []
    folders = [""]
    while folders:
        folder = folders.pop()
        with os.scandir(root / folder) as entries:
            children = [entry for entry in entries if not entry.name.startswith(".")]
        for entry in children:
            name = f"{folder}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                folders.append(f"{name}/")
            elif os.path.isdir(entry.path):  # a link; one that leads round in circles is none
                if not _inside(root, name):
                    links.append(name)
            elif name.lower().endswith(".zip") and os.path.isfile(entry.path):
                files += (f"{name}!/{member}" for member in _members(root / name))
            else:
                files.append(name)
        if not children:
            files.append(folder)
    return sorted(files), sorted(links)


def read(root: Path, location: str) -> bytes:
    """The bytes of a file or of a zip's entry.

    Raises:
        MeshError: `outside_root` (a link leads there), `unsafe_path` (an entry is called `../x` or `/x`), `too_large`
            (more than MAX_BYTES, unpacked), `unreadable` (no plain file; a damaged or encrypted entry, or one of an
            unknown compression).
        OSError: the file can't be read.
    """
    path, member = split(location)
    if not _inside(root, path):
        target = os.path.realpath(root / path)
        raise MeshError("outside_root", f"expected a file below dataset.root, got a link to {target}")
    status = os.stat(root / path)
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for without end
        raise MeshError("unreadable", "expected a file, got a folder, pipe or device")
    if not member:
        _refuse_large(status.st_size)
        return (root / path).read_bytes()
    if member.startswith("/") or ".." in PurePosixPath(member).parts:
        raise MeshError("unsafe_path", f"expected the name of a zip entry below its zip, got '{member}'")
    with _damage_told():
        archive = _archive(root / path, status.st_mtime_ns, status.st_size, os.getpid())
        info = archive.getinfo(member)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise MeshError("unreadable", f"expected a stored or deflated zip entry, got type {info.compress_type}")
        _refuse_large(info.file_size)  # which is as much as zipfile will unpack of these
        return archive.read(member)


def stamp(root: Path, location: str) -> tuple[str, float]:
    """What changes when the content does, found without reading it, and the time (s) of the last change.

    Size, times and inode of a file; size and CRC-32 of a zip's entry, which is of the content and has no time (0).
    Raises MeshError and OSError as `read` does.
    """
    path, member = split(location)
    status = os.stat(root / path)
    if not member:
        return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}", status.st_mtime
    with _damage_told():
        info = _archive(root / path, status.st_mtime_ns, status.st_size, os.getpid()).getinfo(member)
    return f"{info.file_size} {info.CRC:08x}", 0.0


def split(location: str) -> tuple[str, str]:
    """(path of the file, name of the zip's entry or '') of a location."""
    cut = location.lower().find(_ENTRY)
    if cut < 0:
        return location, ""
    return location[: cut + 4], location[cut + len(_ENTRY) :]


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError) as error:
        raise MeshError("unreadable", f"expected a whole zip entry, got {type(error).__name__}: {error}") from error


def _inside(root: Path, path: str) -> bool:
    target, top = os.path.realpath(root / path), os.path.realpath(root)
    return target == top or target.startswith(os.path.join(top, ""))


def _refuse_large(size: int) -> None:
    if size > MAX_BYTES:
        raise MeshError("too_large", f"expected at most {MAX_BYTES} bytes, got {size}")


@lru_cache(maxsize=4)
def _archive(path: Path, mtime_ns: int, size: int, process: int) -> zipfile.ZipFile:
    """An open zip: reading the directory of a large one costs more than reading a model.

    A process needs its own: a fork and its parent read at one and the same place of the files that were open before.
    """
    return zipfile.ZipFile(path)


def _members(path: Path) -> Iterator[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise ValueError(f"{path}: expected a zip of meshes, got {error}") from error
    if not names:
        raise ValueError(f"{path}: expected a zip of meshes, found no entries")
    return (name for name in names if not name.endswith("/"))
