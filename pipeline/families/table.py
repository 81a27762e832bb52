"""Tables and desks."""

from __future__ import annotations

from itertools import product

from numpy.random import Generator

from pipeline.families.furniture import drawers, legs, pedestal, sled, trestle
from pipeline.families.solids import (
    Panel,
    Piece,
    Shape,
    Span,
    box,
    chain,
    either_hand,
    lathe,
    mirrored,
    pick,
    post,
    ring,
)

# Half length, half depth, height.
TABLES: dict[str, tuple[Span, Span, Span]] = {
    "dining": ((0.55, 1.0), (0.4, 0.52), (0.7, 0.78)),
    "coffee": ((0.4, 0.65), (0.28, 0.42), (0.32, 0.48)),
    "side": ((0.22, 0.32), (0.2, 0.3), (0.45, 0.65)),
    "console": ((0.5, 0.75), (0.16, 0.22), (0.7, 0.85)),
    "bar": ((0.3, 0.42), (0.3, 0.4), (0.95, 1.1)),
    "desk": ((0.55, 0.85), (0.3, 0.4), (0.7, 0.76)),
    "corner": ((0.65, 0.9), (0.28, 0.36), (0.7, 0.76)),
}


def table(rng: Generator) -> Shape:
    kind = pick(rng, dining=3, coffee=2, side=1.6, console=1, bar=0.8, desk=1.6, corner=1)
    (x, z, y), t = (rng.uniform(*span) for span in TABLES[kind]), rng.uniform(0.03, 0.065)
    if kind in ("desk", "corner"):
        return Shape.of(desk(rng, x, y, z, t, kind == "corner"))
    outline = "rect" if kind == "console" else pick(rng, rect=0.45, round=0.3, soft=0.15, octagon=0.1)
    if outline in ("round", "octagon") and rng.random() < 0.7:
        x = z = min(x, 1.25 * z)
    inset = {"rect": 0.95, "soft": 0.85}.get(outline, 0.66)
    base = table_base(rng, inset * x, inset * z, y - 0.5 * t, low_shelf=kind != "dining")
    return Shape.of(tabletop(rng, outline, x, (y - t, y), z) + base)


def tabletop(rng: Generator, outline: str, x: float, y: Span, z: float) -> list[Piece]:
    if outline == "rect":
        return [box((-x, x), y, (-z, z), rng.choice([0.0, 0.3 * (y[1] - y[0])]))]
    sides, power = {"round": (24, 2.0), "soft": (24, 4.5), "octagon": (8, 2.0)}[outline]
    under = rng.choice([1.0, 0.93])
    return chain(ring((0, h, 0), (s * x, s * z), 1, sides, power) for h, s in zip(y, (under, 1.0), strict=True))


def table_base(rng: Generator, x: float, z: float, top: float, low_shelf: bool) -> list[Piece]:
    u, radius, compact = rng.uniform, rng.uniform(0.022, 0.045), x < 1.6 * z
    style = pick(rng, legs=4, pedestal=3 * compact, trestle=1.2, slab=1, cross=1, sled=1, drum=0.7 * compact)
    if style == "pedestal":
        return pedestal(rng, u(0.7, 0.95) * min(x, z), top, u(1.2, 1.9) * radius)
    if style == "drum":
        waist, reach = u(0.4, 1.0), 0.75 * min(x, z)
        return lathe([(reach, 0.0), (waist * reach, 0.5 * top), (reach, top)], sides=20)
    if style == "sled":
        return sled(x, z, top, radius)
    if style != "legs":
        return trestle(style, u(0.65, 0.9) * x, 0.9 * z, top, radius)
    pieces = legs(rng, x, z, top, radius)
    if rng.random() < 0.5:
        pieces += [box((radius - x, x - radius), (top - u(0.05, 0.1), top), (radius - z, z - radius))]
    if low_shelf and rng.random() < 0.5:
        shelf = top * u(0.15, 0.4)
        pieces += [box((-x, x), (shelf - 0.03, shelf), (-z, z))]
    return pieces


def desk(rng: Generator, x: float, y: float, z: float, t: float, corner: bool) -> list[Piece]:
    """A top over drawer blocks, boards and posts; a corner desk has a wing that runs on behind one end."""
    u, under = rng.uniform, y - 0.5 * t
    block = drawer_block(rng, (x - u(0.32, 0.45), x - 0.02), under, 0.9 * z)
    pieces: list[Piece] = [box((-x, x), (y - t, y), (-z, z))]
    if not corner and rng.random() < 0.35:
        pieces += mirrored(block)
    elif rng.random() < 0.5:
        pieces += [*block, box((0.02 - x, u(0.05, 0.07) - x), (0, under), (-0.95 * z, 0.95 * z))]
    else:
        pieces += block + [post((0.06 - x, 0, k), (0.06 - x, under, k), 0.026, 0.026, 4) for k in (-0.85 * z, 0.85 * z)]
    if rng.random() < 0.6:
        corners = ((-x, under), (x, under), (x, 0.35 * y), (-x, 0.35 * y))
        pieces += [Panel.polygon((0.95 * a, h, 0.7 * z) for a, h in corners)]
    if corner:
        reach, depth = z + u(0.5, 0.9), u(0.45, 0.6)
        pieces += [box((x - depth, x), (y - t, y), (z - 0.01, reach))]
        pieces += [box((x - depth + 0.03, x - 0.03), (0, under), (reach - 0.1, reach - 0.06))]
    return either_hand(rng, pieces)


def drawer_block(rng: Generator, x: Span, top: float, z: float) -> list[Piece]:
    low = rng.choice([0.0, rng.uniform(0.05, 0.3)])
    pieces = drawers(x, (low, top), (-z, z), int(rng.integers(2, 5)))
    feet = product((x[0] + 0.03, x[1] - 0.03), (0.03 - z, z - 0.03)) if low > 0 else ()
    return pieces + [post((i, 0, k), (i, low, k), 0.02, 0.02, 4) for i, k in feet]
