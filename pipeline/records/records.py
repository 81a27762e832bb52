"""Per-model work, shared by the stages that compute something from every mesh.

A record is a dict of arrays, made from one mesh. Each is kept under data/cache/<stage>/ by the hash of all that went
into it (the mesh's bytes, the parameters, the code), so that a changed mesh costs one mesh and a stopped run goes on
where it was. A stage's output is one archive a category: a stored zip of those very files and of `rejects.json`, the
models that could not be made and why. Deleting data/cache loses time, nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.geometry import bundles, meshes, readers, zips
from pipeline.geometry.looks.appearance import Painted
from pipeline.geometry.meshes import Mesh, MeshError
from pipeline.records import looks
from pipeline.records.parallel import Lost, parallel
from pipeline.runtime.files import atomic_write, sha256
from pipeline.sources import tree
from pipeline.sources.layout import ModelRef
from pipeline.sources.registry import LAYOUTS, rotation

CACHE = Path("data/cache")
LIBRARIES = (
    "dracopy",
    "easypytorch3d",
    "mapbox-earcut",
    "numpy",
    "open3d",
    "pillow",
    "scipy",
    "torch",
    "trimesh",
)  # that have a say in records
RENDERS, VOXELS = Path("data/renders"), Path("data/voxels")
AT_ONCE = 16  # models that a GPU makes together
REMARK = "remark"  # in a record, what is amiss with it though it could be made
Record = dict[str, np.ndarray]
Model = tuple[str, Mesh, np.ndarray]  # synset/id, normalised mesh, affine back to the source's frame
Part = tuple[int, int]  # the rank of a job, and how many there are
Reason = tuple[str, str]  # why a record can't be made: code and message


@dataclass(frozen=True)
class Entry:
    """A row of the catalogue: a model, its split, and what its check found.

    Attributes:
        split_source: who says which split it is in, as `all.csv:0a1b2c3d` or `hash`.
        sha256: of its mesh file; empty where it has none.
        parts_sha256: of its ready-made views and grid, all files; empty where it has none.
        status: `ok` or a reason code; `detail` says more.
        stretch: of a variant of a model, the factors of x, y and z, negative where it is mirrored; otherwise empty.
        looks_sha256: of the files with its materials and textures, where these are asked for and there are any.
    """

    ref: ModelRef
    split: str
    split_source: str
    sha256: str
    parts_sha256: str
    status: str
    detail: str
    stretch: tuple[float, ...] = ()
    looks_sha256: str = ""


@dataclass(frozen=True)
class Job:
    """How a stage makes a record, in a worker process.

    Attributes:
        stage: its name, for the cache and for messages.
        compute: (model key, normalised mesh, affine, params) -> Record. May raise MeshError.
        params: what it depends on besides the mesh; its repr is part of the cache's key.
        modules: names of those that have a say in it; none is imported before there is a record to make.
        ready: (root, model, params) -> the Record of a model for which the data set brings one, otherwise None.
        together: ([(model key, normalised mesh, affine)], params) -> what `compute` gives for each, where a GPU makes
            several at once.
        painted: whether meshes come with their looks, as `Painted`.
    """

    stage: str
    compute: Callable[[str, Mesh, np.ndarray, Any], Record]
    params: Any
    modules: tuple[str, ...] = ()
    ready: Callable[[Path, ModelRef, Any], Record | None] | None = None
    together: Callable[[Sequence[Model], Any], list[Record]] | None = None
    painted: bool = False

    @cached_property
    def code(self) -> str:
        return code_sha256(*self.modules, *(looks.MODULES if self.painted else ()))

    def key(self, entry: Entry) -> str:
        """Hash of everything that the record of a model depends on."""
        ref = entry.ref
        turn = repr(rotation(ref).tolist())
        content = [entry.sha256]
        if entry.parts_sha256:
            content += [entry.parts_sha256, _layout_sha256(ref.layout)]
        if self.painted:
            content.append(entry.looks_sha256)
        content += map(repr, entry.stretch)
        parts = [self.stage, ref.synset, ref.model_id, turn, *content, repr(self.params), self.code]
        return sha256("\n".join(parts).encode())


def code_sha256(*modules: str) -> str:
    """Hash of the source of modules, of what every record goes through, and of the libraries' versions.

    The modules are found by name and not imported: to know that nothing has to be made takes no library to make it.
    """
    specs = [find_spec(name) for name in (meshes.__name__, bundles.__name__, zips.__name__, __name__, *modules)]
    files = [Path(str(spec and spec.origin)) for spec in specs] + sorted(Path(readers.__path__[0]).glob("*.py"))
    texts = [file.read_bytes() for file in files]
    versions = [f"{name} {metadata.version(name)}".encode() for name in LIBRARIES]
    return sha256(b"\n".join(texts + versions))


@cache
def _layout_sha256(layout: str) -> str:
    """Hash of the source of a layout, which reads its ready-made views and grids."""
    return sha256(Path(str(inspect.getsourcefile(LAYOUTS[layout].scan))).read_bytes())


def part_of(rank: int | None, world_size: int | None) -> Part | None:
    """Which part of the models a job of several makes, as it is given or else by SLURM; None where it makes all.

    Raises:
        ValueError: one is given without the other, or there is no such job.
    """
    if rank is None and world_size is None:
        return None if "DVC_STAGE" in os.environ else _of_array(os.environ)  # `dvc repro` in a job makes all
    if rank is None or world_size is None or not 0 <= rank < world_size:
        raise ValueError(f"--rank, --world-size: expected a rank from 0 below the world size, got {rank}, {world_size}")
    return rank, world_size


def _of_array(environment: Mapping[str, str]) -> Part | None:
    """The place of a job in its array, whose numbers begin anywhere and go by steps; None where there is no array."""
    names = [f"SLURM_ARRAY_TASK_{name}" for name in ("ID", "COUNT", "MIN", "MAX", "STEP")]
    if names[0] not in environment:
        return None
    try:
        own, count, least, most, step = (int(environment[name]) for name in names)
        place, rest = divmod(own - least, step)
        if least + step * (count - 1) != most or rest or not 0 <= place < count:
            raise ValueError(f"{own} of {count} from {least} to {most}")
        return place, count
    except (ValueError, KeyError, ZeroDivisionError) as error:
        expected = "SLURM_ARRAY_TASK_ID: expected an array whose numbers go by steps, or --rank and --world-size"
        raise ValueError(f"{expected}, got {error}") from error


def job_of(ref: ModelRef, world_size: int) -> int:
    """Which of so many jobs makes a model's records, by a hash of its name, whatever other models there are."""
    return int(sha256(f"{ref.synset}/{ref.model_id}".encode())[:8], 16) % world_size


def make(
    job: Job,
    root: Path,
    entries: Sequence[Entry],
    out: Path,
    max_rejected: float,
    gpu: bool = False,
    part: Part | None = None,
) -> None:
    """Makes the records of all usable models of a category, in parallel, and their archive.

    Args:
        root: the data set's root.
        entries: rows of the catalogue; those with another status than `ok` are passed over.
        out: the archive.
        max_rejected: share of the usable models that may fail; variants of models do not count.
        gpu: the work is done on the GPU of the machine.
        part: of these models only, and into the cache alone, from which a call without it takes them.

    Raises:
        ValueError: more than that failed; the message sums up why. The archive is not written then.
    """
    usable = [entry for entry in entries if entry.status == "ok"]
    if part:
        usable = [entry for entry in usable if job_of(entry.ref, part[1]) == part[0]]
    folder, root = (CACHE / job.stage).resolve(), root.resolve()  # worker processes may stand elsewhere
    files = [folder / key[:2] / f"{key}.npz" for key in map(job.key, usable)]
    # A file that a power cut left empty or short is no zip, and is made again.
    missing = [(entry, file) for entry, file in zip(usable, files, strict=True) if not zipfile.is_zipfile(file)]
    label = f"{job.stage} {out.stem}" + (f", job {part[0]} of {part[1]}" if part else "")
    print(f"{label}: {len(usable)} models, {len(usable) - len(missing)} from the cache", flush=True)
    size = AT_ONCE if gpu and job.together else 1
    rejects = _make(job, root, missing, label, gpu, size)
    own = {entry.ref.model_id for entry in usable if not entry.stretch}
    reasons = {name: why[0] for name, why in rejects.items() if name in own}
    refuse_past(1.0 if part else max_rejected, reasons, len(own), label)
    if part:
        return
    with atomic_write(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("rejects.json"), json.dumps(rejects, indent=1, sort_keys=True))
        remarks: dict[str, str] = {}
        for entry, file in zip(usable, files, strict=True):
            if entry.ref.model_id not in rejects:
                record = file.read_bytes()
                archive.writestr(zipfile.ZipInfo(f"{entry.ref.model_id}.npz"), record)
                if job.painted and (remark := _remark(record)):
                    remarks[entry.ref.model_id] = remark
        if remarks:
            archive.writestr(zipfile.ZipInfo("remarks.json"), json.dumps(remarks, indent=1, sort_keys=True))
    if remarks:
        first = min(remarks)
        print(f"{label}: {len(remarks)} models drawn without what is damaged, as {first}: {remarks[first]}", flush=True)


def _make(
    job: Job, root: Path, missing: list[tuple[Entry, Path]], label: str, gpu: bool, size: int
) -> dict[str, Reason]:
    """Makes records, `size` at a time, and puts them into their files; gives the models that can't be made."""
    groups = [missing[first : first + size] for first in range(0, len(missing), size)]
    calls = [(job, root, group) for group in groups]
    rejects: dict[str, Reason] = {}
    suspects = []
    unit = "model" if size == 1 else f"{size} models"
    for n, reasons in parallel(_several, calls, label, gpu, unit, job.modules):
        if isinstance(reasons, Lost) and size > 1:
            suspects += groups[n]
            continue
        if isinstance(reasons, Lost):
            reasons = [(reasons.reason, reasons.message)]
        rejects |= {entry.ref.model_id: why for (entry, _), why in zip(groups[n], reasons, strict=True) if why}
    return rejects | (_make(job, root, suspects, label, gpu, 1) if suspects else {})


def _several(job: Job, root: Path, group: Sequence[tuple[Entry, Path]]) -> list[Reason | None]:
    """As `_one`, together where that works: if one can't be made, or all have no room, each by itself will tell."""
    if len(group) > 1 and job.together:
        with contextlib.suppress(Exception):
            found = [_found(job, root, entry) for entry, _ in group]
            made = iter(job.together([each for each in found if isinstance(each, tuple)], job.params))
            for (_, file), each in zip(group, found, strict=True):
                _keep(file, next(made) if isinstance(each, tuple) else each)
            return [None] * len(group)
    return [_one(job, root, entry, file) for entry, file in group]


def _one(job: Job, root: Path, entry: Entry, file: Path) -> Reason | None:
    """Makes one record and puts it into the cache, or says why not."""
    try:
        record = record_of(job, root, entry)
    except MeshError as error:
        return error.reason, str(error)
    except Exception as error:  # one model's failure is a line in a table, not the end of a long run
        if isinstance(error, MemoryError | OSError) or type(error).__name__ == "OutOfMemoryError":
            raise  # not for this function to judge: the disk may be full, or the limit of memory reached
        return "failed", f"{type(error).__name__}: {error}"
    _keep(file, record)
    return None


def _keep(file: Path, record: Record) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **record)
    with atomic_write(file) as temporary:
        temporary.write_bytes(content.getvalue())


def record_of(job: Job, root: Path, entry: Entry) -> Record:
    """The record of a catalogued model: ready-made, or computed from its mesh.

    Raises:
        MeshError: it can't be used, or is not what was catalogued.
        OSError: its file can't be read.
    """
    found = _found(job, root, entry)
    return job.compute(*found, job.params) if isinstance(found, tuple) else found


def _found(job: Job, root: Path, entry: Entry) -> Record | Model:
    """The record that the data set brings of a model, or else what it is computed from."""
    ref = entry.ref
    data = ref.read(root) if ref.mesh else b""
    if (sha256(data) if ref.mesh else "", parts_sha256(root, ref)) != (entry.sha256, entry.parts_sha256):
        raise MeshError("changed", "expected the catalogued bytes, got others; run the catalog stage again")
    ready = job.ready(root, ref, job.params) if job.ready and not entry.stretch else None
    if ready is not None:
        return ready
    found = meshes.read(data, ref.extension)
    mesh, affine = meshes.normalise(found, rotation(ref))
    if entry.stretch:
        mesh, affine = meshes.stretched(mesh, affine, entry.stretch)
    if job.painted:
        own = looks.of(root, ref, data, found, entry.looks_sha256)
        mesh = Painted(mesh.vertices, mesh.faces, own.mirrored() if np.prod(entry.stretch) < 0 else own)
    return f"{ref.synset}/{ref.model_id}", mesh, affine


def parts_sha256(root: Path, ref: ModelRef) -> str:
    """Hash of all files of a model's ready-made views and grid; empty where it has none."""
    hashes = [_part_sha256(root, part, tree.stamp(root, part)) for part in LAYOUTS[ref.layout].parts(root, ref)]
    return sha256("\n".join(hashes).encode()) if hashes else ""


@lru_cache(maxsize=64)
def _part_sha256(root: Path, part: str, stamp: tuple[str, float]) -> str:
    """Kept, as many models may share a file; `stamp` tells when it is another."""
    return sha256(tree.read(root, part))


def refuse_past(
    max_rejected: float, reasons: dict[str, str], total: int, label: str, hints: Mapping[str, str] | None = None
) -> None:
    """Prints how many models were rejected for which reason; ValueError where their share exceeds `max_rejected`.

    `hints` say what helps against a reason.
    """
    if not reasons:
        return
    codes = sorted(set(reasons.values()))
    counts = ", ".join(f"{sum(r == code for r in reasons.values())} {code}" for code in codes)
    summary = f"{label}: {len(reasons)} of {total} models rejected ({counts}), as {sorted(reasons)[0]}"
    summary += "".join(f"; {hint}" for code, hint in (hints or {}).items() if code in codes)
    if len(reasons) > max_rejected * total:
        raise ValueError(f"{summary}; expected a share of at most max_rejected = {max_rejected}")
    print(summary, flush=True)


class Archive:
    """The records of one category, as `make` wrote them; use it as a context manager."""

    def __init__(self, path: Path):
        self._zip = zipfile.ZipFile(path)
        names = sorted(name for name in self._zip.namelist() if name.endswith(".npz"))
        self.model_ids = tuple(name.removesuffix(".npz") for name in names)
        self.rejects: dict[str, list[str]] = json.loads(self._zip.read("rejects.json"))
        marked = "remarks.json" in self._zip.namelist()
        self.remarks: dict[str, str] = json.loads(self._zip.read("remarks.json")) if marked else {}

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def __getitem__(self, model_id: str) -> Record:
        with np.load(io.BytesIO(self._zip.read(f"{model_id}.npz"))) as arrays:
            return dict(arrays)

    def shape(self, model_id: str, name: str) -> tuple[int, ...]:
        """Of one array of a record, found without reading it."""
        with (
            zipfile.ZipFile(io.BytesIO(self._zip.read(f"{model_id}.npz"))) as arrays,
            arrays.open(f"{name}.npy") as file,
        ):
            np.lib.format.read_magic(file)
            return np.lib.format.read_array_header_1_0(file)[0]

    def remark(self, model_id: str) -> str:
        """What is amiss with a record, empty where it is as it should be."""
        return self.remarks.get(model_id, "")

    def checksum(self, model_id: str) -> str:
        """Changes with the content of the record."""
        return f"{self._zip.getinfo(f'{model_id}.npz').CRC:08x}"


def _remark(record: bytes) -> str:
    with np.load(io.BytesIO(record)) as arrays:
        return str(arrays[REMARK]) if REMARK in arrays else ""


def seeded(*parts: object) -> np.random.Generator:
    """Random numbers that depend on the parts and nothing else, as (seed, model key, purpose)."""
    digest = hashlib.sha256("\n".join(map(str, parts)).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, np.uint32))
