"""Lamps for the table, the floor, the ceiling and the desk."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.random import Generator

from pipeline.families.solids import (
    Part,
    Piece,
    Shape,
    Span,
    around,
    bar,
    box,
    ellipsoid,
    lathe,
    mapped,
    pick,
    post,
    ring,
    vector,
)


def lamp(rng: Generator) -> Shape:
    kind = pick(rng, table=3, standing=4.4, pendant=1.5, desk=1.3, chandelier=1)
    make = {"table": table_lamp, "standing": standing_lamp, "pendant": pendant, "desk": desk_lamp}.get(kind, chandelier)
    return Shape.of(make(rng))


def table_lamp(rng: Generator) -> list[Piece]:
    height, reach = rng.uniform(0.2, 0.42), rng.uniform(0.06, 0.12)
    span = (0.92 * height, height + rng.uniform(0.14, 0.28))
    return lamp_foot(rng, reach, height) + shade(rng, rng.uniform(1.3, 2.2) * reach, span)


def lamp_foot(rng: Generator, reach: float, height: float) -> list[Piece]:
    """Foot of a table lamp up to its shade: a vase, stacked balls, a block, a cone or a stick."""
    style, neck = pick(rng, vase=3, balls=1, block=1.2, cone=1, stick=1), max(0.014, 0.13 * reach)
    stem = lathe([(neck, 0.02), (neck, height)], sides=8)
    if style == "balls":
        count = int(rng.integers(2, 4))
        size, base = 0.42 * (0.9 * height - 0.025) / count, lathe([(0.8 * reach, 0), (0.8 * reach, 0.025)])
        levels = [0.025 + size * (2 * k + 0.95) for k in range(count)]
        return base + stem + [ellipsoid((0, y, 0), (1.15 * size, 1.05 * size, 1.15 * size)) for y in levels]
    if style == "block":
        half, top = rng.uniform(0.55, 0.85) * reach, rng.uniform(0.5, 0.85) * height
        return [*stem, box((-half, half), (0, top), (-half, half), 0.01)]
    if style == "cone":
        return stem + lathe([(reach, 0), (neck, 0.8 * height)])
    if style == "stick":
        return stem + lathe([(reach, 0), (0.95 * reach, 0.06 * height), (neck, 0.1 * height)])
    belly, low, lip = rng.uniform(0.7, 1.15), rng.uniform(0.25, 0.6), rng.uniform(0.25, 0.5)
    vase = [(0.65, 0), (0.6, 0.05), (0.5 * belly + 0.15, 0.12), (belly, low), (0.8 * belly, low + 0.15), (lip, 0.88)]
    return stem + lathe([(r * reach, y * height) for r, y in vase], sides=int(rng.choice([4, 6, 16, 16, 16])))


def standing_lamp(rng: Generator) -> list[Piece]:
    """Floor lamp: one pole or a tripod under a shade, a bowl that lights the ceiling, or an arc."""
    u, style = rng.uniform, pick(rng, pole=2, tripod=1, arc=0.8, bowl=0.6)
    height, pole = u(1.1, 1.5), u(0.018, 0.025)
    lit = (height - 0.04, height + u(0.2, 0.36))
    if style == "tripod":
        foot = post((0, 0, -u(0.22, 0.34)), (0, height, -0.03), pole, pole, int(rng.choice([4, 8])))
        return around([foot], 3) + lathe([(0.06, height - 0.05), (0.06, height)]) + shade(rng, u(0.18, 0.27), lit)
    foot_profile = [(u(0.12, 0.18), 0), (u(0.1, 0.12), 0.035), (pole, 0.06)]
    base = lathe(foot_profile, power=rng.choice([2.0, 2.0, 5.0]))
    if style == "arc":
        reach, bend = u(0.35, 0.5), np.linspace(0, u(2.2, 2.7), 12)
        path = [(0, 0.6 * height + 0.5 * height * np.sin(a), -reach * (1 - np.cos(a))) for a in bend]
        hung = shade(rng, u(0.13, 0.2), (-u(0.14, 0.2), 0.015), hanging=True)
        return base + [bar(a, b, pole) for a, b in pairwise([(0, 0.03, 0), *path])] + mapped(hung, np.eye(3), path[-1])
    base += [post((0, 0, 0), (0, height, 0), pole, pole)]
    if style == "bowl":
        return base + lathe([(pole, height), (0.1, height + 0.03), (u(0.14, 0.22), height + u(0.09, 0.14))])
    return base + shade(rng, u(0.15, 0.26), lit)


def pendant(rng: Generator) -> list[Piece]:
    reach, drop, cord = rng.uniform(0.12, 0.3), rng.uniform(0.25, 0.7), rng.uniform(0.013, 0.018)
    rose = lathe([(0.05, drop), (0.06, drop + 0.03)]) + lathe([(cord, 0), (cord, drop + 0.01)], sides=8)
    return rose + shade(rng, reach, (-rng.uniform(0.9, 1.6) * reach, 0.02), hanging=True)


def shade(rng: Generator, radius: float, y: Span, hanging: bool = False) -> list[Piece]:
    """A shade of the given widest radius, closed or open with thick walls: one of bare panels could be either."""
    (low, high), tall = y, y[1] - y[0]
    form = pick(rng, cone=3, drum=2, bell=1.2, globe=1.0 + hanging, tiers=0.6, box=0.8)
    sides = 4 if form == "box" else int(rng.choice([6, 18, 18, 18]))
    if form == "globe":
        return [ellipsoid((0, 0.5 * (low + high), 0), (radius, 0.5 * tall, radius), 16)]
    if form == "tiers":
        tiers = (((1, 0), (0.6, 0.36)), ((0.8, 0.32), (0.4, 0.7)), ((0.55, 0.65), (0.2, 1)))
        cones = ([(r * radius, low + h * tall) for r, h in tier] for tier in tiers)
        return [part for cone in cones for part in lathe(cone, sides=sides)]
    narrow = {"cone": (0.35, 0.7), "drum": (0.9, 1.0), "box": (0.7, 1.0), "bell": (0.28, 0.35)}[form]
    profile = [(radius, low), (rng.uniform(*narrow) * radius, high)]
    if form == "bell":
        profile.insert(1, (rng.uniform(0.5, 0.6) * radius, low + 0.45 * tall))
    if rng.random() < 0.45:
        return lathe(profile, sides=sides)
    return open_shade(profile, sides, max(0.014, 0.08 * radius))


def open_shade(profile: Sequence[Span], sides: int, wall: float) -> list[Piece]:
    """A ring of walls on four spokes, with a bulb inside."""
    pieces: list[Piece] = []
    for a, b in pairwise(profile):
        rings = [ring((0, h, 0), (r - k, r - k), 1, sides) for k in (0, wall) for r, h in (a, b)]
        for i, j in pairwise([*range(sides), 0]):
            pieces += [Part.hull(np.array([edge[k] for edge in rings for k in (i, j)]))]
    (radius, low), (rim, high) = profile[0], profile[-1]
    thin, middle = max(0.011, 0.05 * radius), 0.5 * (low + high)
    reach, y = (rim - 0.5 * wall) * np.cos(np.pi / sides), high - 0.04 * (high - low) - max(0.011, 0.05 * radius)
    pieces += [bar((-reach, y, 0), (reach, y, 0), thin), bar((0, y, -reach), (0, y, reach), thin)]
    bulb = ellipsoid((0, middle, 0), (0.3 * rim, 0.25 * (high - low), 0.3 * rim), 8)
    return [*pieces, bulb, bar((0, low, 0), (0, y, 0), thin)]


def desk_lamp(rng: Generator) -> list[Piece]:
    """Weighted foot, two arms with an elbow, and a reflector or a long head that looks down and forward."""
    u = rng.uniform
    reach, pole, half = u(0.08, 0.11), u(0.01, 0.015), u(0.14, 0.22)
    elbow = vector(0, u(0.22, 0.34), u(0.06, 0.16))
    head, joint = elbow + vector(0, u(0.02, 0.18), -u(0.24, 0.34)), vector(0.02, 0, 0)
    pieces = lathe([(reach, 0), (reach, 0.02), (0.35 * reach, 0.035)], power=rng.choice([2.0, 5.0]))
    pieces += [bar((0, 0.02, 0), elbow, pole), bar(elbow, head, pole), bar(elbow - joint, elbow + joint, 1.8 * pole)]
    if rng.random() < 0.35:
        return [*pieces, box((-half, half), (head[1] - 0.025, head[1] + 0.01), (head[2] - 0.05, head[2] + 0.05), 0.01)]
    aim = vector(0, -u(0.09, 0.12), -u(0.03, 0.09))
    cap = bar(head - 0.35 * aim, head + 0.2 * aim, 0.03, 0.036, 14)
    return [*pieces, cap, bar(head + 0.2 * aim, head + aim, 0.036, u(0.065, 0.09), 14)]


def chandelier(rng: Generator) -> list[Piece]:
    """Arms around a hanging stem, each with a globe, a candle or a cup."""
    u, cord, light = rng.uniform, rng.uniform(0.012, 0.016), pick(rng, globe=1, candle=1, cup=1)
    reach, drop, size = u(0.25, 0.4), u(0.2, 0.5), u(0.05, 0.075)
    end, dip = vector(0, u(0.0, 0.08), -reach), 0.0 if light == "globe" else -0.08
    middle = vector(0, dip, -0.55 * reach)
    arm = [bar((0, 0.02, 0), middle, cord), bar(middle, end, cord)]
    if light == "globe":
        arm += [ellipsoid(end - vector(0, 0.8 * size, 0), (size, size, size))]
    elif light == "candle":
        flame = ellipsoid(end + vector(0, 0.12, 0), (0.018, 0.035, 0.018), 8)
        arm += [flame, post(end, end + vector(0, 0.1, 0), 0.02, 0.02, 8)]
    else:
        arm += [post(end - vector(0, 0.01, 0), end + vector(0, 1.5 * size, 0), 0.4 * size, size, 12)]
    rose = lathe([(cord, 0), (cord, drop)], sides=8)
    rose += lathe([(0.06, drop - 0.01), (0.07, drop + 0.03)])
    return [*rose, ellipsoid((0, 0.02, 0), (0.05, 0.07, 0.05)), *around(arm, int(rng.integers(3, 9)))]
