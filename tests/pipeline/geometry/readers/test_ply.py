from __future__ import annotations

import struct

import numpy as np
import pytest
import trimesh

from pipeline.geometry import meshes
from pipeline.geometry.meshes import MeshError
from pipeline.geometry.readers import ply
from tests.pipeline.geometry.readers import solids
from tests.pipeline.geometry.readers.solids import Solid

CODES = {"char": "b", "uchar": "B", "short": "h", "ushort": "H", "int": "i", "uint": "I", "float": "f", "double": "d"}
NEW_NAMES = dict(zip(CODES, "int8 uint8 int16 uint16 int32 uint32 float32 float64".split(), strict=True))
Value = float | list[float]
# A row: of each property its name, type, and value; of a list also the type of its count.
Row = list[tuple[str, str, str, Value]]


def encoded(elements: list[tuple[str, list[Row]]], form: str, end: str = "\n", new: bool = False) -> bytes:
    """A PLY of rows, each element's alike."""
    head = ["ply", f"format {form} 1.0", "comment told\tby 1 2 3", "obj_info element face 7"]
    body = b""
    order = ">" if "big" in form else "<"

    def called(kind: str) -> str:
        return NEW_NAMES[kind] if new else kind

    for name, rows in elements:
        head.append(f"element {name} {len(rows)}")
        for label, kind, counts, _ in rows[0] if rows else []:
            head.append(f"property {f'list {called(counts)} ' if counts else ''}{called(kind)} {label}")
        for row in rows:
            words = []
            for _, kind, counts, value in row:
                values = value if isinstance(value, list) else [value]
                numbers = [float(x) if kind in ("float", "double") else int(x) for x in values]
                if form == "ascii":
                    words += [str(len(values))] * bool(counts) + [repr(number) for number in numbers]
                else:
                    body += struct.pack(order + CODES[counts], len(values)) if counts else b""
                    body += struct.pack(f"{order}{len(numbers)}{CODES[kind]}", *numbers)
            if form == "ascii":
                body += (" ".join(words) + end).encode()
    return end.join([*head, "end_header", ""]).encode() + body


def varied(shape: Solid, rng: np.random.Generator) -> bytes:
    """A solid in one of the many ways that PLY may be written."""
    extra, flags, materials, edges, strips, new, first = rng.random(7) < 0.4
    form = rng.choice(["ascii", "binary_little_endian", "binary_big_endian"])
    real, counts = rng.choice(["float", "double"]), rng.choice(["uchar", "char", "ushort", "int", "uint"])
    whole = rng.choice(["int", "uint", "short", "ushort", "uchar", "char"])
    label = rng.choice(["vertex_indices", "vertex_index"])
    vertices: list[Row] = []
    order = rng.permutation(3)
    for vertex in shape.vertices:
        row: Row = [("xyz"[axis], real, "", float(vertex[axis])) for axis in order]
        if extra:
            row.insert(int(rng.integers(1)), ("red", "uchar", "", 7))
            row += [("nx", "float", "", 0.5), ("quality", "double", "", -1)]
        vertices.append(row)
    if extra and first:
        vertices = [[("rings", "short", "uchar", [1] * (n % 3)), *row] for n, row in enumerate(vertices)]
    polygons = [[float(i) for i in polygon] for polygon in shape.polygons]
    stripped: list[Row] = []
    if strips:
        quads = [polygon for polygon in polygons if len(polygon) == 4]
        polygons = [polygon for polygon in polygons if len(polygon) != 4]
        indices = [i for a, b, c, d in quads for i in (a, b, d, c, -1)]
        stripped = [[("vertex_indices", "int", "int", indices)]]
    faces: list[Row] = []
    for n, polygon in enumerate(polygons):
        row = [(label, whole, counts, polygon)]
        if flags:
            row = [
                ("flags", "uchar", "", 3),
                *row,
                ("texcoord", "float", "uchar", [0.5] * (2 * len(polygon) * (n % 2))),
            ]
        faces.append(row)
    elements = [("vertex", vertices), ("face", faces)]
    elements += [("tristrips", stripped)] if strips else []
    elements += [("edge", [[("vertex1", "int", "", 0), ("vertex2", "int", "", 1)]])] if edges else []
    if materials:
        elements.insert(int(rng.integers(len(elements))), ("material", [[("ambient", "uchar", "", 1)]] * 2))
    end = rng.choice(["\n", "\r\n", "\r"])
    return encoded(elements, form, end, bool(new)) + rng.choice([b"", b"\n"])


@pytest.mark.long
def test_two_hundred_ways_to_write_a_solid() -> None:
    for seed, rng, shape in solids.solids():
        solids.assert_same(*ply.read(varied(shape, rng)), shape, seed)


POINTS: list[Row] = [
    [("x", "float", "", x), ("y", "float", "", y), ("z", "float", "", z)]
    for x, y, z in ((0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0))
]
FORMS = ["ascii", "binary_little_endian", "binary_big_endian"]


def faces(*polygons: list[float]) -> list[Row]:
    return [[("vertex_indices", "int", "uchar", polygon)] for polygon in polygons]


def area(data: bytes) -> float:
    mesh = meshes.read(data, "ply")
    return float(trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).area)


@pytest.mark.parametrize("form", FORMS)
def test_triangles_beside_quads(form: str) -> None:
    mixed = faces([0, 1, 2, 3], [0, 1, 2], [3, 2, 1, 0], [2, 3, 0])
    assert area(encoded([("vertex", POINTS), ("face", mixed)], form)) == 1 + 0.5 + 1 + 0.5


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("restart", [-1, None])
def test_strips(form: str, restart: int | None) -> None:
    runs: list[list[float]] = [[0, 1, 3, 2]] if restart is None else [[0, 1, 3, restart, 3, 1, 2]]
    strips: list[Row] = [[("vertex_indices", "int", "int", run)] for run in runs]
    assert area(encoded([("vertex", POINTS), ("tristrips", strips)], form)) == 1


def test_as_trimesh_reads_it() -> None:
    ball = trimesh.creation.icosphere(2)
    mesh = meshes.read(bytes(ball.export(file_type="ply")), "ply")
    assert np.allclose(mesh.vertices, ball.vertices, atol=1e-6) and np.array_equal(mesh.faces, ball.faces)


def square(form: str, end: str = "\n") -> bytes:
    return encoded([("vertex", POINTS), ("face", faces([0, 1, 2, 3]))], form, end)


def test_line_ends_of_a_head_before_bytes_that_look_like_one() -> None:
    """The first byte of the body is a line feed: ten little-endian."""
    rows = [[("n", "uchar", "", 10), *row] for row in POINTS]
    for end in ("\n", "\r\n", "\r"):
        assert area(encoded([("vertex", rows), ("face", faces([0, 1, 2, 3]))], "binary_little_endian", end)) == 1


@pytest.mark.parametrize(
    ("data", "reason", "named"),
    [
        *((square(form)[:-9], "truncated", "1 face as announced, found 0") for form in FORMS),
        *((square(form)[:-40], "truncated", "4 vertex as announced") for form in FORMS[1:]),
        *((square(form).replace(b"face 1", b"face 0"), "bad_count", "0 face") for form in FORMS),
        (square("ascii")[:60], "unreadable", "whole head"),
        (square("ascii").replace(b"ascii", b"text"), "unreadable", "text"),
        (square("ascii").replace(b"float x", b"half x"), "unreadable", "half x"),
        (square("ascii").replace(b"float z", b"float w"), "unreadable", "x, y, w"),
        (square("ascii").replace(b"vertex_indices", b"corners"), "unreadable", "corners"),
        (square("ascii").replace(b"4 0 1 2 3", b"4 0 1 2 3.5"), "unreadable", "integer"),
        (square("ascii").replace(b"4 0 1 2 3", b"-4 0 1 2 3"), "unreadable", "-4"),
        (square("ascii").replace(b"element face", b"element range_grid"), "unsupported", "range_grid"),
        (square("ascii").replace(b"element face", b"element polygon"), "unsupported", "'polygon'"),
        (square("ascii").replace(b"float z", b"float x"), "unreadable", "two 'x'"),
        (square("ascii").replace(b"element face", b"element vertex"), "unreadable", "two 'vertex'"),
        (b"not a ply", "unreadable", "PLY"),
    ],
)
def test_refused_by_name(data: bytes, reason: str, named: str) -> None:
    with pytest.raises(MeshError, match="expected") as caught:
        meshes.read(data, "ply")
    assert caught.value.reason == reason and named in str(caught.value)
