"""The looks of a Wavefront OBJ: materials of its MTL files, texture coordinates, colours of vertices.

Kd and map_Kd are taken as pictures have colours, and multiplied, as the MTL specification says; but for a Kd of 0,
which programs write that leave all to the map. Of the map's options, `-s` and `-o` count. Other maps are left out.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.geometry.errors import MeshError
from pipeline.geometry.looks import textures
from pipeline.geometry.looks.appearance import GRAY, WHITE, Looks, Surface, bared
from pipeline.geometry.looks.textures import Beside, sound, wrapped
from pipeline.geometry.readers.obj import BLANKS, CONTINUED, NAME
from pipeline.geometry.readers.polygons import triangulated
from pipeline.geometry.readers.text import plain

DAMAGED = -2
FARTHEST = 1 << 62  # an index, where 64 bits would not do
OPTIONS = {"-o": 3, "-s": 3, "-t": 3, "-mm": 2}  # of a map, and how many numbers follow at most; all others take one
_BLANKS, _COMMENT = re.compile(rb"[ \t]+"), re.compile(rb"(?:^|(?<=[ \t]))#[^\n]*", re.M)  # names may have a #
_NAMED = re.compile(rb"^[ \t]*mtllib[ \t]+([^\n]+)", re.M)


@dataclass
class Material:
    """Of an MTL file: colour (3,), a texture's name, and how its coordinates are scaled and moved."""

    colour: tuple[float, ...] | None = None
    texture: str = ""
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Polygons:
    """The faces of an OBJ file.

    Attributes:
        positions: (V, 3) float64; `shades` (V, 3) of their colours in [0, 1], None where not all have one.
        coordinates: (T, 2) float64, of textures.
        corners, uv: indices into these of all corners, face after face; uv is -1 where a corner has no coordinates,
            and DAMAGED where it names some that are not there or none.
        counts, material: (F,) of each face, how many corners it has and which of `names` it is made of.
        names: of materials; the first is empty.
    """

    positions: np.ndarray
    shades: np.ndarray | None
    coordinates: np.ndarray
    corners: np.ndarray
    uv: np.ndarray
    counts: np.ndarray
    material: np.ndarray
    names: list[bytes]


def named(data: bytes, beside: Beside) -> list[str]:
    """Names of the MTL files and of the textures that they name, sorted."""
    libraries = _libraries(data, beside)
    known = [material for name in libraries for material in _materials(beside(name) or b"").values()]
    return sorted({*libraries, *(material.texture for material in known if material.texture)})


def read(data: bytes, beside: Beside) -> Surface | None:
    """The triangles and looks of an OBJ file that was found sound; None where it names no material that is there."""
    known: dict[bytes, Material] = {}
    for name in _libraries(data, beside):
        known = _materials(beside(name) or b"") | known
    found = polygons(data)
    if found.shades is None and known.keys().isdisjoint(found.names):
        return None
    triangles = triangulated(found.positions[found.corners], np.arange(len(found.corners)), found.counts)
    materials = [known.get(name, Material()) for name in found.names]
    pictures = [textures.read(beside(m.texture)) if m.texture else None for m in materials]
    shaded = found.shades is not None
    of_corner = np.repeat(found.material, found.counts)
    scale, offset = (np.array([getattr(m, name) for m in materials])[of_corner] for name in ("scale", "offset"))
    uv = np.where(found.uv[:, None] >= 0, found.coordinates[found.uv.clip(0)], 0) * scale + offset
    damaged = (found.uv == DAMAGED) | ~sound(uv)
    shade = np.ones((len(triangles), 3, 3)) if found.shades is None else found.shades[found.corners][triangles]
    looks = Looks(
        of_corner[triangles[:, 0]],
        wrapped(np.where(damaged[:, None], 0, uv)[triangles]),
        shade.astype(np.float32),
        np.array([_colour(*each, shaded) for each in zip(materials, pictures, strict=True)]),
        tuple(WHITE if picture is None else picture for picture in pictures),
        np.arange(len(triangles)),
    )
    bare = np.array([_colour(material, None, shaded) for material in materials])
    looks = bared(looks, damaged[triangles].any(axis=1), bare)
    return Surface(found.positions[found.corners][triangles], looks)


def _colour(material: Material, picture: np.ndarray | None, shaded: bool) -> np.ndarray:
    """(3,) float32 of a material; `shaded`: corners have colours of their own."""
    colour = material.colour
    if colour is None:
        colour = (1.0 if shaded or picture is not None else GRAY,) * 3
    elif picture is not None and not any(colour):
        colour = (1.0,) * 3
    return np.clip(colour, 0, 1).astype(np.float32)


def polygons(data: bytes) -> Polygons:
    """The faces of an OBJ file, with what says how they look; texture coordinates that are none are NaN."""
    positions, shades = [], []
    coordinates: list[list[float]] = []
    corners: list[bytes] = []
    counts, material, before = [], [], []  # before: positions and coordinates so far, from where a face counts back
    names = {b"": 0}
    current = 0
    for key, rest in _statements(data):
        if key == b"v":
            words = _before_comment(rest)
            positions.append(words[:3])
            shades.append(words[3:6])
        elif key in (b"f", b"fo") and len(words := _before_comment(rest)) >= 3:
            corners += words
            counts.append(len(words))
            material.append(current)
            before.append((len(positions), len(coordinates)))
        elif key == b"vt":
            words = _before_comment(rest)[:2]
            numbers = _numbers(words)
            coordinates.append([*numbers, 0.0][:2] if 0 < len(numbers) == len(words) else [np.nan, np.nan])
        elif key == b"usemtl":
            current = names.setdefault(_BLANKS.sub(b" ", rest), len(names))
    pairs = _pairs(corners)
    known = np.repeat(np.array(before, np.int64).reshape(-1, 2), counts, axis=0)
    places = np.where(pairs < 0, known + pairs, pairs - 1)
    there = (places[:, 1] >= 0) & (places[:, 1] < len(coordinates))
    coloured = all(len(shade) == 3 for shade in shades)
    return Polygons(
        np.array(positions, np.float64).reshape(-1, 3),
        np.array(shades, np.float64).clip(0, 1) if coloured else None,
        np.array(coordinates or [[0.0, 0.0]]),
        places[:, 0],
        np.where(there, places[:, 1], np.where(pairs[:, 1], DAMAGED, -1)),
        np.array(counts, np.int64),
        np.array(material, np.int64),
        list(names),
    )


def _before_comment(rest: bytes) -> list[bytes]:
    """The words of numbers, which a comment may follow without a blank."""
    return rest.partition(b"#")[0].split()


def _pairs(corners: list[bytes]) -> np.ndarray:
    """(C, 2) int64: indices of position and texture coordinates of corners as `7`, `7/2`, `7//1`, `7/2/1`; 0: none."""
    text = b" ".join(corners)
    if b"/" not in text:
        first = np.array(corners, np.int64)
        return np.stack([first, np.zeros_like(first)], axis=1)
    if b"//" not in text and text.count(b"/") % len(corners) == 0:
        numbers = text.replace(b"/", b" ").split()
        width = 1 + text.count(b"/") // len(corners)
        if len(numbers) == width * len(corners) and all(c.count(b"/") == width - 1 for c in corners):
            with contextlib.suppress(ValueError, OverflowError):
                return np.array(numbers, np.int64).reshape(-1, width)[:, :2]
    split = [(*corner.split(b"/"), b"") for corner in corners]
    return np.array([(int(words[0]), _index(words[1])) for words in split], np.int64).reshape(-1, 2)


def _index(word: bytes) -> int:
    """Of texture coordinates, 0 where there are none; one past all others where it is no number."""
    try:
        return min(max(int(word or 0), -FARTHEST), FARTHEST)
    except ValueError:
        return FARTHEST


def _statements(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keyword and rest of each statement of an OBJ or MTL file, comments left out, continued lines joined."""
    data = plain(data)
    for blank in BLANKS:
        data = data.replace(blank, b" ")
    if b"#" in data:
        data = _COMMENT.sub(b"", data)
    if b"\\" in data:
        data = CONTINUED.sub(b" ", NAME.sub(rb"\1", data))
    for line in data.splitlines():
        key, _, rest = line.strip().partition(b" ")
        if key:
            yield key, rest.strip()


def _libraries(data: bytes, beside: Beside) -> list[str]:
    """The MTL files that an OBJ file names: one, whose name may have blanks in it, or several."""
    found: list[str] = []
    for match in _NAMED.finditer(plain(data)):
        whole = _COMMENT.sub(b"", match[1]).strip()
        several = b" " in whole and beside(_text(whole)) is None
        found += map(_text, whole.split() if several else [whole])
    return list(dict.fromkeys(found))


def _materials(data: bytes) -> dict[bytes, Material]:
    """The materials of an MTL file, by name; none of what is no text."""
    found: dict[bytes, Material] = {}
    current = Material()
    try:
        statements = list(_statements(data))
    except MeshError:
        return found
    for key, rest in statements:
        if key == b"newmtl":
            current = found.setdefault(_BLANKS.sub(b" ", rest), Material())
        elif key == b"Kd" and (numbers := _numbers(rest.split())):
            current.colour = tuple(numbers[:3] if len(numbers) >= 3 else numbers[:1] * 3)  # one stands for three
        elif key.lower() == b"map_kd":
            _take_map(current, rest)
    return found


def _take_map(material: Material, rest: bytes) -> None:
    """Takes in `-option value ... file`, which stands behind `map_Kd`."""
    while match := re.match(rb"(-[a-z]+) +", rest):
        option, rest = match[1].decode(), rest[match.end() :]
        most = OPTIONS.get(option, 0)
        given = _numbers(rest.split()[:most])
        rest = (rest.split(None, len(given) if most else 1) + [b""] * 4)[len(given) if most else 1]
        if option == "-s" and given:
            material.scale = (given[0], given[1] if len(given) > 1 else 1.0)
        elif option == "-o" and given:
            material.offset = (given[0], given[1] if len(given) > 1 else 0.0)
    material.texture = _text(rest)


def _numbers(words: list[bytes]) -> list[float]:
    """The numbers that the words begin with."""
    found: list[float] = []
    for word in words:
        try:
            found.append(float(word))
        except ValueError:
            break
    return found if np.isfinite(found).all() else []


def _text(words: bytes) -> str:
    return words.decode("utf-8", "replace").strip("\"'")
