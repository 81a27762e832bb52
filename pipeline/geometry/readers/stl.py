"""STL, binary or text, whatever its first word says: what has the size that its count announces is binary."""

from __future__ import annotations

import re
import struct

import numpy as np

from pipeline.geometry.errors import MeshError
from pipeline.geometry.readers.text import plain

HEAD, ROW = 84, 50  # bytes: a title and the count; a triangle
_FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("rest", "<u2")])
_FACET_BEGINS = re.compile(rb"facet[ \t]+normal")
# facet normal 0 0 1 outer loop vertex 0 0 0 vertex 1 0 0 vertex 0 1 0 endloop endfacet
_WORDS = {0: b"facet", 1: b"normal", 5: b"outer", 6: b"loop", 7: b"vertex", 11: b"vertex", 15: b"vertex"}
_WORDS |= {19: b"endloop", 20: b"endfacet"}
_LENGTH = 21


def read(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Positions (3 M, 3) float64, a triangle's three after another's, and triangles (M, 3) int64, not checked.

    Raises:
        MeshError: `unreadable`, `truncated` (fewer triangles than announced, or a solid without an end), `bad_count`
            (more than announced).
    """
    corners = _binary(data) if _is_binary(data) else _text(data)
    return corners.reshape(-1, 3), np.arange(len(corners) * 3).reshape(-1, 3)


def _is_binary(data: bytes) -> bool:
    if len(data) >= HEAD and len(data) == HEAD + ROW * _count(data):
        return True
    try:
        text = plain(data)
    except MeshError:
        return True
    return text.lstrip()[:5].lower() != b"solid" or b"\0" in text


def _count(data: bytes) -> int:
    return int(struct.unpack_from("<I", data, HEAD - 4)[0])


def _binary(data: bytes) -> np.ndarray:
    """Corners (M, 3, 3)."""
    if len(data) < HEAD:
        raise MeshError("unreadable", f"expected STL, got {len(data)} bytes, less than its head")
    count, room = _count(data), (len(data) - HEAD) // ROW
    if count > room:
        raise MeshError("truncated", f"expected {count} triangles as announced, found room for {room}")
    padding = data[HEAD + ROW * count :]
    if len(padding) >= ROW and padding.strip(b"\0 \r\n"):
        raise MeshError("bad_count", f"expected {count} triangles as its count says, found room for {room}")
    return np.frombuffer(data, _FACET, count, HEAD)["corners"].astype(np.float64)


def _text(data: bytes) -> np.ndarray:
    """Corners (M, 3, 3); normals are not looked at, as what has no area may have any."""
    words, titles, ends = _words(plain(data).lower())
    if titles > ends:
        raise MeshError("truncated", f"expected an end of each of {titles} solids, found {ends}")
    whole = len(words) % _LENGTH == 0 and all(set(words[n::_LENGTH]) <= {word} for n, word in _WORDS.items())
    if not whole or titles < ends:
        raise MeshError("unreadable", "expected facets of a normal and a loop of three vertices, got others")
    try:
        columns = [np.array(words[n::_LENGTH], np.float64) for n in (8, 9, 10, 12, 13, 14, 16, 17, 18)]
    except ValueError as error:
        raise MeshError("unreadable", f"expected three numbers a vertex, got {error}") from error
    return np.stack(columns, axis=1).reshape(-1, 3, 3)


def _words(text: bytes) -> tuple[list[bytes], int, int]:
    """What stands between titles and ends of solids, and how many there are of either.

    Each goes on to the end of its line, or to the first facet in it, and may have any words in it.
    """
    words: list[bytes] = []
    titles = ends = place = 0
    while (start := text.find(b"solid", place)) >= 0:
        before = text[place:start].rstrip()
        if before.endswith(b"end"):
            before, ends = before[:-3], ends + 1
        else:
            titles += 1
        words += before.split()
        place = text.find(b"\n", start) % (len(text) + 1)  # where there is none, the text's end
        if facet := _FACET_BEGINS.search(text, start, place):
            place = facet.start()
    return words + text[place:].split(), titles, ends
