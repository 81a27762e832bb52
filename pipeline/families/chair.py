"""Chairs: on legs, pedestal, runners or a block; ten kinds of back, some with arms."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.random import Generator

from pipeline.families.furniture import arms, backrest, legs, pedestal, sled
from pipeline.families.solids import Part, Piece, Shape, Span, box, chain, lathe, leaned, pick, ring


def chair(rng: Generator) -> Shape:
    u = rng.uniform
    x, z, y, t = u(0.2, 0.28), u(0.2, 0.27), u(0.38, 0.5), u(0.035, 0.09)
    base = pick(rng, legs=0.52, pedestal=0.16, sled=0.1, cantilever=0.08, block=0.14)
    back = pick(rng, solid=3, tapered=2, oval=1.5, sling=1.5, gap=1.5, ladder=2, slats=2, spindles=1.5, tub=1.5)
    if back == "tub":
        base = "drum" if base == "block" else base
        return Shape.of(tub(rng, x, z, y) + chair_base(rng, base, 0.72 * x, 0.72 * z, y - 0.5 * t))
    is_round = base == "pedestal" and rng.random() < 0.5
    pieces = chair_base(rng, base, x, z, y - 0.5 * t) + seat(rng, x, (y - t, y), z, is_round)
    width, rear = (0.6 * x, 0.88 * z) if is_round else (rng.choice([0.98, u(0.8, 0.98)]) * x, z)
    upright = backrest(rng, back, width, (y - 0.7 * t, y + u(0.34, 0.62)), rear, u(0.025, 0.06))
    pieces += leaned(upright, y, rng.choice([0.0, u(0.08, 0.25)]))
    if not is_round and rng.random() < 0.35:
        pieces += arms(rng, x, y, (-u(0.6, 1.0) * z, z), u(0.18, 0.26), u(0.035, 0.06))
    return Shape.of(pieces)


def seat(rng: Generator, x: float, y: Span, z: float, is_round: bool) -> list[Piece]:
    t = y[1] - y[0]
    if is_round:
        rims = ((0.0, 0.9), (0.4, 1.0), (0.8, 1.0), (1.0, 0.9))
        return chain(ring((0, y[0] + h * t, 0), (s * x, s * z)) for h, s in rims)
    if rng.random() < 0.35:
        narrow = rng.uniform(0.75, 0.9) * x
        outline = [(-x, -z), (x, -z), (narrow, z), (-narrow, z)]
        return [Part.hull(np.array([(a, h, b) for h in y for a, b in outline]))]
    return [box((-x, x), y, (-z, z), rng.choice([0.0, 0.4 * t]))]


def chair_base(rng: Generator, style: str, x: float, z: float, top: float) -> list[Piece]:
    u, radius = rng.uniform, rng.uniform(0.018, 0.03)
    if style == "legs":
        return legs(rng, x, z, top, radius)
    if style == "pedestal":
        return pedestal(rng, u(0.8, 1.15) * x, top, radius)
    if style == "block":
        return [box((-x, x), (u(0.0, 0.1), top), (-z, z)), *legs(rng, x, z, 0.15, radius)]
    if style == "drum":
        waist = u(0.85, 1.2) * x
        return lathe([(waist, 0), (waist, 0.35 * top), (1.15 * x, top)], sides=20)
    return sled(x, z, top, radius, cantilever=style == "cantilever")


def tub(rng: Generator, x: float, z: float, y: float) -> list[Piece]:
    """Round seat with a back that wraps around it, higher behind than at its ends."""
    u, walls = rng.uniform, []
    t, reach, drop, height = u(0.03, 0.06), np.radians(u(70, 115)), u(0.0, 0.7), u(0.25, 0.42)
    for a in np.linspace(-reach, reach, 13):
        top = y + height * (1 - drop * (a / reach) ** 2)
        ends = product(((y - 0.08, 0.95), (top, 1.08)), (0, t))
        walls.append(np.array([((s * x - k) * np.sin(a), h, (s * z - k) * np.cos(a)) for (h, s), k in ends]))
    cushion = [ring((0, h, 0), (s * x, s * z), 1, 20) for h, s in ((y - 0.09, 0.85), (y, 0.98))]
    return chain(cushion) + chain(walls)
