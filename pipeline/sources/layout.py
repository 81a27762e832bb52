"""What a layout on disk is made of, and what it may bring besides meshes."""

from __future__ import annotations

import csv
import gzip
import io
import posixpath
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline.geometry import bundles
from pipeline.geometry.errors import MeshError
from pipeline.geometry.readers import accessors
from pipeline.geometry.zips import MAX_BYTES, refuse_large
from pipeline.runtime.files import told
from pipeline.sources import tree

_NO_UTF8 = re.compile("[\udc80-\udcff]")
AXES = {sign + name: (1.0 - 2 * bool(sign)) * np.eye(3)["xyz".index(name)] for name in "xyz" for sign in ("", "-")}
FRONTS = {"x": "-z", "y": "-z", "z": "-y"}  # what is taken for the front where only the axis that is up is known


@dataclass(frozen=True, order=True)
class ModelRef:
    """One model and the ways to its bytes.

    Attributes:
        synset: its category: a WordNet offset of eight digits, or a name where the data set has no offsets.
        model_id: unique in its category.
        layout: key of `LAYOUTS`.
        mesh, views, grid: locations (see `tree.py`) of its mesh, of ready-made views and of a ready-made grid, empty
            where there are none. `views` may be a folder; so may `mesh`, of its parts, with a slash at its end.
        axes: up and front of its mesh, as `z -y`, where they are given; empty where they are the layout's.
    """

    synset: str
    model_id: str
    layout: str
    mesh: str = ""
    views: str = ""
    grid: str = ""
    axes: str = ""

    def __post_init__(self) -> None:
        # A file's name may be any bytes, which Python hands on as half surrogates; a model's name is text.
        readable = _NO_UTF8.sub(lambda byte: f"%{ord(byte[0]) - 0xDC00:02x}", self.model_id)
        object.__setattr__(self, "model_id", readable)

    @property
    def extension(self) -> str:
        """The format of its mesh."""
        return bundles.EXTENSION if self.mesh.endswith("/") else PurePosixPath(self.mesh).suffix[1:].lower()

    def read(self, root: Path) -> bytes:
        """The bytes of its mesh: of parts as a bundle, of glTF with the buffers in it that lie beside it.

        Raises as `tree.read`, and MeshError `missing_file`.
        """
        return self.whole(root, self.alone(root))

    def alone(self, root: Path) -> bytes:
        """As `read`, without the buffers beside it."""
        if self.mesh.endswith("/"):
            return bundles.bundled((part.rpartition("/")[2], tree.read(root, part)) for part in self.files(root))
        return tree.read(root, self.mesh)

    def whole(self, root: Path, data: bytes) -> bytes:
        """What `read` gives, of what `alone` gave."""
        contents = {}
        for name, location in self.buffers(data).items():
            try:
                contents[name] = tree.read(root, location)
            except FileNotFoundError as error:
                raise MeshError("missing_file", f"expected '{name}' beside the mesh, found none") from error
        return accessors.bundled(data, contents)

    def buffers(self, data: bytes) -> dict[str, str]:
        """Locations of the files beside it that it consists of, by their names in `data`, which `alone` gave."""
        names = accessors.files(data) if self.extension in accessors.ENDINGS else []
        return {name: _beside(self.mesh, name) for name in names}

    def files(self, root: Path) -> list[str]:
        """Locations of its mesh or of all parts of it; raises as `tree.read`."""
        if self.mesh.endswith("/"):
            return [part for part in tree.children(root, self.mesh) if part.lower().endswith(".obj")]
        return [self.mesh] * bool(self.mesh)


@dataclass(frozen=True)
class Found:
    """A model as a layout finds it.

    Attributes:
        group: what no split may tear apart, as the shape of several photos; the model id if empty.
        split, split_source: train, val or test and who says so, where the data set itself does.
        doubt: why its category, group or split may be another: a file that may speak of it can't be read.
    """

    ref: ModelRef
    group: str = ""
    split: str = ""
    split_source: str = ""
    doubt: str = ""


@dataclass(frozen=True)
class Views:
    """Ready-made pictures of a model.

    Attributes:
        views: (V, H, W) uint8 grayscale.
        masks: (V, H, W) bool, True on the object.
        source_to_view: (V, 4, 4) float64 for column vectors, from the axes and units of the mesh or grid as it was
            found to a view frame with +X left, +Y up, +Z inward; NaN where the data set does not tell.
        fov_deg: (V,) field of view along the shorter side; NaN where the data set does not tell.
        color: gives the same pictures in colour, (V, H, W, 3) uint8; None where they have none.
    """

    views: np.ndarray
    masks: np.ndarray
    source_to_view: np.ndarray
    fov_deg: np.ndarray
    color: Callable[[], np.ndarray] | None = None


@dataclass(frozen=True)
class Grid:
    """A ready-made solid grid.

    Attributes:
        occupancy: (S, S, S) bool [x, y, z] in this project's axes, +Y up and -Z front.
        affine: (4, 4) float64, from the unit cube [-0.5, 0.5]^3 that the grid fills, in this project's axes, to the
            frame of the data set.
    """

    occupancy: np.ndarray
    affine: np.ndarray


@dataclass(frozen=True)
class Layout:
    """How a data set lies on disk.

    Attributes:
        name: as it stands in the catalogue.
        rotation: (3, 3) from the axes of its meshes to +Y up, -Z front.
        scan: (root, locations of all files) -> the models that lie in this layout.
        parts: (root, model) -> locations of all files that its ready-made views and grid are made of.
        views: (root, model, (H, W)) -> ready-made views, of that size where they have none of their own.
        grid: (root, model) -> its ready-made grid.
    """

    name: str
    rotation: np.ndarray
    scan: Callable[[Path, Sequence[str]], list[Found]]
    parts: Callable[[Path, ModelRef], list[str]] = field(default=lambda root, ref: [ref.grid] if ref.grid else [])
    views: Callable[[Path, ModelRef, tuple[int, int]], Views] | None = None
    grid: Callable[[Path, ModelRef], Grid] | None = None


def turning(up: str, front: str) -> np.ndarray:
    """(3, 3) that takes two axes of a data set, as `z` and `-y`, to +Y and -Z.

    Raises:
        ValueError: they are no two axes at a right angle.
    """
    if up not in AXES or front not in AXES or up[-1] == front[-1]:
        raise ValueError(f"expected two different ones of {', '.join(AXES)}, got '{up}' and '{front}'")
    high, back = AXES[up], -AXES[front]
    return np.stack([np.cross(high, back), high, back])


def unpacked(location: str, data: bytes) -> bytes:
    """A file as it was before gzip, where its name says so; ValueError where it is damaged or too large."""
    if not location.endswith(".gz"):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            found = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{location}: expected a file of gzip, got {error}") from error
    refuse_large(len(found))
    return found


def slug(name: str) -> str:
    """A category's name as a file name, a shell word and an item of DVC's: word characters and -, in lower case."""
    return re.sub(r"[^\w-]+", "-", name.lower()).strip("-") or "unnamed"


def _beside(location: str, name: str) -> str:
    """Where the file is that a file names, by a path from its own folder."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(location), name))


@contextmanager
def listing(location: str, expected: str) -> Iterator[None]:
    """Makes whatever a list of other contents leads to, when it is read, a ValueError that says what it is."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, csv.Error) as error:
        found = str(error)
        if isinstance(error, KeyError):
            found = f"an entry without {error}"
        elif not isinstance(error, ValueError | RecursionError | csv.Error):
            found = "an entry of another kind"
        raise ValueError(f"{location}: expected a list of {expected}, got {found}") from error


@contextmanager
def doubted(location: str, expected: str, doubts: list[str]) -> Iterator[None]:
    """As `listing`, of a file whose models can do without it: what is wrong with it becomes one of the doubts."""
    try:
        with listing(location, expected):
            yield
    except (ValueError, OSError) as error:
        doubts.append(told(error))


def turned(grid: Grid, rotation: np.ndarray) -> Grid:
    """A grid that was found in other axes; `rotation` (3, 3), of 0, 1 and -1, takes those to this project's."""
    axes = np.abs(rotation).argmax(axis=1)
    flips = tuple(slice(None, None, int(sign)) for sign in rotation[np.arange(3), axes])
    affine = grid.affine.copy()
    affine[:3, :3] = affine[:3, :3] @ rotation.T
    return Grid(grid.occupancy.transpose(axes)[flips], affine)


def matches(pattern: re.Pattern[str], locations: Sequence[str]) -> dict[tuple[str, str], list[str]]:
    """(synset, model id) -> locations with the pattern, which has groups `synset` and `model_id`, behind a slash."""
    found: dict[tuple[str, str], list[str]] = {}
    for location in locations:
        if match := pattern.search("/" + location):
            found.setdefault((match["synset"], match["model_id"]), []).append(location)
    return found
