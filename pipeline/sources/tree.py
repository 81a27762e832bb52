"""A folder of files, some of them in zips, which are read in place and never unpacked.

A location is a path below the root with forward slashes, and for an entry of a zip the zip's path, `!/` and the
entry's name, with forward slashes whatever wrote it: `03001627.zip!/03001627/1a6f/models/model_normalized.obj`. A
location with a slash at its end is a folder.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PosixPath, PurePosixPath

from pipeline.geometry.errors import MeshError
from pipeline.geometry.zips import BROKEN_ZIP, content, refuse_large

SETTLED = 2.0  # seconds after which clocks and disks have another time for sure
_ENTRY = ".zip!/"
_DVC = re.compile(r"/files/md5/[0-9a-f]{2}/[0-9a-f]{30}$")  # what DVC's cache calls a file


class OpenRoot(PosixPath):
    """A root out of which links are followed, wherever they lead."""


def root_of(folder: str, follow_links: bool) -> Path:
    """The root of a data set, which says as well whether links may lead out of it; to be handed on as it is."""
    return OpenRoot(folder) if follow_links else Path(folder)


def walk(root: Path) -> tuple[list[str], list[str]]:
    """Locations of all files below root, in order, and of links to folders that lead out of it and are not followed.

    An empty folder is listed too, with a slash at its end. Hidden files and folders are passed over.

    Raises:
        ValueError: root is missing, no folder, or holds an empty or broken zip.
    """
    if not root.is_dir():
        raise ValueError(f"dataset.root: expected a folder of meshes, found none at '{root}'")
    top = os.path.realpath(root)
    files: list[str] = []
    links: list[str] = []
    folders: list[tuple[str, tuple[str, ...]]] = [("", ())]  # and where the links lead through which one comes there
    while folders:
        folder, through = folders.pop()
        with os.scandir(root / folder) as entries:
            children = [entry for entry in entries if not entry.name.startswith(".")]
        for entry in children:
            name = f"{folder}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                folders.append((f"{name}/", through))
            elif os.path.isdir(entry.path):  # a link; one that leads round in circles is none
                target = os.path.realpath(entry.path)
                if _below(target, top):
                    continue
                if not isinstance(root, OpenRoot) or _below(top, target):
                    links.append(name)
                elif target not in through:
                    folders.append((f"{name}/", (*through, target)))
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
        MeshError: `outside_root` (a link leads there, other than DVC's to its cache), `unsafe_path` (an entry is called
            `../x` or `/x`, or no file can be called that), `too_large` (unpacked, see `zips.py`), `unreadable` (no
            plain file; a damaged or encrypted entry, or one of an unknown compression).
        OSError: the file can't be read.
    """
    path, member = _split(location)
    if not _inside(root, path):
        target = os.path.realpath(root / path)
        expected = "expected a file below dataset.root, or dataset.follow_links on"
        raise MeshError("outside_root", f"{expected}, got a link to {target}")
    status = os.stat(root / path)
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for without end
        raise MeshError("unreadable", "expected a file, got a folder, pipe or device")
    if not member:
        refuse_large(status.st_size)
        return (root / path).read_bytes()
    if member.startswith("/") or ".." in PurePosixPath(member).parts:
        raise MeshError("unsafe_path", f"expected the name of a zip entry below its zip, got '{member}'")
    with _damage_told():
        archive, entries = _archive(root / path, status.st_mtime_ns, status.st_size, os.getpid())
        return content(archive, _found(entries, location, member))


def children(root: Path, folder: str) -> list[str]:
    """Locations of the files right in a folder, which ends in a slash, in order; raises as `read`."""
    path, member = split(folder)
    if member:
        status = os.stat(root / path)
        with _damage_told():
            _, entries = _archive(root / path, status.st_mtime_ns, status.st_size, os.getpid())
            names = [name for name in entries if name.startswith(member) and "/" not in name[len(member) :]]
        return sorted(f"{path}!/{name}" for name in names if name != member)
    with os.scandir(root / folder) as found:
        return sorted(f"{folder}{entry.name}" for entry in found if entry.is_file() and not entry.name.startswith("."))


def stamp(root: Path, location: str) -> tuple[str, float]:
    """What changes when the content does, found without reading it, and the time (s) of the last change.

    Size, times and inode of a file; size and CRC-32 of a zip's entry, which is of the content and has no time (0).
    Raises MeshError and OSError as `read` does.
    """
    path, member = _split(location)
    status = os.stat(root / path)
    if not member:
        return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}", status.st_mtime
    with _damage_told():
        _, entries = _archive(root / path, status.st_mtime_ns, status.st_size, os.getpid())
    info = _found(entries, location, member)
    return f"{info.file_size} {info.CRC:08x}", 0.0


def settled(changed: float) -> bool:
    """Whether a file of such a time of change (s) is sure to get another one when it is written again."""
    return changed < time.time() - SETTLED


def split(location: str) -> tuple[str, str]:
    """(path of the file, name of the zip's entry or '') of a location."""
    cut = location.lower().find(_ENTRY)
    if cut < 0:
        return location, ""
    return location[: cut + 4], location[cut + len(_ENTRY) :]


def _split(location: str) -> tuple[str, str]:
    """As `split`, of a location that may be another file's word."""
    try:
        possible = b"\0" not in os.fsencode(location)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise MeshError("unsafe_path", f"expected the name of a file, got {location!r}")
    return split(location)


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except BROKEN_ZIP as error:
        raise MeshError("unreadable", f"expected a whole zip entry, got {type(error).__name__}: {error}") from error


def _inside(root: Path, path: str) -> bool:
    """Whether a path leads to a place below root, or where links may lead."""
    target = os.path.realpath(root / path)
    if _below(target, os.path.realpath(root)):
        return True
    named = not path.startswith("/") and ".." not in PurePosixPath(path).parts  # below root, but for links
    return named and (isinstance(root, OpenRoot) or _DVC.search(target) is not None)


def _below(path: str, top: str) -> bool:
    return path == top or path.startswith(os.path.join(top, ""))


def _found(entries: dict[str, zipfile.ZipInfo], location: str, member: str) -> zipfile.ZipInfo:
    if member not in entries:
        raise FileNotFoundError(errno.ENOENT, "No such entry in the zip", location)
    return entries[member]


@lru_cache(maxsize=4)
def _archive(path: Path, mtime_ns: int, size: int, process: int) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """An open zip, and its entries by their names: reading a large one's directory costs more than reading a model.

    A process needs its own: a fork and its parent read at one and the same place of the files that were open before.
    """
    archive = zipfile.ZipFile(path)
    return archive, {_slashed(info.filename): info for info in archive.infolist()}


def _slashed(name: str) -> str:
    """The name of a zip's entry as it was meant: some programs of Windows write it with backslashes."""
    return name.replace("\\", "/")


def _members(path: Path) -> Iterator[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [_slashed(name) for name in archive.namelist()]
    except (*BROKEN_ZIP, OSError, ValueError) as error:
        with path.open("rb") as file:
            cut = file.read(4) == b"PK\3\4"
        found = "the beginning of one: it is cut, or still on its way" if cut else error
        raise ValueError(f"{path}: expected a zip of meshes, got {found}") from error
    if not names:
        raise ValueError(f"{path}: expected a zip of meshes, found no entries")
    return (name for name in names if not name.endswith("/"))
