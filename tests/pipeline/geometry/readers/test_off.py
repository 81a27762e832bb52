from __future__ import annotations

import numpy as np
import pytest

from pipeline.geometry import meshes
from pipeline.geometry.meshes import MeshError
from pipeline.geometry.readers import off
from tests.pipeline.geometry.readers import solids
from tests.pipeline.geometry.readers.solids import Solid

TETRAHEDRON = "OFF\n4 4 6\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n"
CLEAN = meshes.read(TETRAHEDRON.encode(), "off")


def varied(shape: Solid, rng: np.random.Generator) -> bytes:
    """A solid in one of the many ways that OFF may be written."""
    comments, indent, blank, painted, wrapped, ended, mark = rng.random(7) < 0.4
    keyword = rng.choice(["OFF", "COFF", "NOFF", "CNOFF", "STOFF", "4OFF", ""])
    form = rng.choice(["%.10f", "%.12e", "%.10g", "%r"])
    more = {"COFF": ["0.1", "0.2", "0.3", "1"], "NOFF": ["0", "0", "1"], "STOFF": ["0", "0"], "4OFF": ["1"]}
    more |= {"CNOFF": ["0", "0", "1", "0.1", "0.2", "0.3", "1"]}
    rows = [[form % float(x) for x in vertex] + more.get(keyword, []) for vertex in shape.vertices]
    for polygon in shape.polygons:
        paint = [[], ["0.2", "0.3", "0.4"], ["255", "0", "0"], ["7"]][rng.integers(4)] if painted else []
        rows.append([str(len(polygon)), *map(str, polygon), *paint])
    counts = [str(len(shape.vertices)), str(len(shape.polygons)), *["0"] * int(rng.integers(2))]
    if wrapped and not painted and keyword in ("OFF", "4OFF", ""):
        words = [word for row in rows for word in row]
        cuts = np.sort(rng.integers(0, len(words), len(words) // 5)).tolist()
        rows = [words[a:b] for a, b in zip([0, *cuts], [*cuts, len(words)], strict=True)]
        counts = [*counts[:2], "0"]
    lines = []
    for row in [counts, *rows]:
        lines.append("  \t"[: rng.integers(4)] * bool(indent) + rng.choice([" ", "\t", "  "]).join(row))
        lines[-1] += " # 1 2 3" * bool(comments and rng.random() < 0.2)
        lines += ["", "# told", " \t"] * bool(blank and rng.random() < 0.1)
    head = keyword + rng.choice(["\n", " ", "\n# 4 4 6\n", "\n\n"] if keyword != "OFF" else ["", "\n", " "])
    text = (head + "\n".join(lines) + "\n" * bool(ended)).replace("\n", rng.choice(["\n", "\r\n", "\r"]))
    return b"\xef\xbb\xbf" * bool(mark) + text.encode()


@pytest.mark.long
def test_two_hundred_ways_to_write_a_solid() -> None:
    for seed, rng, shape in solids.solids():
        solids.assert_same(*off.read(varied(shape, rng)), shape, seed)


@pytest.mark.parametrize(
    "text",
    [
        TETRAHEDRON.replace("OFF\n4", "OFF4"),
        TETRAHEDRON.replace("OFF\n", ""),
        TETRAHEDRON.replace("OFF", "off"),
        TETRAHEDRON.replace("4 4 6", "4 4"),
        TETRAHEDRON.replace("4 4 6", "4\n4\n6"),
        TETRAHEDRON.replace("\n", "\r\n"),
        TETRAHEDRON.replace("1 0 0\n", "1 0\n0\n"),
        TETRAHEDRON.replace("0 0 0\n1 0 0\n", "0 0 0 1 0 0\n"),
        "# first\n" + TETRAHEDRON.replace("\n", " # all\n"),
        TETRAHEDRON.replace("3 0 2 1", "3 0 2 1 255 0 0").replace("3 0 1 3", "3  0 1 3\t0.5 0.5 0.5 1"),
        TETRAHEDRON.replace("4 4 6", "4 5 6") + "2 0 1\n",
    ],
)
def test_odd_but_allowed(text: str) -> None:
    mesh = meshes.read(text.encode(), "off")
    assert np.array_equal(mesh.vertices, CLEAN.vertices) and np.array_equal(mesh.faces, CLEAN.faces)


def test_a_face_has_no_corners_below_none() -> None:
    for text in (TETRAHEDRON, "C" + TETRAHEDRON):
        with pytest.raises(MeshError, match="expected numbers of corners, got -3"):
            meshes.read(text.replace("3 0 1 3", "-3 0 1 3").encode(), "off")


def test_homogeneous_coordinates() -> None:
    text = TETRAHEDRON.replace("OFF", "4OFF").replace(
        "0 0 0\n1 0 0\n0 1 0\n0 0 1\n", "0 0 0 1\n2 0 0 2\n0 3 0 3\n0 0 1 1\n"
    )
    assert np.array_equal(meshes.read(text.encode(), "off").vertices, CLEAN.vertices)


@pytest.mark.parametrize(
    ("text", "reason", "named"),
    [
        (TETRAHEDRON[: TETRAHEDRON.index("3 0 3 2")], "truncated", "4 faces as announced, found 4 and 2"),
        (TETRAHEDRON[: TETRAHEDRON.index("3 0 1 3") + 5], "truncated", "announced"),
        (TETRAHEDRON[: TETRAHEDRON.index("0 1 0")], "truncated", "4 vertices"),
        (TETRAHEDRON.replace("OFF\n", "COFF\n")[:-9], "truncated", "announced"),
        (TETRAHEDRON + "3 0 1 2\n", "bad_count", "4 faces"),
        (TETRAHEDRON.replace("4 4 6", "4 0 0"), "bad_count", "0 faces"),
        (TETRAHEDRON.replace("OFF", "OFF BINARY"), "unsupported", "BINARY"),
        (TETRAHEDRON.replace("OFF", "nOFF\n5"), "unsupported", "nOFF"),
        (TETRAHEDRON.replace("1 0 0", "1 x 0"), "unreadable", "x"),
        (TETRAHEDRON.replace("3 0 2 1", "3 0 2 1.5"), "unreadable", "1.5"),
        (TETRAHEDRON.replace("3 0 2 1", "3 0 2 4"), "bad_index", "4"),
        ("OFF\n1 1000000000 0\n0 0\n0 -1", "unreadable", "corners, got -1"),
        ("solid", "unreadable", "OFF"),
        ("", "unreadable", "OFF"),
    ],
)
def test_refused_by_name(text: str, reason: str, named: str) -> None:
    with pytest.raises(MeshError, match="expected") as caught:
        meshes.read(text.encode(), "off")
    assert caught.value.reason == reason and named in str(caught.value)
