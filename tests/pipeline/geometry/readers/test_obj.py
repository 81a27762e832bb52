from __future__ import annotations

import numpy as np
import pytest

from pipeline.geometry import meshes
from pipeline.geometry.meshes import MeshError
from pipeline.geometry.readers import obj
from tests.pipeline.geometry.readers import solids
from tests.pipeline.geometry.readers.solids import Solid

TETRAHEDRON = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"
CLEAN = meshes.read(TETRAHEDRON.encode(), "obj")


def varied(shape: Solid, rng: np.random.Generator) -> bytes:
    """A solid in one of the many ways that OBJ may be written."""
    chance = rng.random(14) < 0.4
    indent, comments, wrapped, relative, colours, texts, slashes, spare, tabs, blank, ended, wide, mark, between = (
        chance
    )
    form = rng.choice(["%.10f", "%.12e", "%+.10g", "%r"])
    statements = []
    for n, vertex in enumerate(shape.vertices):
        if spare and n % 5 == 0:
            statements.append(["v", "7", "7", "7"])  # which no face uses
        statements.append(["v", *(form % float(x) for x in vertex), *["0.5"] * (3 * colours)])
    places = [n + 1 + (n // 5 + 1) * bool(spare) for n in range(len(shape.vertices))]
    total = sum(words[0] == "v" for words in statements)
    if texts or slashes:
        statements += [["vt", *["0.25"] * rng.integers(1, 4)], ["vn", "0", "0", "1"]]
    for polygon in shape.polygons:
        if between:
            statements += [["o", "part#1 \\"], ["g", "f", "v"], ["s", "off"], ["usemtl", "a\\b\\"], ["l", "1", "2"]]
        ends = ["/1", "//1", "/1/1", ""] if slashes else [""]
        corners = [places[i] - (total + 1) * bool(relative) for i in polygon]
        end = rng.choice(ends)
        statements.append(["f", *(f"{corner}{end}" for corner in corners)])
    lines = []
    for words in statements:
        line = "\t \t"[: rng.integers(4)] if indent else ""
        for n, word in enumerate(words):
            gap = ("\t" if tabs else " ") * bool(n)
            if n and wrapped and words[0] in "vf" and rng.random() < 0.2:
                gap = " \\" + "  "[: rng.integers(3)] + "\n"
            line += gap + word
        if comments and words[0] in "vf" and rng.random() < 0.3:
            line += rng.choice([" # told", "# 1 2 3", " #\\", "\t# f 1 2 3 \\"])
        lines.append(line)
        if blank and rng.random() < 0.1:
            lines += ["", "   ", "# v 1 2 3", "#\\"]
    text = "\n".join(lines) + "\n" * bool(ended)
    text = text.replace("\n", rng.choice(["\n", "\r\n", "\r"]))
    if wide:
        return text.encode(rng.choice(["utf-16", "utf-8-sig", "utf-32"]))
    return b"\xef\xbb\xbf" * bool(mark) + text.encode()


@pytest.mark.long
def test_two_hundred_ways_to_write_a_solid() -> None:
    for seed, rng, shape in solids.solids():
        solids.assert_same(*obj.read(varied(shape, rng)), shape, seed)


@pytest.mark.parametrize(
    "text",
    [
        "\t" + TETRAHEDRON.replace("\n", "\n  \t"),
        "# C:\\models\\\n" + TETRAHEDRON,
        TETRAHEDRON.replace("v 1 0 0\n", "v 1 0 0 # right\\\n"),
        "\ufeff" + TETRAHEDRON,
        "\ufeffv 0 0 0\n" + TETRAHEDRON[8:] + "v 9 9 9\n",
        TETRAHEDRON.replace("\n", " # here\n"),
        TETRAHEDRON.replace("f 1 3 2", "f 1 \\ \n 3 \\\t\n\t2"),
        TETRAHEDRON.replace("f 1 3 2", "f\\\n 1 3 2"),
        TETRAHEDRON.replace("v 1 0 0", "v 1 \\\n0 \\\n0"),
        TETRAHEDRON.replace("\n", "\r\n").replace("f 1 3 2", "f 1 \\\r\n3 2"),
        TETRAHEDRON.replace("f 1 3 2", "\f f\v1 3 2"),
        TETRAHEDRON.replace("f 1 3 2", "fo 1 3 2"),
        "mtllib C:\\models\\\n" + TETRAHEDRON,
        TETRAHEDRON + "vt 0.5",
        TETRAHEDRON + "vt 0.5 \\\n0.5\n",
        TETRAHEDRON + "g a \\\nb\n\x1a",
        TETRAHEDRON.replace("v 1 0 0", "v 1 0 0 0.5").replace("v 0 1 0", "v 0 1 0 1 0 0"),
        TETRAHEDRON.replace("v 1 0 0", "v 1.0e+0 -0.0 +0"),
    ],
)
def test_odd_but_allowed(text: str) -> None:
    mesh = meshes.read(text.encode(), "obj")
    assert np.array_equal(mesh.vertices, CLEAN.vertices) and np.array_equal(mesh.faces, CLEAN.faces)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_encodings(encoding: str) -> None:
    mesh = meshes.read(TETRAHEDRON.encode(encoding), "obj")
    assert np.array_equal(mesh.vertices[mesh.faces], CLEAN.vertices[CLEAN.faces])


@pytest.mark.parametrize(
    ("text", "reason", "named"),
    [
        (TETRAHEDRON + "f 1 2 \\\n", "truncated", "backslash"),
        (TETRAHEDRON + "f 1/1 2/2 3/", "truncated", "f 1/1 2/2 3/"),
        (TETRAHEDRON + "f 1/1/1 2/2/1 3/3", "truncated", "3/3"),
        (TETRAHEDRON + "vn 0 1", "truncated", "vn 0 1"),
        (TETRAHEDRON + "f 1 2\n3\n", "unreadable", "'3'"),
        (TETRAHEDRON + "surf 0 1 0 1 1 2 3\n", "unsupported", "surf"),
        (TETRAHEDRON + "call other.obj\n", "unsupported", "call"),
        (TETRAHEDRON.replace("v 1 0 0", "v 1,5 0,5 0"), "unreadable", "1,5"),
        (TETRAHEDRON.replace("f 1 3 2", "f 1 / 4 3 / 4 2 / 4"), "unreadable", "blanks before a slash"),
        (TETRAHEDRON.replace("f 1 3 2", "F 1 3 2"), "unsupported", "'F 1 3 2'"),
        (TETRAHEDRON.replace("f 1 3 2", "\0" * 7), "unreadable", "a byte of 0 after"),
    ],
)
def test_refused_by_name(text: str, reason: str, named: str) -> None:
    with pytest.raises(MeshError, match="expected") as caught:
        meshes.read(text.encode(), "obj")
    assert caught.value.reason == reason and named in str(caught.value)


def test_utf_16_that_breaks_off_is_named() -> None:
    with pytest.raises(MeshError, match="UTF-16"):
        meshes.read(TETRAHEDRON.encode("utf-16")[:-1], "obj")


def test_a_file_read_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    lines = []
    for n in range(1, 300):
        lines += [f"v {x} {y} {z}" for x, y, z in rng.random((3, 3))]
        lines.append("f -1 -2 -3" if n % 2 else f"f {n} {3 * n} 1 {2 * n}")
    data = "\n".join(lines).encode()
    whole = obj.read(data)
    assert {(3 * n - 1, 3 * n - 2, 3 * n - 3) for n in range(1, 300, 2)} <= set(map(tuple, whole[1].tolist()))
    for block in (1, 50, 1000):
        monkeypatch.setattr(obj, "BLOCK", block)
        assert all(np.array_equal(a, b) for a, b in zip(obj.read(data), whole, strict=True))


def test_comments_may_be_filled_up_with_zeros() -> None:
    data = (TETRAHEDRON + "# made by x\0\0\0\n").encode() + b"# y\n"
    assert len(meshes.read(data, "obj").faces) == 4
