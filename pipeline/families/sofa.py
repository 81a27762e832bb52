"""Sofas, armchairs and corner sofas."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.random import Generator

from pipeline.families.solids import (
    Part,
    Piece,
    Shape,
    Span,
    box,
    chain,
    either_hand,
    leaned,
    mirrored,
    pick,
    post,
    ring,
    spaced,
    taper,
)


def sofa(rng: Generator) -> Shape:
    u, seats, chaise = rng.uniform, int(rng.choice([1, 2, 2, 3, 3, 3, 4])), rng.random() < 0.3
    x, z, y, arm, soft = seats * u(0.27, 0.36), u(0.4, 0.48), u(0.38, 0.46), u(0.1, 0.24), u(0.02, 0.06)
    low, rear, top = rng.choice([0.0, u(0.03, 0.07), u(0.08, 0.16)]), z - u(0.14, 0.26), u(0.68, 0.95)
    style = pick(rng, box=3, rolled=2, sloped=1.5, flared=1, none=1)
    pieces: list[Piece] = [box((-x, x), (low, y - 0.12), (-z, z))]
    pieces += leaned([box((-x, x), (low, top), (rear, z), soft)], low, rng.choice([0.0, u(0.05, 0.2)]))
    pieces += cushions(rng, x, (y, top), (u(0.0, 0.06) - z, rear), seats, soft)
    pieces += mirrored(armrest(style, x, (low, u(0.52, 0.68)), (-z, z), arm))
    feet = list(product((-1.0, 1.0), (0.06 - z, z - 0.06)))
    edge = x - 0.05 if style == "none" else x + 0.5 * arm
    if chaise and seats > 1:
        wide, reach = max(2 * x / seats, 0.6), -z - u(0.5, 0.75)
        pieces += [box((x - wide, x), (low, y - 0.12), (reach, 0))]
        pieces += [box((x - wide, x), (y - 0.14, y), (reach, rear), 0.7 * soft)]
        feet += [((x - 0.06) / edge, reach + 0.06)]
    if low > 0:
        thick, sides = u(0.022, 0.035), int(rng.choice([4, 8]))
        pieces += [post((i * edge, 0, k), (i * edge, low + 0.03, k), 0.8 * thick, thick, sides) for i, k in feet]
    return Shape.of(either_hand(rng, pieces))


def cushions(rng: Generator, x: float, y: Span, z: Span, seats: int, soft: float) -> list[Piece]:
    """Seat cushions up to y[0] in front of z[1]; often loose back cushions, sometimes a pillow."""
    u, (low, top), (front, rear) = rng.uniform, y, z
    spans = spaced(-x, x, seats if rng.random() < 0.75 else 1)
    pieces: list[Piece] = [box(span, (low - 0.14, low), (front, rear + 0.12), 0.7 * soft) for span in spans]
    if rng.random() < 0.65:
        tall, deep = min(top + u(-0.08, 0.06), low + 0.5), (rear - 0.13, rear + 0.06)
        loose = [box((a + 0.005, b - 0.005), (low - 0.01, tall), deep, soft) for a, b in spans]
        pieces += leaned(loose, low, u(0.05, 0.25))
    if rng.random() < 0.3:
        pillow = box((x - 0.42, x - 0.04), (low, low + 0.34), (rear - 0.2, rear - 0.08), 0.05)
        pieces += leaned([pillow], low, 0.3)
    return pieces


def armrest(style: str, x: float, y: Span, z: Span, width: float) -> list[Piece]:
    """The arm at x > 0: a box, a roll on a board, one that falls to the front or one that opens outwards."""
    (low, high), (front, rear), out = y, z, x + width
    if style == "none":
        return []
    if style == "rolled":
        radius, middle = 0.62 * width, x + 0.5 * width
        roll = [ring((middle, high - radius, k), (radius, radius), 2, 14) for k in (front - 0.02, rear - 0.02)]
        return [box((x, out), (low, high - radius), z), *chain(roll)]
    if style == "sloped":
        side = [(low, front), (high - 0.16, front), (high, rear), (low, rear)]
        return [Part.hull(np.array([(a, h, k) for a in (x, out) for h, k in side]))]
    if style == "flared":
        return [taper(y, ((x, x + 0.6 * width), z), ((x + 0.3 * width, x + 1.3 * width), z))]
    return [box((x, out), y, z, 0.15 * width)]
