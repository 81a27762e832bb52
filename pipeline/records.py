"""Per-model work, shared by the stages that compute something from every mesh.

A record is a dict of arrays, made from one mesh. Each is kept under data/cache/<stage>/ by the hash of all that went
into it (the mesh's bytes, the parameters, the code), so that a changed mesh costs one mesh and a stopped run goes on
where it was. A stage's output is one archive a category: a stored zip of those very files and of `rejects.json`, the
models that could not be made and why. Deleting data/cache loses time, nothing else.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import joblib
import numpy as np

from pipeline import meshes
from pipeline.command import progress
from pipeline.files import atomic_write, sha256
from pipeline.machine import workers
from pipeline.meshes import Mesh, MeshError
from pipeline.sources import LAYOUTS, ModelRef

CACHE = Path("data/cache")
LIBRARIES = ("easypytorch3d", "numpy", "open3d", "scipy", "torch", "trimesh")  # that have a say in records
RENDERS, VOXELS = Path("data/renders"), Path("data/voxels")
Record = dict[str, np.ndarray]
B = TypeVar("B")


@dataclass(frozen=True)
class Entry:
    """A row of the catalogue: a model, its split, and what its check found (`status` is `ok` or a reason code)."""

    ref: ModelRef
    split: str
    sha256: str
    status: str
    detail: str


@dataclass(frozen=True)
class Job:
    """How a stage makes a record, in a worker process.

    Attributes:
        stage: its name, for the cache and for messages.
        compute: (model key, normalised mesh, affine, params) -> Record. May raise MeshError.
        params: what it depends on besides the mesh; its repr is part of the cache's key.
        code: `code_sha256` of the modules that it depends on.
    """

    stage: str
    compute: Callable[[str, Mesh, np.ndarray, Any], Record]
    params: Any
    code: str

    def key(self, entry: Entry) -> str:
        """Hash of everything that the record of a model depends on."""
        ref = entry.ref
        rotation = repr(LAYOUTS[ref.layout].rotation.tolist())
        parts = [self.stage, ref.synset, ref.model_id, rotation, entry.sha256, repr(self.params), self.code]
        return sha256("\n".join(parts).encode())


def code_sha256(*modules: ModuleType) -> str:
    """Hash of the source of modules, of what every record goes through, and of the libraries' versions."""
    every = (meshes, sys.modules[__name__], *modules)
    sources = [Path(str(module.__file__)).read_bytes() for module in every]
    versions = [f"{name} {metadata.version(name)}".encode() for name in LIBRARIES]
    return sha256(b"\n".join(sources + versions))


def make(
    job: Job, root: Path, entries: Sequence[Entry], out: Path, max_rejected: float, processes: int | None = None
) -> None:
    """Makes the records of all usable models of a category, in parallel, and their archive.

    Args:
        root: the data set's root.
        entries: rows of the catalogue; those with another status than `ok` are passed over.
        out: the archive.
        max_rejected: share of the usable models that may fail.
        processes: workers, if not as many as the machine offers.

    Raises:
        ValueError: more than that failed; the message sums up why. The archive is not written then.
    """
    usable = [entry for entry in entries if entry.status == "ok"]
    folder, root = (CACHE / job.stage).resolve(), root.resolve()  # worker processes may stand elsewhere
    files = [folder / key[:2] / f"{key}.npz" for key in map(job.key, usable)]
    # A file that a power cut left empty or short is no zip, and is made again.
    missing = [(entry, file) for entry, file in zip(usable, files, strict=True) if not zipfile.is_zipfile(file)]
    label = f"{job.stage} {out.stem}"
    print(f"{label}: {len(usable)} models, {len(usable) - len(missing)} from the cache", flush=True)
    results = parallel(_one, [(job, root, entry, file) for entry, file in missing], label, processes)
    rejects = {entry.ref.model_id: why for (entry, _), why in zip(missing, results, strict=True) if why}
    refuse_past(max_rejected, {name: why[0] for name, why in rejects.items()}, len(usable), label)
    with atomic_write(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("rejects.json"), json.dumps(rejects, indent=1, sort_keys=True))
        for entry, file in zip(usable, files, strict=True):
            if entry.ref.model_id not in rejects:
                archive.writestr(zipfile.ZipInfo(f"{entry.ref.model_id}.npz"), file.read_bytes())


def _one(job: Job, root: Path, entry: Entry, file: Path) -> tuple[str, str] | None:
    """Makes one record and puts it into the cache, or says why not: (reason code, message)."""
    try:
        mesh, affine = load(root, entry)
        record = job.compute(f"{entry.ref.synset}/{entry.ref.model_id}", mesh, affine, job.params)
    except MeshError as error:
        return error.reason, str(error)
    except Exception as error:  # one model's failure is a line in a table, not the end of a long run
        if isinstance(error, MemoryError | OSError) or type(error).__name__ == "OutOfMemoryError":
            raise  # the machine's fault: the model is fine, and is tried again in the next run
        return "failed", f"{type(error).__name__}: {error}"
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **record)
    with atomic_write(file) as temporary:
        temporary.write_bytes(content.getvalue())
    return None


def load(root: Path, entry: Entry) -> tuple[Mesh, np.ndarray]:
    """The normalised mesh of a catalogued model and its affine.

    Raises:
        MeshError: it is not what was catalogued.
        OSError: its file can't be read.
    """
    data = entry.ref.read(root)
    if sha256(data) != entry.sha256:
        raise MeshError("changed", "expected the catalogued bytes, got others; run the catalog stage again")
    mesh = meshes.read(data, entry.ref.extension)
    return meshes.normalise(mesh, LAYOUTS[entry.ref.layout].rotation)


def parallel(
    function: Callable[..., B], arguments: Sequence[tuple], label: str, processes: int | None = None
) -> list[B]:
    """`[function(*a) for a in arguments]` in worker processes with a progress bar, in the order of the arguments."""
    if not arguments:
        return []
    count = min(processes or workers(), len(arguments))
    made = []
    with progress(label, len(arguments), "model") as bar, joblib.parallel_config("loky", inner_max_num_threads=1):
        for result in joblib.Parallel(count, return_as="generator")(joblib.delayed(function)(*a) for a in arguments):
            made.append(result)
            bar.update()
    return made


def refuse_past(max_rejected: float, reasons: dict[str, str], total: int, label: str) -> None:
    """Prints how many models were rejected for which reason; ValueError where their share exceeds `max_rejected`."""
    if not reasons:
        return
    codes = sorted(set(reasons.values()))
    counts = ", ".join(f"{sum(r == code for r in reasons.values())} {code}" for code in codes)
    summary = f"{label}: {len(reasons)} of {total} models rejected ({counts}), as {sorted(reasons)[0]}"
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

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def __getitem__(self, model_id: str) -> Record:
        with np.load(io.BytesIO(self._zip.read(f"{model_id}.npz"))) as arrays:
            return dict(arrays)

    def checksum(self, model_id: str) -> str:
        """Changes with the content of the record."""
        return f"{self._zip.getinfo(f'{model_id}.npz').CRC:08x}"


def seeded(*parts: object) -> np.random.Generator:
    """Random numbers that depend on the parts and nothing else, as (seed, model key, purpose)."""
    digest = hashlib.sha256("\n".join(map(str, parts)).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, np.uint32))
