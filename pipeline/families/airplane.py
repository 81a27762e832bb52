"""Aeroplanes: airliners, business jets, fighters, light planes, gliders, biplanes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.random import Generator

from pipeline.families.solids import (
    Part,
    Piece,
    Point,
    Shape,
    Span,
    bar,
    box,
    chain,
    ellipsoid,
    mirrored,
    pick,
    ring,
    taper,
    vector,
)

# An aeroplane is drawn one unit long. A body's stations: share of the length, of the radius, height in radii.
TUBE = [
    (0, 0.12, -0.3),
    (0.02, 0.45, -0.2),
    (0.06, 0.8, -0.08),
    (0.12, 1, 0),
    (0.66, 1, 0),
    (0.86, 0.6, 0.32),
    (1, 0.14, 0.62),
]
DART = [(0, 0.04, -0.15), (0.12, 0.4, -0.1), (0.3, 0.85, 0), (0.5, 1, 0), (0.85, 0.95, 0), (1, 0.7, 0)]
POD = [(0, 0.5, 0), (0.05, 0.75, 0), (0.18, 0.95, 0), (0.42, 1, 0), (0.7, 0.5, 0.25), (1, 0.2, 0.4)]


def airplane(rng: Generator) -> Shape:
    kind = pick(rng, airliner=4, business=1.5, fighter=3, propeller=2.5, glider=0.7, biplane=0.8)
    make = {"airliner": airliner, "business": airliner, "fighter": fighter}.get(kind, light_plane)
    length = {"airliner": 40.0, "business": 18.0, "fighter": 16.0}.get(kind, 8.0) * rng.uniform(0.8, 1.25)
    return Shape.of(make(rng, kind)).transformed(length, np.zeros(3))


def body(radii: Span, stations: Sequence[tuple[float, float, float]], power: float = 2.0) -> list[Piece]:
    a, b = radii
    return chain(ring((0, h * b, s - 0.5), (r * a, r * b), 2, 14, power) for s, r, h in stations)


def foil(root: Point, tip: Point, chords: Span, thickness: Span, up: Point = (0, 1, 0)) -> Part:
    """Wing or fin between two leading-edge points; chords run towards +Z, thickness along `up`."""
    outline = np.array([(0, 0.08), (0.15, 0.42), (0.4, 0.5), (1, 0.1)])
    outline = np.concatenate([outline, outline * (1, -1)])
    ends = [
        np.asarray(point) + outline[:, :1] * chord * vector(0, 0, 1) + outline[:, 1:] * thick * np.asarray(up)
        for point, chord, thick in zip((root, tip), chords, thickness, strict=True)
    ]
    return Part.hull(np.concatenate(ends))


def fin(foot: Point, top: Point, chords: Span, thick: float) -> Part:
    return foil(foot, top, chords, (thick, 0.8 * thick), (1, 0, 0))


def engine(centre: Point, length: float, radius: float) -> list[Piece]:
    x, y, z = centre
    stations = [(-0.5, 0.82), (-0.38, 1.0), (0.1, 0.95), (0.5, 0.55)]
    return chain(ring((x, y, z + s * length), (r * radius, r * radius), 2, 12) for s, r in stations)


def propeller(rng: Generator, hub: Point, radius: float) -> list[Piece]:
    pieces: list[Piece] = []
    count, turn = int(rng.choice([2, 3, 4])), rng.uniform(0, np.pi)
    for angle in turn + 2 * np.pi * np.arange(count) / count:
        out, up = vector(np.cos(angle), np.sin(angle), 0), vector(np.sin(angle), -np.cos(angle), 0)
        pieces += [foil(hub, hub + radius * out, (0.02, 0.02), (0.035, 0.024), up)]
    return pieces


def airliner(rng: Generator, kind: str) -> list[Piece]:
    """Tube with swept wings; engines under the wings or at the tail; normal or T tail; some with winglets."""
    u, r, high = rng.uniform, rng.uniform(0.045, 0.065), rng.random() < 0.15
    span, sweep, rise, chord, size = u(0.42, 0.52), u(0.35, 0.65), u(0.03, 0.12), u(0.17, 0.22), u(0.45, 0.6) * r
    root = vector(0, (0.8 if high else -0.6) * r, -u(0.04, 0.1))
    edge = span * vector(1, -0.3 * rise if high else rise, sweep)
    knee, tip, chords = root + 0.38 * edge, root + edge, (chord, u(0.55, 0.65) * chord, u(0.2, 0.32) * chord)
    side: list[Piece] = [foil(root, knee, chords[:2], (0.035, 0.026)), foil(knee, tip, chords[1:], (0.026, 0.018))]
    if rng.random() < 0.45:
        up = span * vector(0.03, 0.09, 0.09)
        side += [foil(tip, tip + up, (chords[2], 0.5 * chords[2]), (0.018, 0.016), (1, 0, 0))]
    rear = kind == "business" or rng.random() < 0.2
    if rear:
        side += engine((r + 0.8 * size, 0.35 * r, 0.26), 4.2 * size, size)
        side += [box((0.5 * r, r + size), (0.25 * r, 0.5 * r), (0.26 - size, 0.26 + size))]
    else:
        for share in [0.33] if rng.random() < 0.65 else [0.3, 0.6]:
            x, y, z = root + share * edge
            drop = 1.05 * size + 0.01
            side += engine((x, y - drop, z - 0.5 * size), 3.6 * size, size)
            side += [box((x - 0.2 * size, x + 0.2 * size), (y - drop, y), (z - 0.5 * size, z + 0.5 * chords[1]))]
    return body((r, u(1.0, 1.15) * r), TUBE) + mirrored(side) + tail(rng, r, rear or rng.random() < 0.15)


def tail(rng: Generator, radius: float, high: bool) -> list[Piece]:
    """Swept fin with the stabilisers at its foot or, a T tail, on its top."""
    u = rng.uniform
    foot, height, chord, half = vector(0, 0.5 * radius, 0.33), u(0.13, 0.17), u(0.12, 0.15), u(0.15, 0.19)
    top = foot + height * vector(0, 1, u(0.7, 0.95))
    root = top - vector(0, 0.008, 0) if high else foot + vector(0, 0, 0.3 * chord)
    plane = foil(root, root + half * vector(1, 0.05, u(0.4, 0.65)), (0.75 * chord, 0.35 * chord), (0.025, 0.02))
    return [fin(foot, top, (chord, u(0.45, 0.7) * chord), 0.025), *mirrored([plane])]


def fighter(rng: Generator, kind: str) -> list[Piece]:
    """Pointed jet: delta, swept or trapezoid wings, one or two fins; some with canards or missiles."""
    u, r, twin, thick = rng.uniform, rng.uniform(0.048, 0.062), rng.random() < 0.5, 0.032
    form = pick(rng, delta=1.2, swept=1, trapezoid=1)
    sweep, chord, end, span = {
        "delta": (u(0.9, 1.2), u(0.42, 0.52), 0.05, u(0.27, 0.34)),
        "swept": (u(0.7, 0.95), u(0.24, 0.3), 0.1, u(0.32, 0.42)),
        "trapezoid": (u(0.3, 0.55), u(0.28, 0.34), 0.1, u(0.28, 0.36)),
    }[form]
    root = vector(0, u(-0.2, 0.25) * r, 0.36 - chord)
    tip = root + span * vector(1, u(-0.03, 0.02), sweep)
    tip[2] = min(tip[2], 0.44 - end)
    side: list[Piece] = [foil(root, tip, (chord, end), (thick, 0.7 * thick))]
    side += [box((0.75 * r, (1.3 + 0.4 * twin) * r), (-0.75 * r, 0.35 * r), (-u(0.1, 0.16), 0.35), 0.15 * r)]
    if rng.random() < 0.5:
        side += [bar(tip - vector(0, 0, 0.06), tip + vector(0, 0, 0.13), 0.013)]
    if form != "delta" or rng.random() < 0.4:
        reach, size, z = (0.14, 0.1, -0.2) if form == "delta" else (0.19, 0.13, 0.36)
        plane = vector(0.5 * r, root[1], z)
        side += [foil(plane, plane + reach * vector(1, 0, 0.6), (size, 0.4 * size), (0.7 * thick, 0.6 * thick))]
    foot, height = vector(0.85 * r * twin, 0.4 * r, u(0.24, 0.29)), u(0.13, 0.17)
    upright = fin(foot, foot + height * vector(0.35 * twin, 1, 0.8), (0.19, 0.08), 0.8 * thick)
    if twin:
        exhaust = vector(0.75 * r, -0.1 * r, 0.3)
        side += [upright, bar(exhaust, exhaust + vector(0, 0, 0.22), 0.62 * r, 0.5 * r, 12)]
    canopy = ellipsoid((0, 0.75 * r, -u(0.2, 0.24)), (0.42 * r, 0.65 * r, 0.12))
    return [*body((u(1.0, 1.4) * r, r), DART, u(2.0, 3.2)), canopy, *mirrored(side), *([] if twin else [upright])]


def light_plane(rng: Generator, kind: str) -> list[Piece]:
    """Straight-winged: one propeller at the nose or two on the wings, a biplane, or a glider."""
    u, glider, biplane = rng.uniform, kind == "glider", kind == "biplane"
    r = 0.045 if glider else u(0.065, 0.085)
    high, twin = kind == "propeller" and rng.random() < 0.5, kind == "propeller" and rng.random() < 0.3
    level = 2.3 * r if biplane else (1.45 if high or glider else -0.6) * r
    side = light_wings(rng, r, level, glider, biplane)
    pieces = body((0.85 * r, r), POD, 2.0 if glider else u(2.2, 4.0))
    if kind == "propeller":
        roof = ((-0.55 * r, 0.55 * r), (-0.17, -0.02))
        pieces += [taper((0.6 * r, 1.5 * r), ((-0.75 * r, 0.75 * r), (-0.27, 0.1)), roof)]
    else:
        pieces += [ellipsoid((0, 0.8 * r, -0.15), (0.5 * r, 0.7 * r, 0.1))]
    if twin:
        nose = [(-0.09, 0.1), (-0.06, 0.4), (-0.03, 0.6), (0.14, 0.4)]
        side += chain(ring((0.2, level, z - 0.2), (s * r, s * r), 2, 12) for z, s in nose)
        side += propeller(rng, vector(0.2, level, -0.265), u(0.09, 0.11))
    elif not glider:
        pieces += [bar((0, 0, -0.49), (0, 0, -0.56), 0.3 * r, 0.08 * r)]
        pieces += propeller(rng, vector(0, 0, -0.53), u(0.11, 0.14))
    if not glider:
        side += [bar((0.4 * r, -0.7 * r, -0.14), (0.12, -2 * r, -0.14), 0.014)]
        side += [bar((0.104, -2.05 * r, -0.14), (0.136, -2.05 * r, -0.14), 0.035, sides=12)]
    foot = vector(0, 0.4 * r, 0.38)
    top = foot + vector(0, u(0.13, 0.17), u(0.02, 0.08))
    root = top - vector(0, 0.01, 0) if glider else foot + vector(0, 0.05 * r, 0.01)
    side += [foil(root, root + vector(u(0.17, 0.21), 0, 0.03), (0.11, 0.08), (0.026, 0.022))]
    return [*pieces, fin(foot, top, (0.12, 0.08), 0.026), *mirrored(side)]


def light_wings(rng: Generator, r: float, level: float, glider: bool, biplane: bool) -> list[Piece]:
    """The wing at x > 0, with its struts; a biplane's two."""
    u = rng.uniform
    span, chord = (u(0.85, 1.0), 0.12) if glider else (u(0.5, 0.65), u(0.15, 0.2))
    thick, narrow = 0.04 if glider else 0.034, 0.45 if glider else u(0.45, 1.0)
    out = vector(span, u(0.0, 0.07) * span, 0.5 * (1 - narrow) * chord)
    pieces: list[Piece] = []
    for y in (level, -0.7 * r) if biplane else (level,):
        root = vector(0, y, -0.2)
        pieces += [foil(root, root + out, (chord, narrow * chord), (thick, 0.7 * thick))]
    if biplane:
        struts = product((0.18, 0.42), (-0.17, -0.1))
        return pieces + [bar((x, -0.7 * r, z), (x, level + out[1] * x / span, z), 0.013) for x, z in struts]
    if level > r and not glider:
        pieces += [bar((0.6 * r, -0.5 * r, -0.1), (0.3, level + 0.3 * out[1] / span, -0.1), 0.013)]
    return pieces
