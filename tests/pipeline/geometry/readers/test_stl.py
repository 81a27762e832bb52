from __future__ import annotations

import struct

import numpy as np
import pytest
import trimesh

from pipeline.geometry import meshes
from pipeline.geometry.meshes import MeshError
from pipeline.geometry.readers import stl
from tests.pipeline.geometry.readers import solids

BOX = trimesh.creation.box((1, 2, 3))
BINARY = bytes(BOX.export(file_type="stl"))
TEXT = str(BOX.export(file_type="stl_ascii"))


def text(triangles: np.ndarray, rng: np.random.Generator) -> bytes:
    """Triangles (M, 3, 3) in one of the many ways that STL may be written in text."""
    odd_normals, upper, mark = rng.random(3) < 0.4
    form = rng.choice(["%.8e", "%.8f", "%r"])
    title = rng.choice(["", "part", "facet 1", "vertex 1 2 3", "x endsolid", "a\tsolid (of 3)", "Größe", "loop"])
    gap = rng.choice(["\n", "\n    ", "\n\t", "\r\n", "\n\n", " \n", "\r"])
    pieces = np.array_split(triangles, rng.integers(1, 4))
    lines = []
    for piece in pieces:
        lines.append(f"solid {title}")
        for corners in piece:
            normal = rng.choice(["nan nan nan", "-nan(ind) 1.#QNAN 0", "0 0 0"]) if odd_normals else "0 0 1"
            lines += [f"facet normal {normal}", "outer loop"]
            lines += ["vertex " + " ".join(form % float(x) for x in corner) for corner in corners]
            lines += ["endloop", "endfacet"]
        lines.append(rng.choice(["endsolid", f"endsolid {title}"]))
    written = gap.join(lines) + "\n" * int(rng.integers(2))
    written = written.upper().replace("NAN", "nan") if upper else written
    return b"\xef\xbb\xbf" * bool(mark) + written.encode(rng.choice(["utf-8", "utf-16"]) if not mark else "utf-8")


HEADS = [b"solid part", b"", b"solid facet normal 0 0 1", b"COLOR=\xff\x00\x00\xff", b"\xff\xfe", b"SOLID"]


def binary(triangles: np.ndarray, rng: np.random.Generator) -> bytes:
    rows = np.zeros(len(triangles), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("rest", "<u2")])
    rows["corners"] = triangles
    rows["normal"] = rng.choice([0, 1, np.nan])
    rows["rest"] = rng.integers(0, 1 << 16, len(rows))
    head = HEADS[rng.integers(len(HEADS))].ljust(80, [b" ", b"\0"][rng.integers(2)])
    return head + struct.pack("<I", len(rows)) + rows.tobytes() + bytes(int(rng.choice([0, 0, 1, 16, 49, 512])))


@pytest.mark.long
def test_two_hundred_ways_to_write_a_solid() -> None:
    for seed, rng, shape in solids.solids():
        triangles = shape.vertices[solids.triangulated(shape)]
        write = text if seed % 2 else binary
        solids.assert_same(*stl.read(write(triangles, rng)), shape, seed)


def bounds(data: bytes) -> tuple[int, list[float]]:
    mesh = meshes.read(data, "stl")
    return len(mesh.faces), np.ptp(mesh.vertices, axis=0).tolist()


@pytest.mark.parametrize(
    "data",
    [
        BINARY,
        BINARY + bytes(16),
        b"solid binary".ljust(80) + BINARY[80:],
        b"solid facet".ljust(80) + BINARY[80:] + b"\n",
        TEXT.encode(),
        TEXT.upper().encode(),
        TEXT.encode("utf-16"),
        b"\xef\xbb\xbf" + TEXT.encode(),
        " ".join(TEXT.split()).encode(),
        "\n".join(TEXT.split()).replace("facet\nnormal", "facet normal").encode(),
        ("solid empty\nendsolid empty\n" + TEXT).encode(),
        TEXT.replace("solid", "solid vertex 9 9 9 ").encode(),
        TEXT.replace("endsolid", "end solid").encode(),
    ],
)
def test_odd_but_allowed(data: bytes) -> None:
    assert bounds(data) == (12, [1, 2, 3])


@pytest.mark.parametrize(
    ("data", "reason", "named"),
    [
        (BINARY[:-1], "truncated", "12 triangles as announced, found room for 11"),
        (BINARY[:90], "truncated", "announced"),
        (BINARY[:40], "unreadable", "40 bytes"),
        (BINARY[:80] + bytes(4) + BINARY[84:], "bad_count", "0 triangles as its count says, found room for 12"),
        (BINARY[:80] + b"\7\0\0\0" + BINARY[84:], "bad_count", "7 triangles"),
        (BINARY[:80] + b"\xff\xff\xff\xff" + BINARY[84:], "truncated", "4294967295"),
        (TEXT[: len(TEXT) // 2].encode(), "truncated", "end"),
        (TEXT[: TEXT.index("endsolid")].encode(), "truncated", "1 solids, found 0"),
        ((TEXT + TEXT[: TEXT.index("endsolid")]).encode(), "truncated", "2 solids, found 1"),
        (TEXT.replace("endloop", "vertex 0 0 0\nendloop").encode(), "unreadable", "three vertices"),
        (TEXT.replace("vertex 0.5", "vertex 0,5").replace("vertex -0.5", "vertex -0,5").encode(), "unreadable", "0,5"),
        (b"", "unreadable", "STL"),
    ],
)
def test_refused_by_name(data: bytes, reason: str, named: str) -> None:
    with pytest.raises(MeshError, match="expected") as caught:
        meshes.read(data, "stl")
    assert caught.value.reason == reason and named in str(caught.value)
