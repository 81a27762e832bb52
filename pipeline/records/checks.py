"""Whether models can be used, by a look into their files, or into the notes of an earlier look."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.geometry import meshes
from pipeline.geometry.meshes import MeshError
from pipeline.records import looks, records
from pipeline.records.journal import open_journal
from pipeline.records.parallel import Lost, parallel
from pipeline.records.records import parts_sha256
from pipeline.runtime.files import sha256, told
from pipeline.sources import layout, tree
from pipeline.sources.layout import ModelRef
from pipeline.sources.registry import LAYOUTS

CACHE = Path("data/cache/catalog.jsonl")
CHECKED = ("status", "detail", "sha256", "parts_sha256", "looks_sha256", "vertices", "faces")
MACHINES = ("unreadable", "timeout", "crashed", "too_large")  # what may be another time, with the very same file


def check_all(root: Path, refs: Sequence[ModelRef], rows: list[dict[str, str]], color: bool) -> list[str]:
    """Fills the columns that take a look into the files, from what is remembered or by reading.

    Returns:
        Models that name files of their looks that are not there, with the first of these.
    """
    seen: set[tuple[str, str]] = set()
    unread: list[tuple[int, str]] = []
    absent: list[str] = []
    code = records.code_sha256(*looks.MODULES) if color else ""

    def note(n: int, found: Sequence[str]) -> None:
        *values, watched = found
        rows[n] |= dict(zip(CHECKED, values, strict=True))
        if lost := looks.absent(json.loads(watched)):
            absent.append(f"{refs[n].synset}/{refs[n].model_id} {lost[0]}")

    with open_journal(CACHE, records.code_sha256(__name__, tree.__name__, layout.__name__)[:16]) as journal:
        for n, (ref, values) in enumerate(zip(refs, rows, strict=True)):
            if values["status"]:
                continue
            if (ref.synset, ref.model_id) in seen:
                values |= {"status": "duplicate", "detail": "expected each model once, another of that id came first"}
                continue
            seen.add((ref.synset, ref.model_id))
            key = stamp(root, ref, code)
            if (known := journal.get(key)) and looks.unchanged(root, json.loads(known[-1])):
                note(n, known)
            else:
                unread.append((n, key))
        print(f"catalog: {len(seen)} models, {len(seen) - len(unread)} unchanged", flush=True)
        for i, found in parallel(check, [(root, refs[n], color) for n, _ in unread], "catalog"):
            n, key = unread[i]
            if isinstance(found, Lost):
                found = (found.reason, found.message, *[""] * 5, "[]")
            note(n, found)
            if key and found[0] not in MACHINES:
                journal.add(key, list(found))
    return absent


def stamp(root: Path, ref: ModelRef, looked: str = "") -> str:
    """Changes when one of a model's files does; empty where a file's time can't be trusted to tell.

    Args:
        looked: by what code files with its looks were found, where these are asked for.
    """
    try:
        locations = ref.files(root) + LAYOUTS[ref.layout].parts(root, ref)
        stamps = [tree.stamp(root, location) for location in locations]
    except (OSError, ValueError):  # read, it gives its reason
        return ""
    if not all(tree.settled(changed) for _, changed in stamps):
        return ""
    return sha256(repr((root, ref, stamps, looked)).encode("utf-8", "surrogateescape"))


def check(root: Path, ref: ModelRef, color: bool = False) -> tuple[str, ...]:
    """Whether a model can be used: the columns CHECKED of its row, and files beside its own that matter, as JSON."""
    own = parts = looked = ""
    watched: looks.Watched = []
    try:
        parts = parts_sha256(root, ref)
        if not ref.mesh:
            return "ok", "", "", parts, "", "", "", "[]"
        alone = ref.alone(root)
        watched = [(name, True, looks.stamped(root, [at])) for name, at in ref.buffers(alone).items()]
        data = ref.whole(root, alone)
        own = sha256(data)
        mesh = meshes.read(data, ref.extension)
        if color and not ref.views:
            looked, more = looks.catalogued(root, ref, data)
            watched += more
        counts = str(len(mesh.vertices)), str(len(mesh.faces))
        return "ok", "", own, parts, looked, *counts, json.dumps(watched)
    except MeshError as error:
        failure = error.reason, str(error)
    except OSError as error:
        failure = "unreadable", told(error)
    except MemoryError:
        raise
    except Exception as error:  # as of records: one model's failure is a line in a table
        failure = "failed", f"{type(error).__name__}: {error}"
    return *failure, own, parts, "", "", "", json.dumps(watched)
