"""Meshes as no reader wants them: each kind of damage made from sound ones, in ShapeNetCore.v2's layout."""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import trimesh

from tests.meshes import CHAIR, obj_bytes

MESH = "models/model_normalized.obj"


def lines_of(data: bytes, kind: bytes, rng: np.random.Generator) -> tuple[list[bytes], int]:
    """The lines of a file and the number of a random one that starts with `kind`."""
    lines = data.split(b"\n")
    return lines, int(rng.choice([n for n, line in enumerate(lines) if line.startswith(kind)]))


def replaced(kind: bytes, line: bytes) -> Callable[[bytes, np.random.Generator], bytes]:
    """A mutation: a random line of a kind becomes another."""

    def mutate(data: bytes, rng: np.random.Generator) -> bytes:
        lines, n = lines_of(data, kind, rng)
        lines[n] = line
        return b"\n".join(lines)

    return mutate


def scaled(factor: float) -> Callable[[bytes, np.random.Generator], bytes]:
    def mutate(data: bytes, rng: np.random.Generator) -> bytes:
        mesh = trimesh.load_mesh(io.BytesIO(data), file_type="obj", process=False)
        vertices = [f"v {x!r} {y!r} {z!r}" for x, y, z in (mesh.vertices * factor).tolist()]
        return "\n".join([*vertices, *(f"f {a} {b} {c}" for a, b, c in mesh.faces + 1)]).encode()

    return mutate


def noised(data: bytes, rng: np.random.Generator) -> bytes:
    content = np.frombuffer(data, np.uint8).copy()
    where = rng.integers(0, len(content), 40)
    content[where] = rng.integers(0, 256, 40)
    return content.tobytes()


def flattened(data: bytes, rng: np.random.Generator) -> bytes:
    return b"\n".join(b"v 1 2 3" if line.startswith(b"v ") else line for line in data.split(b"\n"))


def exported(file_type: str) -> Callable[[bytes, np.random.Generator], bytes]:
    def mutate(data: bytes, rng: np.random.Generator) -> bytes:
        mesh = trimesh.load_mesh(io.BytesIO(data), file_type="obj", process=False)
        content = mesh.export(None, file_type=file_type)
        return content if isinstance(content, bytes) else str(content).encode()

    return mutate


MUTATIONS: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "cut": lambda data, rng: data[: rng.integers(1, len(data))],
    "noised": noised,
    "noise": lambda data, rng: rng.bytes(5000),
    "nan": replaced(b"v ", b"v nan 0 0"),
    "infinite": replaced(b"v ", b"v 0 -inf 0"),
    "overflow": replaced(b"v ", b"v 1e999 0 0"),
    "two numbers": replaced(b"v ", b"v 1 2"),
    "words": replaced(b"v ", b"v one two three"),
    "comma": replaced(b"v ", b"v 0,5 0,5 0,5"),
    "index past the end": replaced(b"f ", b"f 1 2 99999999"),
    "index past 64 bits": replaced(b"f ", b"f 1 2 99999999999999999999999"),
    "index 0": replaced(b"f ", b"f 0 1 2"),
    "negative index": replaced(b"f ", b"f -1 -2 -3"),
    "negative index past the start": replaced(b"f ", b"f -1 -2 -99999999"),
    "fractional index": replaced(b"f ", b"f 1.5 2 3"),
    "two corners": replaced(b"f ", b"f 1 2"),
    "giant triangle": lambda data, rng: data + b"\nv 1e9 0 0\nv 0 1e9 0\nv 0 0 1e9\nf -1 -2 -3\n",
    "giant polygon": lambda data, rng: data + b"\nf " + b" ".join(b"%d" % (n % 8 + 1) for n in range(200000)) + b"\n",
    "long line": lambda data, rng: b"# " + b"x" * 10**6 + b"\n" + data,
    "zero area": flattened,
    "no faces": lambda data, rng: b"\n".join(line for line in data.split(b"\n") if not line.startswith(b"f ")),
    "no vertices": lambda data, rng: b"\n".join(line for line in data.split(b"\n") if not line.startswith(b"v ")),
    "empty": lambda data, rng: b"",
    "comment": lambda data, rng: b"# nothing here\n",
    "null bytes": lambda data, rng: bytes(1000),
    "old line ends": lambda data, rng: data.replace(b"\n", b"\r"),
    "wide characters": lambda data, rng: data.decode().encode("utf-16"),
    "zipped": lambda data, rng: gzip.compress(data, mtime=0),
    "stl": exported("stl"),
    "ply": exported("ply"),
    "glb": exported("glb"),
    "huge": scaled(1e200),
    "tiny": scaled(1e-200),
    "flat": lambda data, rng: data.replace(b" 0.5", b" 0.0").replace(b" -0.5", b" 0.0"),
}
SOUND = {"negative index", "old line ends", "wide characters"}  # odd, but allowed


def meshes(count: int) -> dict[str, bytes]:
    """Model id -> bytes: `count` mutants of each kind."""
    found = {}
    for kind, mutate in MUTATIONS.items():
        for n in range(count):
            rng = np.random.default_rng([n, zlib.crc32(kind.encode())])
            sound = trimesh.creation.box(rng.uniform(0.2, 2, 3))
            if n % 2:
                sound = trimesh.util.concatenate([sound, trimesh.creation.icosphere(2)])
            found[f"{kind} {n} é"] = mutate(obj_bytes(sound), rng)
    return found


def large(side: int) -> bytes:
    """A wavy sheet of 2 (side - 1)^2 triangles, as quadrangles."""
    x, z = (grid.ravel() for grid in np.meshgrid(np.arange(side), np.arange(side), indexing="ij"))
    y = np.sin(x / 50) * np.cos(z / 70) * 100
    first = (np.arange(side - 1)[:, None] * side + np.arange(1, side)).ravel()
    faces = np.stack([first, first + 1, first + side + 1, first + side], axis=1)
    text = [f"v {a} {b:.2f} {c}" for a, b, c in zip(x.tolist(), y.tolist(), z.tolist(), strict=True)]
    return "\n".join(text + [f"f {a} {b} {c} {d}" for a, b, c, d in faces.tolist()]).encode()


def write(root: Path, outside: Path, count: int, side: int) -> set[str]:
    """The mutants in folders, a large mesh, links, pipes and a zip full of traps below `root`; their model ids."""
    models = meshes(count) | {"large": large(side)}
    for name, data in models.items():
        path = root / CHAIR / name / MESH
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    sound = obj_bytes(trimesh.creation.box((1, 2, 3)))
    (outside / "model.obj").write_bytes(sound)
    specials: dict[str, Callable[[Path], None]] = {
        "link out": lambda path: path.symlink_to(outside / "model.obj"),
        "link up": lambda path: path.symlink_to("../../../../" + os.path.relpath(outside / "model.obj", root.parent)),
        "link to nothing": lambda path: path.symlink_to("nothing"),
        "link to itself": lambda path: path.symlink_to(path.name),
        "device": lambda path: path.symlink_to("/dev/zero"),
        "pipe": lambda path: os.mkfifo(path),
    }
    for name, make in specials.items():
        path = root / CHAIR / name / MESH
        path.parent.mkdir(parents=True)
        make(path)
    traps = zip_of_traps(root / f"{CHAIR}.zip", sound)
    (root / CHAIR / "loop").symlink_to(root)
    return set(models) | set(specials) | traps


def zip_of_traps(path: Path, sound: bytes) -> set[str]:
    """A zip with entries that lead out of it, a bomb, a lie about a size, and a damaged entry; their model ids."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"../../{CHAIR}/zip up/{MESH}", sound)
        archive.writestr(f"/{CHAIR}/zip root/{MESH}", sound)
        archive.writestr(f"{CHAIR}/zip sound/{MESH}", sound)
        archive.writestr(f"{CHAIR}/zip damaged/{MESH}", sound)
        with archive.open(f"{CHAIR}/zip bomb/{MESH}", "w", force_zip64=True) as entry:
            for _ in range(1100):
                entry.write(bytes(1 << 20))
        archive.writestr(f"{CHAIR}/zip lie/{MESH}", bytes(1 << 24))
        damaged = archive.getinfo(f"{CHAIR}/zip damaged/{MESH}").header_offset
    content = bytearray(path.read_bytes())
    content[damaged + 100 : damaged + 110] = b"\xff" * 10
    listed = content.rindex(f"{CHAIR}/zip lie/{MESH}".encode()) - 46
    struct.pack_into("<I", content, listed + 24, 100)  # the size as the zip's directory tells it
    path.write_bytes(content)
    return {"zip up", "zip root", "zip sound", "zip damaged", "zip bomb", "zip lie"}
