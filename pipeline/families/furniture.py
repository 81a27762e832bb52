"""Legs, pedestals, backs, arms and drawers: what pieces of furniture share. x and z are half sizes about the axis."""

from __future__ import annotations

from itertools import pairwise, product

from numpy.random import Generator

from pipeline.families.solids import (
    Panel,
    Piece,
    Span,
    around,
    bar,
    box,
    chain,
    ellipsoid,
    lathe,
    mirrored,
    pick,
    post,
    ring,
    spaced,
    taper,
)


def legs(rng: Generator, x: float, z: float, top: float, radius: float) -> list[Piece]:
    """Four legs, square or round, straight, tapered or splayed; some with stretchers between them."""
    sides, splay = int(rng.choice([4, 10])), rng.choice([0.0, 0.0, rng.uniform(0.05, 0.18)])
    foot = radius * rng.choice([1.0, rng.uniform(0.6, 0.8)])
    x, z, out = x - 1.2 * radius, z - 1.2 * radius, splay * top
    pieces: list[Piece] = [
        post((i * (x + out), 0, k * (z + out)), (i * x, top, k * z), foot, radius, sides)
        for i, k in product((-1, 1), repeat=2)
    ]
    if splay == 0 and rng.random() < 0.45:
        y, thin = top * rng.uniform(0.2, 0.6), 0.7 * radius
        across = (0.0,) if rng.random() < 0.5 else (-z, z)
        pieces += [bar((i, y, -z), (i, y, z), thin) for i in (-x, x)]
        pieces += [bar((-x, y, k), (x, y, k), thin) for k in across]
    return pieces


def pedestal(rng: Generator, reach: float, top: float, radius: float) -> list[Piece]:
    """A column on a disc or on a star of feet, or one turned like a baluster."""
    foot = pick(rng, disc=0.4, star=0.35, turned=0.25)
    if foot == "turned":
        swell = rng.uniform(1.5, 2.6) * radius
        profile = [(reach, 0), (0.8 * reach, 0.08), (radius, 0.2), (swell, 0.5), (radius, 0.8), (2 * radius, 1)]
        return lathe([(r, y * top) for r, y in profile])
    base, thin = 0.12 * top, min(radius, 0.03)
    column = lathe([(radius, 0.5 * base), (radius, top)])
    if foot == "disc":
        return column + lathe([(reach, 0), (0.9 * reach, 0.4 * base), (1.5 * radius, base)])
    arm = bar((0, base, 0), (0, thin, reach), 1.2 * thin, 0.8 * thin, 6)
    wheel = ellipsoid((0, thin, reach), (1.3 * thin, thin, 1.3 * thin), 8)
    return column + around([arm, wheel], int(rng.choice([3, 4, 5])))


def sled(x: float, z: float, top: float, radius: float, cantilever: bool = False) -> list[Piece]:
    """Two runners joined to the top in front and, unless it is a cantilever, behind."""
    x, z = x - radius, z - radius
    corners = [(x, top, z), (x, radius, z), (x, radius, -z), (x, top, -z)]
    side = [bar(a, b, radius) for a, b in pairwise(corners[1 if cantilever else 0 :])]
    return [*mirrored(side), bar((-x, radius, z), (x, radius, z), radius)]


def trestle(style: str, x: float, z: float, top: float, radius: float) -> list[Piece]:
    """Two supports, x and -x, and a beam between: boards ("slab"), Xs ("cross") or posts on feet."""
    middle, wide = (x - radius, x + radius), (x - 1.2 * radius, x + 1.2 * radius)
    if style == "slab":
        ends = [box(middle, (0, top), (-z, z))]
    elif style == "cross":
        ends = [post((x, 0, s * z), (x, top, -s * z), radius, radius, 4) for s in (-1, 1)]
    else:
        ends = [
            box(wide, (0, 2 * radius), (-z, z)),
            box(wide, (top - 2 * radius, top), (-0.8 * z, 0.8 * z)),
            taper((radius, top), (middle, (-0.45 * z, 0.45 * z)), (middle, (-0.25 * z, 0.25 * z))),
        ]
    beam = box((-x, x), (0.5 * top - radius, 0.5 * top + radius), (-0.7 * radius, 0.7 * radius))
    return [*mirrored(ends), beam]


def backrest(rng: Generator, style: str, x: float, y: Span, z: float, t: float) -> list[Piece]:
    """Upright back of half width x and thickness t whose rear is at z."""
    (low, high), deep, width = y, (z - t, z), max(0.035, 0.9 * t)
    if style == "solid":
        return [box((-x, x), y, deep, rng.choice([0.0, 0.3 * t]))]
    if style == "tapered":
        narrow = rng.uniform(0.55, 0.8) * x
        return [taper(y, ((-x, x), deep), ((-narrow, narrow), deep))]
    if style == "oval":
        middle, tall = 0.4 * low + 0.6 * high, 0.4 * (high - low)
        faces = [ring((0, middle, k), (x, tall), 2, 20, 2.4) for k in deep]
        return chain(faces) + mirrored([box((0.3 * x, 0.3 * x + width), (low, middle), deep)])
    posts = mirrored([box((x - width, x), y, deep)])
    if style == "gap":
        return [*posts, box((-x, x), (low + rng.uniform(0.3, 0.6) * (high - low), high), deep, 0.2 * t)]
    if style == "ladder":
        rungs = [(b - 0.55 * (b - a), b) for a, b in spaced(low, high, int(rng.integers(2, 6)))]
        return posts + [box((-x, x), rung, (z - 0.8 * t, z - 0.2 * t)) for rung in rungs]
    rail = high - rng.uniform(0.06, 0.12)
    frame = [*posts, box((-x, x), (rail, high), deep)]
    if style == "sling":
        bottom = low + 0.1 * (high - low)
        corners = ((-x, bottom), (x, bottom), (x, rail), (-x, rail))
        return [*frame, Panel.polygon((a, b, z - t / 2) for a, b in corners)]
    count = max(3, round(2 * x / rng.uniform(0.09, 0.14)))
    middles = [0.5 * (a + b) for a, b in spaced(width - x, x - width, count)]
    if style == "spindles":
        return frame + [bar((m, low, z - t / 2), (m, rail + 0.02, z - t / 2), 0.014) for m in middles]
    half, inner = rng.uniform(0.25, 0.36) * 2 * (x - width) / count, (z - 0.75 * t, z - 0.25 * t)
    return frame + [box((m - half, m + half), (low, rail + 0.02), inner) for m in middles]


def arms(rng: Generator, x: float, y: float, z: Span, height: float, t: float) -> list[Piece]:
    """A pair of arms outside |x| over the seat at height y: a rail on a post, or a closed side."""
    wide, top = (x - 0.2 * t, x + t), y + height
    if rng.random() < 0.3:
        return mirrored([box(wide, (y - 0.05, top), z, 0.2 * t)])
    front = z[0] + rng.uniform(0.0, 0.12)
    rail = box((x - 0.4 * t, x + 1.2 * t), (top - 0.035, top), z, 0.01)
    return mirrored([rail, box(wide, (y - 0.06, top - 0.02), (front, front + t))])


def drawers(x: Span, y: Span, z: Span, count: int, proud: float = 0.02) -> list[Piece]:
    """A closed block with `count` drawer fronts, each with a handle, on its front (-Z) side."""
    gap, middle, half = 0.012, 0.5 * (x[0] + x[1]), 0.16 * (x[1] - x[0])
    pieces: list[Piece] = [box(x, y, z)]
    for low, high in spaced(*y, count):
        grip, front = 0.5 * (low + high), z[0] - proud
        pieces += [
            box((x[0] + gap, x[1] - gap), (low + gap, high - gap), (front, z[0] + 0.02)),
            box((middle - half, middle + half), (grip - 0.014, grip + 0.014), (front - 0.03, z[0])),
        ]
    return pieces
