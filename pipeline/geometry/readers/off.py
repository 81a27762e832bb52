"""Object File Format, as Geomview has it: `[ST][C][N][4]OFF`, counts, a vertex a line, a face a line.

The keyword may be missing or stand right before the counts (`OFF490 518 0`, as in ModelNet), lines may be wrapped where
no colours make that ambiguous, `#` begins a comment.
"""

from __future__ import annotations

import re

import numpy as np

from pipeline.geometry.errors import MeshError
from pipeline.geometry.readers.polygons import triangulated
from pipeline.geometry.readers.text import plain

_COMMENT = re.compile(rb"#[^\n]*")
_KEYWORD = re.compile(rb"\s*(ST)?(C)?(N)?(4)?(n)?(?:OFF|off)[ \t]*(BINARY)?")
# Of vertices, faces and, often forgotten, edges, in one line; or else the three of them wherever lines end.
_COUNTS = re.compile(
    rb"\s*(\d+)[ \t]+(\d+)(?:[ \t]+\d+)?[ \t]*(?:\n(?!\s*\d+[ \t]*\n)|\Z)|\s*(\d+)\s+(\d+)\s+\d+(?=\s|\Z)"
)


def read(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N, 3) float64 and triangles (M, 3) int64, not checked.

    Raises:
        MeshError: `unreadable`, `unsupported` (binary, or of other dimensions than three), `truncated` (fewer vertices
            or faces than announced), `bad_count` (more).
    """
    letters, n_vertices, n_faces, lines = opened(data)
    size = 4 if "4" in letters else 3
    try:
        positions, faces = by_lines(lines, n_vertices, n_faces, size)
    except Wrapped:
        if letters.strip("4"):
            _refuse_short(len(lines), n_vertices, n_faces)
            raise MeshError("unreadable", "expected a vertex or face with its colours a line, got others") from None
        positions, faces = _by_numbers(b" ".join(lines).split(), n_vertices, n_faces, size)
    if size == 4:
        positions = positions[:, :3] / positions[:, 3:]
    return positions, triangulated(positions, *faces)


def opened(data: bytes) -> tuple[str, int, int, list[bytes]]:
    """The letters before OFF, how many vertices and faces are announced, and the lines behind, none of them empty."""
    text = _COMMENT.sub(b"", plain(data))
    letters = ""
    if keyword := _KEYWORD.match(text):
        if keyword[5] or keyword[6]:
            raise MeshError("unsupported", f"expected OFF in text and three dimensions, got '{keyword[0].decode()}'")
        letters = b"".join(filter(None, keyword.groups())).decode()
        text = text[keyword.end() :]
    announced = _COUNTS.match(text)
    if not announced:
        raise MeshError("unreadable", f"expected OFF and counts of vertices and faces, got {data[:40]!r}")
    n_vertices, n_faces = (int(count) for count in announced.groups() if count is not None)
    lines = [line for line in text[announced.end() :].split(b"\n") if line and not line.isspace()]
    return letters, n_vertices, n_faces, lines


class Wrapped(Exception):
    """Lines are no vertices and faces."""


Faces = tuple[np.ndarray, np.ndarray]  # corners of all, flat, and the number of each one's


def by_lines(lines: list[bytes], n_vertices: int, n_faces: int, size: int) -> tuple[np.ndarray, Faces]:
    """As almost all files are: a vertex a line, and then a face a line, with whatever colours behind."""
    vertices = [line.split() for line in lines[:n_vertices]]
    faces = [line.split() for line in lines[n_vertices : n_vertices + n_faces]]
    if len(lines) < n_vertices + n_faces or min(map(len, vertices), default=size) < size:
        raise Wrapped
    counts = _whole([face[0] for face in faces])
    _refuse_negative(counts)
    if any(len(face) <= count for face, count in zip(faces, counts.tolist(), strict=True)):
        raise Wrapped
    if rest := lines[n_vertices + n_faces :]:
        raise MeshError("bad_count", f"expected {n_faces} faces as announced, found {len(rest)} lines more")
    positions = _numbers([number for vertex in vertices for number in vertex[:size]])
    corners = _whole([i for face, count in zip(faces, counts.tolist(), strict=True) for i in face[1 : count + 1]])
    return positions.reshape(-1, size), (corners, counts)


def _by_numbers(words: list[bytes], n_vertices: int, n_faces: int, size: int) -> tuple[np.ndarray, Faces]:
    """Wherever lines end: all of the vertices' numbers, and then faces, each with its own count in front."""
    positions = _numbers(words[: size * n_vertices])
    if len(positions) < size * n_vertices:
        _refuse_short(len(positions) // size, n_vertices, n_faces)
    rest = _whole(words[size * n_vertices :])
    places = []
    place = 0
    for face in range(n_faces):
        if place >= len(rest) or place + 1 + rest[place] > len(rest):
            _refuse_short(n_vertices + face, n_vertices, n_faces)
        _refuse_negative(rest[place])
        places.append(place)
        place += 1 + int(rest[place])
    if place < len(rest):
        raise MeshError("bad_count", f"expected {n_faces} faces as announced, found {len(rest) - place} numbers more")
    return positions.reshape(-1, size), (np.delete(rest, places), rest[places])


def _refuse_short(found: int, n_vertices: int, n_faces: int) -> None:
    vertices, faces = min(found, n_vertices), max(found - n_vertices, 0)
    if found < n_vertices + n_faces:
        raise MeshError(
            "truncated",
            f"expected {n_vertices} vertices and {n_faces} faces as announced, found {vertices} and {faces}",
        )


def _refuse_negative(counts: np.ndarray) -> None:
    if counts.min(initial=0) < 0:
        raise MeshError("unreadable", f"expected numbers of corners, got {counts.min()}")


def _numbers(words: list[bytes]) -> np.ndarray:
    try:
        return np.array(words, np.float64)
    except ValueError as error:
        raise MeshError("unreadable", f"expected numbers, got {error}") from error


def _whole(words: list[bytes]) -> np.ndarray:
    try:
        numbers = np.array(words, np.int64)
    except (ValueError, OverflowError) as error:
        raise MeshError("unreadable", f"expected counts and indices of corners, got {error}") from error
    return numbers
