"""The looks of an OFF file: colours of vertices (COFF) and of faces, from 0 to 255 or, with a point, from 0 to 1.

Format: Geomview's manual, "OFF Files". Colours by index into a map of Geomview's own are left out.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from pipeline.geometry.looks.appearance import GRAY, Surface, flat
from pipeline.geometry.readers.polygons import triangulated
from pipeline.geometry.readers.text import plain as as_text

_HEADER = re.compile(rb"\s*(ST)?(C)?(N)?OFF\b")


def read(data: bytes) -> Surface | None:
    """The triangles and looks of an OFF file that was found sound; None where it has no colours."""
    lines = [line for line in (row.partition(b"#")[0].split() for row in as_text(data).splitlines()) if line]
    if not (match := _HEADER.match(b" ".join(lines[0]))):
        return None
    if not (rest := lines[0][1:]):
        rest = lines[1]
        lines = lines[1:]
    vertices, faces = int(rest[0]), int(rest[1])
    rows, polygons = lines[1 : vertices + 1], lines[vertices + 1 : vertices + faces + 1]
    polygons = [row for row in polygons if int(row[0]) >= 3]
    counts = np.array([int(row[0]) for row in polygons], np.int64)
    first = 6 if match[3] else 3  # behind position and normal
    of_vertex = [_colour(row[first:]) if match[2] else None for row in rows]
    of_face = [_colour(row[int(row[0]) + 1 :]) for row in polygons]
    if not any(of_vertex) and not any(of_face):
        return None
    corners = np.array([int(index) for row in polygons for index in row[1 : int(row[0]) + 1]], np.int64)
    gray = (GRAY,) * 3
    plain = np.array([colour or gray for colour in of_face])
    shown = np.repeat(plain, counts, axis=0)
    if any(of_vertex):
        shown = np.array([colour or gray for colour in of_vertex])[corners]
    positions = np.array([row[:3] for row in rows], np.float64)[corners]
    triangles = triangulated(positions, np.arange(len(corners)), counts)
    looks = flat(np.zeros(len(triangles), np.int64), np.ones((1, 3), np.float32))
    return Surface(positions[triangles], replace(looks, shade=shown[triangles].astype(np.float32)))


def _colour(words: list[bytes]) -> tuple[float, ...] | None:
    """Red, green and blue in [0, 1], None where there is no colour."""
    if len(words) not in (3, 4):
        return None
    most = 1 if any(b"." in word for word in words) else 255
    return tuple(min(max(float(word) / most, 0.0), 1.0) for word in words[:3])
