"""Stanford PLY, text or binary: vertices, polygons and strips of triangles, beside whatever else a file carries.

A text's numbers are laid out as a binary file of 64-bit floats, so that one reader does for both.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pipeline.geometry.errors import MeshError
from pipeline.geometry.readers import pieces
from pipeline.geometry.readers.polygons import triangulated
from pipeline.geometry.readers.text import plain

_HEAD = re.compile(rb"(?:\xef\xbb\xbf)?\s*ply[ \t]*(\r\n|\n|\r).*?(?:\r|\n)[ \t]*end_header[ \t]*(?=\r|\n|\Z)", re.S)
_TYPES = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"}
_TYPES |= {"float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2"}
_TYPES |= {"int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8", "int64": "i8", "uint64": "u8"}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
CORNERS = ("vertex_indices", "vertex_index")
FACES = ("face", "tristrips")
END_OF_STRIP = -1


@dataclass(frozen=True)
class Property:
    """A property of an element: its type, and of a list that of its count as well."""

    name: str
    type: np.dtype
    counts: np.dtype | None = None


@dataclass(frozen=True)
class Element:
    """What a head announces."""

    name: str
    count: int
    properties: list[Property] = field(default_factory=list)


def read(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N, 3) float64 and triangles (M, 3) int64, not checked.

    Raises:
        MeshError: `unreadable`, `truncated` (fewer elements than announced), `bad_count` (more), `unsupported` (a grid
            of ranges).
    """
    head = _HEAD.match(data)
    if not head:
        raise MeshError("unreadable", f"expected PLY with a whole head, got {data[:20]!r}")
    lines = [line.split() for line in plain(head[0]).decode("latin-1").split("\n")]
    form = next((line[1] for line in lines if line[:1] == ["format"] and len(line) > 1), "none")
    if form not in _ORDERS:
        raise MeshError("unreadable", f"expected one of the formats {', '.join(_ORDERS)}, got '{form}'")
    body = data[head.end() :]
    if _ORDERS[form]:
        body = body[len(head[1]) if body.startswith(head[1]) else 1 :]
        elements = _elements(lines, _ORDERS[form])
    else:
        elements = _elements(lines, "")
        try:
            body = np.array(plain(body).split(), "<f8").tobytes()
        except ValueError as error:
            raise MeshError("unreadable", f"expected numbers, got {error}") from error
    return _mesh(_parsed(elements, body))


def _elements(lines: list[list[str]], order: str) -> list[Element]:
    """What the head announces, with types of the given order of bytes, or all of them 64-bit floats for a text."""

    def kind(name: str) -> np.dtype:
        return np.dtype(order + _TYPES[name]) if order else np.dtype("<f8" if name in _TYPES else _TYPES[name])

    found: list[Element] = []
    try:
        for line in lines:
            if line[:1] == ["element"]:
                found.append(Element(line[1], int(line[2])))
            elif line[:2] == ["property", "list"]:
                found[-1].properties.append(Property(line[4], kind(line[3]), kind(line[2])))
            elif line[:1] == ["property"]:
                found[-1].properties.append(Property(line[2], kind(line[1])))
    except (KeyError, IndexError, ValueError) as error:
        raise MeshError("unreadable", f"expected elements with properties, got '{' '.join(line)}'") from error
    for names in ([each.name for each in found], *([p.name for p in each.properties] for each in found)):
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise MeshError(
                "unreadable", f"expected elements and properties of names of their own, got two '{twice[0]}'"
            )
    if odd := [
        each.name for each in found if each.name not in FACES and {p.name for p in each.properties} & {*CORNERS}
    ]:
        raise MeshError("unsupported", f"expected {' or '.join(FACES)}, got corners of '{odd[0]}'")
    return found


Column = tuple[np.ndarray, np.ndarray]  # items of all rows, flat, and how many each row has


def _parsed(elements: list[Element], body: bytes) -> dict[str, dict[str, Column]]:
    """Each element's properties by name."""
    found = {}
    place = 0
    for element in elements:
        found[element.name], place = _columns(element, body, place)
    if rest := body[place:].strip(b"\0 \r\n\t\x1a"):
        counts = ", ".join(f"{element.count} {element.name}" for element in elements)
        raise MeshError("bad_count", f"expected {counts} as announced, found {len(rest)} bytes more")
    return found


def _columns(element: Element, body: bytes, place: int) -> tuple[dict[str, Column], int]:
    """The properties of an element that begins at a place, and where it ends."""
    properties = element.properties
    if not properties or not element.count:
        return {p.name: (np.zeros(0, p.type), np.zeros(0, np.int64)) for p in properties}, place
    _, counts, _ = _walked(element, body, place, 1)
    row = np.dtype([(f"{n}", _field(p, counts[0, n])) for n, p in enumerate(properties)])
    end = place + row.itemsize * element.count
    if end <= len(body):
        table = np.frombuffer(body, row, element.count, place)
        lists = [n for n, p in enumerate(properties) if p.counts is not None]
        if all((table[f"{n}"]["count"] == counts[0, n]).all() for n in lists):
            counts = np.repeat(counts, element.count, axis=0)
            return {p.name: (table[f"{n}"]["items"].ravel(), counts[:, n]) for n, p in enumerate(properties)}, end
    starts, counts, end = _walked(element, body, place, element.count)
    content = np.frombuffer(body, np.uint8)
    columns = {}
    for n, p in enumerate(properties):
        sizes = counts[:, n] * p.type.itemsize
        places = np.repeat(starts[:, n] - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
        columns[p.name] = content[places].view(p.type), counts[:, n]
    return columns, end


def _field(p: Property, count: int) -> np.dtype:
    items = ("items", p.type, (count,))
    return np.dtype([items] if p.counts is None else [("count", p.counts), items])


def _walked(element: Element, body: bytes, place: int, rows: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Where the items of each property of each row begin, how many there are, both (rows, properties), and the end."""
    ahead = [0 if p.counts is None else p.counts.itemsize for p in element.properties]
    steps = [(_unpack(p.counts), size, p.type.itemsize) for p, size in zip(element.properties, ahead, strict=True)]
    starts, counts = [], []
    for row in range(rows):
        for unpack, head, size in steps:
            if place + head > len(body):
                _refuse_short(element, row)
            count = unpack(body, place)[0]
            if count < 0 or count != int(count):
                raise MeshError("unreadable", f"expected how long a list of {element.name} is, got {count}")
            starts.append(place + head)
            counts.append(int(count))
            place += head + int(count) * size
        if place > len(body):
            _refuse_short(element, row)
    shape = (rows, len(steps))
    return np.reshape(starts, shape), np.reshape(counts, shape), place


def _unpack(counts: np.dtype | None) -> Callable[[bytes, int], tuple[float, ...]]:
    """How a list's count is taken from bytes at a place; what is no list has one item."""
    if counts is None:
        return lambda body, place: (1,)
    order = counts.byteorder.replace("|", "=")
    return struct.Struct(order + {"l": "q", "L": "Q"}.get(counts.char, counts.char)).unpack_from


def _refuse_short(element: Element, found: int) -> None:
    raise MeshError("truncated", f"expected {element.count} {element.name} as announced, found {found}")


def _mesh(found: dict[str, dict[str, Column]]) -> pieces.Piece:
    vertex = found.get("vertex", {})
    if not {"x", "y", "z"} <= set(vertex):
        raise MeshError("unreadable", f"expected vertices with x, y and z, got {', '.join(vertex) or 'none'}")
    vertices = np.stack([vertex[axis][0].astype(np.float64) for axis in "xyz"], axis=1)
    faces = [triangulated(vertices, *_corners("face", found["face"]))] if "face" in found else []
    if "tristrips" in found:
        corners, counts = _corners("tristrips", found["tristrips"])
        for run in np.split(corners, np.cumsum(counts)[:-1]):
            cuts = np.flatnonzero(run == END_OF_STRIP)
            faces += [pieces.strip(part[part != END_OF_STRIP]) for part in np.split(run, cuts)]
    if "range_grid" in found and not faces:
        raise MeshError("unsupported", "expected faces, got a grid of ranges (range_grid)")
    return vertices, np.concatenate([np.zeros((0, 3), np.int64), *faces])


def _corners(name: str, columns: dict[str, Column]) -> Column:
    """The indices of the corners of faces or strips, as int64."""
    if known := next((columns[name] for name in CORNERS if name in columns), None):
        with np.errstate(invalid="ignore"):
            indices = known[0].astype(np.int64)
        if (indices != known[0]).any():
            raise MeshError("unreadable", f"expected integer indices of corners of {name}, got others")
        return np.where(indices == 2**32 - 1, END_OF_STRIP, indices), known[1]
    if columns and len(next(iter(columns.values()))[1]):
        raise MeshError("unreadable", f"expected {name} with {CORNERS[0]}, got {', '.join(columns)}")
    return np.zeros(0, np.int64), np.zeros(0, np.int64)
