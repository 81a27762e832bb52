"""The looks of a catalogued model, and the files beside its own that they are in."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Iterable
from pathlib import Path

from pipeline.geometry.looks import files
from pipeline.geometry.looks.appearance import Looks, fitted
from pipeline.geometry.meshes import Mesh, MeshError
from pipeline.runtime.files import sha256
from pipeline.sources import tree
from pipeline.sources.layout import ModelRef

NAMES = "appearance files gltf levels off palette textures visuals wavefront".split()
MODULES = (*(f"pipeline.geometry.looks.{name}" for name in NAMES), __name__)  # code that has a say in colours
GAZEBO = "../materials/textures"
# Of each file: its name, whether it was read, and of all places where it may lie what tells of a change there.
Watched = list[tuple[str, bool, list[tuple[str, str]]]]


class Beside:
    """The files beside a model's own, by the names that it has for them; each is read once.

    A name is a path from the model's file, or else, as programs write where the file lay with them, its last part,
    beside the file or where Gazebo has textures.
    """

    def __init__(self, root: Path, ref: ModelRef):
        self.root, (self.file, member) = root, tree.split(ref.mesh)
        self.inside = bool(member)
        self.folder = posixpath.dirname(member or self.file)
        self.read: dict[str, bytes | None] = {}

    def __call__(self, name: str) -> bytes | None:
        if name not in self.read:
            contents = (self._contents(location) for location in self.locations(name))
            self.read[name] = next((data for data in contents if data is not None), None)
        return self.read[name]

    def locations(self, name: str) -> list[str]:
        """Where the file may lie."""
        path = name.replace("\\", "/")
        last = posixpath.basename(path)
        ways = [posixpath.join(self.folder, way) for way in (path, last, posixpath.join(GAZEBO, last))]
        ways = [posixpath.normpath(way) for way in ways]
        below = [way for way in dict.fromkeys(ways) if not way.startswith(("../", "/"))]
        return [f"{self.file}!/{way}" if self.inside else way for way in below]

    def _contents(self, location: str) -> bytes | None:
        try:
            return tree.read(self.root, location)
        except (OSError, MeshError):
            return None


def stamp(root: Path, location: str) -> str:
    """As `tree.stamp`, empty where nothing lies, and another one every time where that can't be trusted yet."""
    try:
        found, changed = tree.stamp(root, location)
    except (OSError, MeshError):
        return ""
    return found if tree.settled(changed) else f"{found} {time.time()}"


def stamped(root: Path, locations: Iterable[str]) -> list[tuple[str, str]]:
    """Locations and what tells of a change there."""
    return [(location, stamp(root, location)) for location in locations]


def of(root: Path, ref: ModelRef, data: bytes, mesh: Mesh, expected: str) -> Looks:
    """The looks of a model's faces.

    Args:
        data: its file's content.
        mesh: as it was read from that.
        expected: the hash that `catalogued` gave.

    Raises:
        MeshError: `changed`: a file that its looks are in is not the catalogued one.
    """
    beside = Beside(root, ref)
    if _sha256(files.named(data, ref.extension, beside), beside) != expected:
        raise MeshError("changed", "expected the catalogued materials and textures, got others; run the catalog again")
    return fitted(mesh, files.read(data, ref.extension, beside))


def catalogued(root: Path, ref: ModelRef, data: bytes) -> tuple[str, Watched]:
    """Hash of all files beside a model's own that its looks are in, empty where it names none, and where they lie."""
    beside = Beside(root, ref)
    names = files.named(data, ref.extension, beside)
    places = {name: stamped(root, beside.locations(name)) for name in names}
    return _sha256(names, beside), [(name, beside(name) is not None, at) for name, at in places.items()]


def unchanged(root: Path, watched: Watched) -> bool:
    """Whether the files that `catalogued` gave are what they were."""
    return all(stamp(root, location) == was for _, _, places in watched for location, was in places)


def absent(watched: Watched) -> list[str]:
    """The names of files that are not there."""
    return [name for name, there, _ in watched if not there]


def _sha256(names: list[str], beside: Beside) -> str:
    contents = [(name, beside(name)) for name in names]
    lines = [f"{name} {'' if content is None else sha256(content)}" for name, content in contents]
    return sha256("\n".join(lines).encode()) if lines else ""
