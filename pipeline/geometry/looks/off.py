"""The looks of an OFF file: colours of vertices (COFF) and of faces, from 0 to 255 or, with a point, from 0 to 1.

Format: Geomview's manual, "OFF Files". Colours by index into a map of Geomview's own are left out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.geometry.looks.appearance import GRAY, Surface, flat
from pipeline.geometry.readers import off
from pipeline.geometry.readers.polygons import triangulated


def read(data: bytes) -> Surface | None:
    """The triangles and looks of an OFF file that was found sound; None where it has no colours."""
    letters, n_vertices, n_faces, lines = off.opened(data)
    if "4" in letters:
        return None
    try:
        places, (corners, counts) = off.by_lines(lines, n_vertices, n_faces, 3)
    except off.Wrapped:
        return None
    first = 6 if "N" in letters else 3  # behind position and normal
    of_vertex = [_colour(row.split()[first:]) if "C" in letters else None for row in lines[:n_vertices]]
    rows = zip(lines[n_vertices:], counts.tolist(), strict=True)
    of_face = [_colour(row.split()[count + 1 :]) for row, count in rows]
    if not any(of_vertex) and not any(of_face):
        return None
    gray = (GRAY,) * 3
    shown = np.repeat(np.array([colour or gray for colour in of_face]), counts, axis=0)
    if any(of_vertex):
        shown = np.array([colour or gray for colour in of_vertex])[corners]
    positions = places[corners]
    triangles = triangulated(positions, np.arange(len(corners)), counts)
    looks = flat(np.zeros(len(triangles), np.int64), np.ones((1, 3), np.float32))
    return Surface(positions[triangles], replace(looks, shade=shown[triangles].astype(np.float32)))


def _colour(words: list[bytes]) -> tuple[float, ...] | None:
    """Red, green and blue in [0, 1], None where there is no colour."""
    if len(words) not in (3, 4):
        return None
    most = 1 if any(b"." in word for word in words) else 255
    return tuple(min(max(float(word) / most, 0.0), 1.0) for word in words[:3])
