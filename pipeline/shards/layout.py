"""The HDF5 shard: what `pack` writes and everything after it reads.

`data/shards/<category>/<split>-<n>.h5`, one row a model, M rows, sorted by model id; the split is train, val or test,
or variants, which are stretched and mirrored models of the training split:

    views           (M, V, H, W)    uint8     grayscale on white, one chunk a view, deflated
    masks           (M, V, H, W/8)  uint8     object masks, bits packed along W, most significant first
    cameras         (M, V, 4)       float32   azimuth_deg, elevation_deg, distance, fov_deg (vertical or horizontal,
                                              whichever is smaller)
    world_to_view   (M, V, 4, 4)    float32   for column vectors; view frame as PyTorch3D: +X left, +Y up, +Z inward
    occupancy       (M, R*R*R/8)    uint8     solid grid [x, y, z], C order, bits packed, most significant first
    points          (M, P, 3)       float32   on the outer surface, uniformly by area
    affine          (M, 4, 4)       float64   normalised frame -> frame of the mesh as it was found
    notes           (M, 5)          float32   fill_ratio, components, disagreement, lidded, uncovered of the solid grid
    model_id, mesh_sha256           (M,) fixed-length UTF-8, with HDF5's own checksum

and where `render` was asked for them, one chunk a view, deflated:

    depth           (M, V, H, W)    float16   along the view axis, in units of the normalised frame; 0: background
    normals         (M, V, H, W, 3) int8      127 x unit normal, turned to the camera, in the view frame; 0: background
    color           (M, V, H, W, 3) uint8     the views in colour, on white

and of each of these arrays, in the group `crc32` by its name

    (M,) or (M, V)                  uint32    CRC-32 of the row of a model, or of a view, before it is deflated

Attributes: format, version, synset, split, split_source, resolution, fingerprint. The normalised frame is drawn in
`geometry/meshes.py`. The same records give the same bytes: no timestamps, rows in order.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.runtime.files import atomic_write
from pipeline.shards.chunks import Chunks

FORMAT, VERSION = "oneview-shard", 4
SHARDS = Path("data/shards")
SPLITS, VARIANTS = ("train", "val", "test"), "variants"  # called `<id>~<n>`, <id> a model of the training split
PER_VIEW = ("views", "masks", "depth", "normals", "color")  # one chunk a view; of everything else, one a model
STRINGS = ("model_id", "mesh_sha256")
CHECKSUMS = "crc32"
DEFLATE = 3  # from level 4 on, zlib writes runs as copies from one byte back, which take it thrice as long to undo


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
    depth: np.ndarray | None = None
    normals: np.ndarray | None = None
    color: np.ndarray | None = None

    def rows(self) -> dict[str, np.ndarray]:
        """The arrays as they are stored, bits packed."""
        rows = {field.name: getattr(self, field.name) for field in fields(self)}
        rows = {name: row for name, row in rows.items() if row is not None}
        rows["masks"] = np.packbits(self.masks, axis=-1)
        rows["occupancy"] = np.packbits(self.occupancy)
        rows["model_id"] = np.array(self.model_id.encode())
        rows["mesh_sha256"] = np.array(self.mesh_sha256.encode())
        return rows


def write(
    path: Path,
    samples: Iterator[Sample],
    count: int,
    synset: str,
    split: str,
    fingerprint: str,
    split_source: str = "",
) -> None:
    """Writes one shard of `count` samples, one sample in memory at a time; the file appears when it is whole.

    Args:
        fingerprint: changes with any content of the samples.
        split_source: who says which models are in the split (see `sources/splits.py`).

    Raises:
        ValueError: a sample has other arrays, or of another shape, than the first one, or not `count` samples came.
    """
    texts: dict[str, list[np.ndarray]] = {name: [] for name in STRINGS}
    written = 0
    with atomic_write(path) as temporary, h5py.File(temporary, "w", libver=("v110", "v110")) as file:
        for written, sample in enumerate(samples, start=1):
            rows = sample.rows()
            for name in STRINGS:
                texts[name].append(rows.pop(name))
            if written == 1:
                _create(file, rows, count)
                file.attrs.update({"format": FORMAT, "version": VERSION, "synset": synset, "split": split})
                file.attrs.update({"fingerprint": fingerprint, "split_source": split_source})
                file.attrs["resolution"] = sample.occupancy.shape[0]
            _put(file, rows, written - 1, f"{path.name}: model {sample.model_id}")
        if written != count:
            raise ValueError(f"{path.name}: expected {count} samples, got {written}")
        for name, text in texts.items():  # as wide as the widest
            file.create_dataset(name, data=np.array(text), track_times=False, fletcher32=True)


def _create(file: h5py.File, rows: dict[str, np.ndarray], count: int) -> None:
    for name, row in rows.items():
        chunks = (1, 1, *row.shape[1:]) if name in PER_VIEW else (1, *row.shape)
        deflated = row.dtype == np.uint8 or name in PER_VIEW
        options: dict[str, Any] = {"compression": "gzip", "compression_opts": DEFLATE} if deflated else {}
        file.create_dataset(name, (count, *row.shape), row.dtype, chunks=chunks, track_times=False, **options)
        sums = (count, len(row)) if name in PER_VIEW else (count,)
        file.create_dataset(f"{CHECKSUMS}/{name}", sums, np.uint32, track_times=False)


def _put(file: h5py.File, rows: dict[str, np.ndarray], place: int, label: str) -> None:
    """One sample's arrays in their place, if they are what the file has room for."""
    if rows.keys() != file[CHECKSUMS].keys():
        raise ValueError(f"{label}: expected {sorted(file[CHECKSUMS])}, got {sorted(rows)}")
    for name, row in rows.items():
        expected = file[name].shape[1:]
        if row.shape != expected:
            raise ValueError(f"{label}: expected {name} of shape {expected}, got {row.shape}")
        file[name][place] = row
        sums = [zlib.crc32(view.tobytes()) for view in row] if name in PER_VIEW else zlib.crc32(row.tobytes())
        file[CHECKSUMS][name][place] = sums


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
    split_source: str
    resolution: int


class ShardDataset:
    """A split as a map-style dataset: item i is one group of views of one model, as numpy arrays.

    Items are dicts: `views` (n, H, W) uint8, `masks` (n, H, W/8) uint8, `item`, `model` and `origin` int (the model of
    which that one is a variant, otherwise itself), and each of `targets`: `occupancy` (R*R*R/8,) uint8 packed, `points`
    (P, 3) float32, and of the same views `depth` (n, H, W) float16, `normals` (n, H, W, 3) int8, `color` (n, H, W, 3)
    uint8. `shards/batches.py` turns a collated batch into what the systems take. Files are opened on first use in each
    process, so that it is safe under fork and spawn.

    Args:
        root: folder of the shards, `data/shards`.
        categories: those to read, as dataset.categories names them.
        split: train, val or test.
        views_per_sample: n, views given together; V // n groups a model.
        variants: whether those of the split's models are among the models, behind them.

    Raises:
        ValueError: no shard of the split is there, a shard is of another version, n exceeds V, or there is a variant of
            a model that is not.
    """

    def __init__(
        self,
        root: Path,
        categories: Sequence[str],
        split: str,
        views_per_sample: int = 1,
        targets: Sequence[str] = ("occupancy",),
        variants: bool = False,
    ):
        self.shards = _of(root, categories, split)
        if not self.shards:
            raise ValueError(f"{root}: expected shards of the {split} split, found none for {', '.join(categories)}")
        own = sum(len(shard.model_ids) for shard in self.shards)
        self.shards += _of(root, categories, VARIANTS) if variants else []
        self.resolution = _agreed(self.shards, "resolution")
        self.views_per_sample, self.targets = views_per_sample, tuple(targets)
        fewest = min(shard.views for shard in self.shards)
        if not 1 <= views_per_sample <= fewest:
            raise ValueError(f"{root}: expected 1 to {fewest} views a sample, got {views_per_sample}")
        self.groups = fewest // views_per_sample
        self.models = [
            (shard.synset, model_id) for shard in self.shards for model_id in shard.model_ids
        ]  # (synset, model id) in the order of the items
        self.origins = self._origins(own)  # of each model, an index of `models`
        self._rows = [(s, r) for s, shard in enumerate(self.shards) for r in range(len(shard.model_ids))]
        self._shards: dict[int, dict[str, Chunks]] = {}

    def __len__(self) -> int:
        return len(self.models) * self.groups

    def __getitem__(self, item: int) -> dict[str, Any]:
        if not 0 <= item < len(self):
            raise IndexError(f"item {item} of {len(self)}")
        model, group = divmod(item, self.groups)
        first = group * self.views_per_sample
        views = range(first, first + self.views_per_sample)
        return {"item": item, "model": model, "origin": self.origins[model]} | self.model(model, views)

    def model(self, model: int, views: Sequence[int] | None = None) -> dict[str, np.ndarray]:
        """The arrays of a model, an index of `models`, with some of its views; all that are used by default."""
        shard, row = self._rows[model]
        group = [(row, view) for view in views or range(self.groups * self.views_per_sample)]
        return {
            name: chunks.read(group) if name in PER_VIEW else chunks.read([(row,)])[0]
            for name, chunks in self._open(shard).items()
        }

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_shards": {}}

    def _origins(self, own: int) -> list[int]:
        place = {key: n for n, key in enumerate(self.models[:own])}
        origins = list(range(own))
        for synset, name in self.models[own:]:
            key = synset, name.rpartition("~")[0]
            if key not in place:
                raise ValueError(f"shards: expected model {key[1]} of {synset}, of which {name} is a variant")
            origins.append(place[key])
        return origins

    @property
    def fingerprint(self) -> str:
        """Changes with any content of the split."""
        return _digest(shard.fingerprint for shard in self.shards)

    @property
    def split_source(self) -> str:
        """Who says which models are in the split; several names, joined by commas, where categories differ."""
        return ",".join(sorted({shard.split_source for shard in self.shards}))

    def _open(self, shard: int) -> dict[str, Chunks]:
        if shard not in self._shards:
            path = self.shards[shard].path
            stream = path.open("rb", buffering=0)
            with _whole(path), open_shard(path) as file:
                if missing := [name for name in self.targets if name not in file]:
                    raise ValueError(f"{path}: expected {', '.join(missing)}, found only {', '.join(sorted(file))}")
                self._shards[shard] = {
                    name: Chunks(file[name], file[CHECKSUMS][name][:], stream)
                    for name in ("views", "masks", *self.targets)
                }
        return self._shards[shard]


def _of(root: Path, categories: Sequence[str], split: str) -> list[_Rows]:
    """The shards of a split."""
    return [_rows(path) for category in sorted(categories) for path in sorted((root / category).glob(f"{split}-*.h5"))]


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Makes what HDF5 raises in the block where a file is damaged, one kind or another, a ValueError that names it."""
    try:
        yield
    except (KeyError, OSError, RuntimeError) as error:
        raise ValueError(f"{path}: expected an HDF5 shard, got {error}") from error


def split_sha256(models: Iterable[tuple[str, str]]) -> str:
    """Hash of the sorted `synset/model_id` lines: equal only for the very same models, in whatever order."""
    return _digest(sorted({f"{synset}/{model_id}" for synset, model_id in models}))


def _rows(path: Path) -> _Rows:
    with _whole(path), open_shard(path) as file:
        ids = tuple(value.decode() for value in file["model_id"][:])
        attributes = (file.attrs["fingerprint"], file.attrs["split_source"], int(file.attrs["resolution"]))
        return _Rows(path, str(file.attrs["synset"]), ids, file["views"].shape[1], *attributes)


def _agreed(shards: list[_Rows], name: str) -> Any:
    values = {getattr(shard, name): shard.path for shard in shards}
    if len(values) > 1:
        (a, path_a), (b, path_b), *_ = values.items()
        raise ValueError(f"shards: expected one {name}, got {a} in {path_a} and {b} in {path_b}")
    return next(iter(values))


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
