r"""Wavefront OBJ: `v` and `f`.

Other statements are passed over, but for those that make a shape of their own (free-form surfaces) or fetch it from
elsewhere (`call`), which are refused by name. A statement may be indented, may go on in the next line after a `\` and
may be followed by a comment, which ends at its line, whatever stands at its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

import numpy as np

from pipeline.geometry.errors import MeshError
from pipeline.geometry.readers.polygons import triangulated
from pipeline.geometry.readers.text import plain

BLOCK = 1 << 23  # bytes that are split into lines at a time
_COMMENT = re.compile(rb"#[^\n]*")
NAME = re.compile(rb"^([ \t]*(?:g|o|usemtl|mtllib|usemap|maplib)[ \t][^\n]*?)\\+[ \t]*$", re.M)  # perhaps of Windows
CONTINUED = re.compile(rb"\\[ \t]*\n")
BLANKS = (b"\t", b"\v", b"\f")  # besides spaces
_INDENT = re.compile(rb"^ +", re.M)
_ATTRIBUTES = re.compile(rb"/[^\s]*")  # texture and normal indices of a face's corner
_FOREIGN = {b"surf", b"bzp", b"bsp", b"cdp", b"call", b"V", b"F"}
_NUMBERS = b"0123456789+-."
_WHOLE = {b"v": 3, b"f": 3, b"vt": 1, b"vn": 3}  # numbers that a statement has at least


def read(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N, 3) float64 and triangles (M, 3) int64, 0-based and not checked.

    Indices may be negative (relative to the vertices so far). Unlike trimesh's reader it tells a file cut in the middle
    of a statement (a cut that leaves a whole statement can't be told), mixed `v` and `v//vn` corners, and index 0
    (returned as -1, so that the range check finds it). Faces of fewer than three corners inside the file are dropped,
    as other readers do.

    Raises:
        MeshError: `unreadable` for malformed numbers and lines of numbers that belong to no statement, `truncated`
            where the last statement stops half-way and no line end follows, `unsupported`.
    """
    data = _statements(plain(data))
    vertices, indices, counts = [np.zeros((0, 3))], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    known = 0
    for block in _blocks(data):
        lines = block.splitlines()
        kinds = [line[:2] for line in lines]
        _refuse_odd(kinds, lines)
        positions = _positions([line[2:] for line, kind in zip(lines, kinds, strict=True) if kind == b"v "])
        corners, sizes = _corners([line[2:] for line, kind in zip(lines, kinds, strict=True) if kind == b"f "])
        if corners.size and corners.min() < 0:
            corners = _absolute(kinds, lines, corners, sizes, known)
        known += len(positions)
        for whole, part in ((vertices, positions), (indices, corners), (counts, sizes)):
            whole.append(part)
    positions = np.concatenate(vertices)
    return positions, triangulated(positions, np.concatenate(indices) - 1, np.concatenate(counts))


def _statements(data: bytes) -> bytes:
    """A statement a line, its keyword in front, with no blanks but spaces."""
    if b"#" in data:
        data = _COMMENT.sub(b"", data)
    if b"\\" in data:
        data = NAME.sub(rb"\1", data)
        if data.rstrip().endswith(b"\\"):
            raise MeshError("truncated", "expected a last statement that does not go on, got a backslash at its end")
        data = CONTINUED.sub(b" ", data)
    for blank in BLANKS:
        data = data.replace(blank, b" ")
    if data[:1] == b" " or b"\n " in data:
        data = _INDENT.sub(b"", data)
    data = data.replace(b"\nfo ", b"\nf ")  # as the format's second version had it
    _refuse_cut(data[data.rfind(b"\n") + 1 :])
    return data


def _refuse_odd(kinds: list[bytes], lines: list[bytes]) -> None:
    """Tells statements that make or fetch a shape in other ways, and what is no statement at all."""
    foreign = {word[:2].ljust(2) for word in _FOREIGN}
    if not any(kind[0] in _NUMBERS or kind in foreign for kind in set(kinds) if kind):
        return
    for line in lines:
        found = line[:60].decode("ascii", "replace")
        if (keyword := line.split()[:1]) and keyword[0] in _FOREIGN:
            raise MeshError("unsupported", f"expected polygons, got a statement '{keyword[0].decode()}': '{found}'")
        if line and line[0] in _NUMBERS:
            raise MeshError("unreadable", f"expected a statement, got a line of numbers: '{found}'")


def _refuse_cut(last: bytes) -> None:
    """Tells a last statement without a line end that stops half-way, between its numbers or in a face's corner."""
    keyword, *values = last.split() or [b""]
    short = len(values) < _WHOLE.get(keyword, 0)
    *others, final = [value.count(b"/") for value in values] or [0]
    halved = len(set(others)) == 1 and (final < others[0] or (last.endswith(b"/") and not values[0].endswith(b"/")))
    if short or (keyword == b"f" and halved):
        raise MeshError("truncated", f"expected a whole last line, got '{last[:60].decode('ascii', 'replace')}'")


def _blocks(data: bytes) -> Iterator[bytes]:
    """The lines of a file, some megabytes at a time: as Python's objects they take twenty times the room."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start + BLOCK) + 1 or len(data)
        yield data[start:end]
        start = end


def _positions(lines: list[bytes]) -> np.ndarray:
    """The first three numbers of each line; a line may carry a weight or a colour as well."""
    columns = len(lines[0].split()) if lines else 3
    try:
        numbers = np.array(b" ".join(lines).split(), dtype=np.float64)
        if columns >= 3 and numbers.size == columns * len(lines):
            return numbers.reshape(-1, columns)[:, :3]
        return np.array([line.split()[:3] for line in lines], dtype=np.float64).reshape(-1, 3)
    except ValueError as error:
        raise MeshError("unreadable", f"expected three numbers a vertex, got {error}") from error


def _corners(lines: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Vertex indices of all faces, flat, and the number of corners of each face; faces of under three left out."""
    text = b"\n".join(lines)
    if b" /" in text:
        raise MeshError("unreadable", "expected corners as '7/2/1', got blanks before a slash")
    if b"/" in text:
        lines = _ATTRIBUTES.sub(b"", text).split(b"\n")
    corners = [line.split() for line in lines]
    counts = np.fromiter(map(len, corners), np.int64, len(corners))
    try:
        indices = np.array(list(chain.from_iterable(corners)), dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise MeshError("unreadable", f"expected integer vertex indices, got {error}") from error
    whole = counts >= 3
    return indices[np.repeat(whole, counts)], counts[whole]


def _absolute(
    kinds: list[bytes], lines: list[bytes], indices: np.ndarray, counts: np.ndarray, known: int
) -> np.ndarray:
    """Resolves negative indices, which count back from the last vertex before the face; `known` precede the lines."""
    is_vertex = np.array([kind == b"v " for kind in kinds])
    is_face = np.array([kind == b"f " and len(line.split()) > 3 for line, kind in zip(lines, kinds, strict=True)])
    before = known + np.repeat(np.cumsum(is_vertex)[is_face], counts)
    return np.where(indices < 0, before + 1 + indices, indices)
