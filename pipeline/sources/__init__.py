"""Where meshes come from: one file per layout on disk, each a `Layout`.

A layout recognises the models in a tree by their names and says how its axes are turned. Adding a data set is one new
file here and its entry in `LAYOUTS`. A tree is a folder whose files may lie in zips, which are read in place.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from pipeline.meshes import MeshError
from pipeline.sources import shapenet_v1, shapenet_v2
from pipeline.sources.layout import Layout

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (shapenet_v2.LAYOUT, shapenet_v1.LAYOUT)}


@dataclass(frozen=True, order=True)
class ModelRef:
    """One model and the way to its bytes.

    Attributes:
        synset, model_id: its category (WordNet offset, eight digits) and name.
        layout: key of `LAYOUTS`.
        path: file or zip, relative to the root, with forward slashes.
        member: entry of the zip, empty for a plain file.
    """

    synset: str
    model_id: str
    layout: str
    path: str
    member: str

    def read(self, root: Path) -> bytes:
        """The bytes of its mesh.

        Raises:
            MeshError: `unreadable`, where the zip's entry is damaged, encrypted or of an unknown compression.
            OSError: the file can't be read.
        """
        path = root / self.path
        if not self.member:
            return path.read_bytes()
        stat = path.stat()
        try:
            return _archive(path, stat.st_mtime_ns, stat.st_size).read(self.member)
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError) as error:
            raise MeshError("unreadable", f"expected a whole zip entry, got {type(error).__name__}: {error}") from error

    @property
    def extension(self) -> str:
        return PurePosixPath(self.member or self.path).suffix[1:].lower()


@lru_cache(maxsize=4)
def _archive(path: Path, mtime_ns: int, size: int) -> zipfile.ZipFile:
    """An open zip: reading the directory of a large one costs more than reading a model."""
    return zipfile.ZipFile(path)


def find(root: Path) -> list[ModelRef]:
    """All models under `root`, sorted; the same model found twice is listed twice.

    Raises:
        ValueError: root is missing, no folder, or holds an empty or broken zip.
    """
    if not root.is_dir():
        raise ValueError(f"dataset.root: expected a folder of meshes, found none at '{root}'")
    refs = []
    for path, member in _entries(root):
        for layout in LAYOUTS.values():
            if match := layout.pattern.search("/" + (member or path)):
                refs.append(ModelRef(match["synset"], match["model_id"], layout.name, path, member))
                break
    return sorted(refs)


def _entries(root: Path) -> Iterator[tuple[str, str]]:
    """(path, zip member or '') of every file under root."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(folder, name)
            relative = path.relative_to(root).as_posix()
            if path.suffix.lower() != ".zip":
                yield relative, ""
                continue
            yield from ((relative, member) for member in _members(path))


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{path}: expected a zip of meshes, got {error}") from error
    if not names:
        raise ValueError(f"{path}: expected a zip of meshes, found no entries")
    return names
