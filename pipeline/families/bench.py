"""Benches with and without a back, and picnic tables."""

from __future__ import annotations

from numpy.random import Generator

from pipeline.families.furniture import arms, backrest, legs, sled, trestle
from pipeline.families.solids import Piece, Shape, Span, bar, box, leaned, mirrored, pick, spaced


def bench(rng: Generator) -> Shape:
    u = rng.uniform
    x, z, y, t = u(0.5, 0.95), u(0.17, 0.27), u(0.4, 0.48), u(0.04, 0.08)
    if rng.random() < 0.12:
        return Shape.of(picnic(rng, x + 0.1, y, t))
    pieces = bench_seat(rng, x, (y - t, y), z) + bench_base(rng, x, z, y - 0.5 * t)
    if rng.random() < 0.6:
        style = pick(rng, solid=1, gap=1, ladder=3, slats=2.5, spindles=1)
        upright = backrest(rng, style, x, (y - 0.7 * t, y + u(0.3, 0.5)), z, u(0.035, 0.06))
        pieces += leaned(upright, y, rng.choice([0.0, u(0.1, 0.3)]))
        if rng.random() < 0.6:
            pieces += arms(rng, x - 0.03, y, (-u(0.6, 1.0) * z, z), u(0.18, 0.25), u(0.04, 0.07))
    return Shape.of(pieces)


def bench_seat(rng: Generator, x: float, y: Span, z: float) -> list[Piece]:
    """One slab, a cushion, or slats along the bench on two bearers."""
    if rng.random() < 0.55:
        return [box((-x, x), y, (-z, z), rng.choice([0.0, 0.0, 0.4]) * (y[1] - y[0]))]
    slats = spaced(-z, z + 0.025, int(rng.integers(3, 6)))
    bearer = box((0.8 * x - 0.03, 0.8 * x + 0.03), (y[0] - 0.04, y[0] + 0.02), (-z, z))
    return mirrored([bearer]) + [box((-x, x), y, (a, b - 0.025)) for a, b in slats]


def bench_base(rng: Generator, x: float, z: float, top: float) -> list[Piece]:
    u, radius = rng.uniform, rng.uniform(0.025, 0.04)
    style = pick(rng, legs=3, slab=1.5, cross=1, trestle=1, block=1.2, sled=1)
    if style == "legs":
        return legs(rng, x, z, top, radius)
    if style == "sled":
        return sled(0.95 * x, z, top, radius)
    if style == "block":
        block = box((u(0.35, 0.75) * x, 0.97 * x), (0, top), (-0.9 * z, 0.9 * z), rng.choice([0.0, 0.02]))
        return mirrored([block])
    return trestle(style, u(0.75, 0.95) * x, 0.9 * z, top, radius)


def picnic(rng: Generator, x: float, y: float, t: float) -> list[Piece]:
    """Table between two benches on a pair of A frames."""
    top, half, reach = y + rng.uniform(0.26, 0.34), rng.uniform(0.32, 0.42), rng.uniform(0.62, 0.75)
    planks = [(span, top) for span in spaced(-half, half + 0.02, 4)]
    planks += [((s * reach - 0.14, s * reach + 0.14), y) for s in (-1, 1)]
    pieces: list[Piece] = [box((-x, x), (h - t, h), (a, b - 0.02)) for (a, b), h in planks]
    at, thin = 0.7 * x, 0.035
    frame = [bar((at, thin, s * 0.95 * reach), (at, top - t, s * 0.4 * half), thin, sides=4) for s in (-1, 1)]
    frame += [box((at - thin, at + thin), (y - t - 0.08, y - 0.5 * t), (-reach - 0.08, reach + 0.08))]
    frame += [box((at - thin, at + thin), (top - t - 0.05, top - 0.5 * t), (-half, half))]
    return pieces + mirrored(frame)
