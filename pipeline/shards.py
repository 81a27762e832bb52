"""The HDF5 shard: what `pack` writes and everything after it reads.

`data/shards/<synset>/<split>-<n>.h5`, one row a model, M rows, sorted by model id:

    views           (M, V, H, W)    uint8     grayscale on white, one chunk a view, deflated
    masks           (M, V, H, W/8)  uint8     object masks, bits packed along W, most significant first
    cameras         (M, V, 4)       float32   azimuth_deg, elevation_deg, distance, fov_deg (vertical or horizontal,
                                              whichever is smaller)
    world_to_view   (M, V, 4, 4)    float32   for column vectors; view frame as PyTorch3D: +X left, +Y up, +Z inward
    occupancy       (M, R*R*R/8)    uint8     solid grid [x, y, z], C order, bits packed, most significant first
    points          (M, P, 3)       float32   on the outer surface, uniformly by area
    affine          (M, 4, 4)       float64   normalised frame -> frame of the mesh as it was found
    notes           (M, 3)          float32   fill_ratio, components, disagreement of the solid grid
    model_id, mesh_sha256           (M,) fixed-length ASCII

Attributes: format, version, synset, split, resolution, fingerprint. The normalised frame is drawn in `meshes.py`. The
same records give the same bytes: no timestamps, rows in order.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.files import atomic_write

FORMAT, VERSION = "oneview-shard", 1
SHARDS = Path("data/shards")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Sample:
    """One model as it goes into a shard; shapes as in the table above, `masks` and `occupancy` as bool arrays."""

    model_id: str
    mesh_sha256: str
    views: np.ndarray
    masks: np.ndarray
    cameras: np.ndarray
    world_to_view: np.ndarray
    occupancy: np.ndarray
    points: np.ndarray
    affine: np.ndarray
    notes: np.ndarray

    def rows(self) -> dict[str, np.ndarray]:
        """The arrays as they are stored, bits packed."""
        rows = {field.name: getattr(self, field.name) for field in fields(self)}
        rows["masks"] = np.packbits(self.masks, axis=-1)
        rows["occupancy"] = np.packbits(self.occupancy)
        rows["model_id"] = np.array(self.model_id.encode())
        rows["mesh_sha256"] = np.array(self.mesh_sha256.encode())
        return rows


def write(path: Path, samples: Iterator[Sample], count: int, synset: str, split: str, fingerprint: str) -> None:
    """Writes one shard of `count` samples, one sample in memory at a time; the file appears when it is whole.

    Raises:
        ValueError: a sample's arrays differ in shape from the first one's, or fewer than `count` samples came.
    """
    written = 0
    with atomic_write(path) as temporary, h5py.File(temporary, "w", libver=("v110", "v110")) as file:
        for written, sample in enumerate(samples, start=1):
            rows = sample.rows()
            if written == 1:
                _create(file, rows, count)
                attributes = {"format": FORMAT, "version": VERSION, "synset": synset, "split": split}
                file.attrs.update(attributes | {"fingerprint": fingerprint})
                file.attrs["resolution"] = sample.occupancy.shape[0]
            for name, row in rows.items():
                expected = file[name].shape[1:]
                if row.shape != expected:
                    raise ValueError(
                        f"{path.name}: model {sample.model_id}: expected {name} of shape {expected}, got {row.shape}"
                    )
                file[name][written - 1] = row
        if written != count:
            raise ValueError(f"{path.name}: expected {count} samples, got {written}")


def _create(file: h5py.File, rows: dict[str, np.ndarray], count: int) -> None:
    for name, row in rows.items():
        per_view = name in ("views", "masks")
        options: dict[str, Any] = {}
        if row.ndim:
            options = {"chunks": (1, 1, *row.shape[1:]) if per_view else (1, *row.shape)}
            options |= {"compression": "gzip", "compression_opts": 4} if row.dtype == np.uint8 else {}
        file.create_dataset(name, (count, *row.shape), row.dtype, track_times=False, **options)


def open_shard(path: Path) -> h5py.File:
    """A shard opened for reading, without file locks (they fail on network file systems).

    Raises:
        ValueError: it is no HDF5 file, no shard, or a shard of another version.
    """
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise ValueError(f"{path}: expected an HDF5 shard, got {error}") from error
    found = (file.attrs.get("format"), file.attrs.get("version"))
    if found != (FORMAT, VERSION):
        file.close()
        raise ValueError(f"{path}: expected {FORMAT} version {VERSION}, got {found[0]} version {found[1]}")
    return file


@dataclass(frozen=True)
class _Rows:
    """What the index keeps of one shard."""

    path: Path
    synset: str
    model_ids: tuple[str, ...]
    views: int
    fingerprint: str
    resolution: int


class ShardDataset:
    """A split as a map-style dataset: item i is one group of views of one model, as numpy arrays.

    Items are dicts: `views` (n, H, W) uint8, `masks` (n, H, W/8) uint8, `item` int, and each of `targets`:
    `occupancy` (R*R*R/8,) uint8 packed, `points` (P, 3) float32. `pipeline.batches` turns a collated batch into what
    the systems take. Files are opened on first use in each process, so that it is safe under fork and spawn.

    Args:
        root: folder of the shards, `data/shards`.
        synsets: the categories to read.
        split: train, val or test.
        views_per_sample: n, views given together; V // n groups a model.

    Raises:
        ValueError: no shard of the split is there, a shard is of another version, or n exceeds V.
    """

    def __init__(
        self,
        root: Path,
        synsets: Sequence[str],
        split: str,
        views_per_sample: int = 1,
        targets: Sequence[str] = ("occupancy",),
    ):
        paths = [path for synset in sorted(synsets) for path in sorted((root / synset).glob(f"{split}-*.h5"))]
        if not paths:
            raise ValueError(f"{root}: expected shards of the {split} split, found none for {', '.join(synsets)}")
        self.shards = [_rows(path) for path in paths]
        self.resolution = _agreed(self.shards, "resolution")
        self.views_per_sample, self.targets = views_per_sample, tuple(targets)
        fewest = min(shard.views for shard in self.shards)
        if not 1 <= views_per_sample <= fewest:
            raise ValueError(f"{root}: expected 1 to {fewest} views a sample, got {views_per_sample}")
        self.groups = fewest // views_per_sample
        self.models = [
            (shard.synset, model_id) for shard in self.shards for model_id in shard.model_ids
        ]  # (synset, model id) in the order of the items
        self._rows = [(s, r) for s, shard in enumerate(self.shards) for r in range(len(shard.model_ids))]
        self._files: dict[int, h5py.File] = {}
        self._process = 0

    def __len__(self) -> int:
        return len(self.models) * self.groups

    def __getitem__(self, item: int) -> dict[str, Any]:
        if not 0 <= item < len(self):
            raise IndexError(f"item {item} of {len(self)}")
        shard, row = self._rows[item // self.groups]
        first = item % self.groups * self.views_per_sample
        file = self._file(shard)
        views = slice(first, first + self.views_per_sample)
        sample = {"views": file["views"][row, views], "masks": file["masks"][row, views], "item": item}
        return sample | {name: file[name][row] for name in self.targets}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": {}}

    @property
    def fingerprint(self) -> str:
        """Changes with any content of the split."""
        return _digest(shard.fingerprint for shard in self.shards)

    def _file(self, shard: int) -> h5py.File:
        if self._process != os.getpid():  # a handle inherited over a fork reads garbage
            self._files, self._process = {}, os.getpid()
        if shard not in self._files:
            self._files[shard] = open_shard(self.shards[shard].path)
        return self._files[shard]


def split_sha256(models: Iterable[tuple[str, str]]) -> str:
    """Hash of the sorted `synset/model_id` lines: equal only for the very same models, in whatever order."""
    return _digest(sorted({f"{synset}/{model_id}" for synset, model_id in models}))


def _rows(path: Path) -> _Rows:
    with open_shard(path) as file:
        ids = tuple(value.decode() for value in file["model_id"][:])
        attributes = (file.attrs["fingerprint"], int(file.attrs["resolution"]))
        return _Rows(path, str(file.attrs["synset"]), ids, file["views"].shape[1], *attributes)


def _agreed(shards: list[_Rows], name: str) -> Any:
    values = {getattr(shard, name): shard.path for shard in shards}
    if len(values) > 1:
        (a, path_a), (b, path_b), *_ = values.items()
        raise ValueError(f"shards: expected one {name}, got {a} in {path_a} and {b} in {path_b}")
    return next(iter(values))


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
