"""Cars, from hatchback to pickup."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.random import Generator

from pipeline.families.solids import (
    Panel,
    Part,
    Piece,
    Shape,
    Span,
    bar,
    box,
    chain,
    ellipsoid,
    mirrored,
    pick,
    taper,
    vector,
)

# Length, height of the belt line, of the roof, ground clearance; then as shares of the length from the front:
# the windscreen's foot, the roof's front edge, its rear edge, the rear window's foot.
CARS: dict[str, tuple[Span, float, Span, float, tuple[float, float, float, float]]] = {
    "sedan": ((4.4, 5.0), 0.92, (1.4, 1.48), 0.2, (0.29, 0.43, 0.69, 0.84)),
    "hatchback": ((3.6, 4.2), 0.95, (1.45, 1.56), 0.2, (0.25, 0.42, 0.84, 0.97)),
    "wagon": ((4.5, 4.9), 0.95, (1.45, 1.52), 0.2, (0.28, 0.42, 0.91, 0.98)),
    "suv": ((4.2, 5.0), 1.1, (1.7, 1.9), 0.32, (0.26, 0.39, 0.91, 0.98)),
    "van": ((4.6, 5.5), 1.15, (1.9, 2.3), 0.25, (0.07, 0.22, 0.97, 0.99)),
    "pickup": ((5.0, 5.5), 1.1, (1.7, 1.85), 0.34, (0.24, 0.36, 0.57, 0.65)),
    "sports": ((4.2, 4.6), 0.85, (1.15, 1.28), 0.15, (0.33, 0.5, 0.64, 0.93)),
    "open": ((3.9, 4.4), 0.88, (1.25, 1.35), 0.17, (0.36, 0.46, 0.6, 0.7)),
}


@dataclass(frozen=True)
class CarPlan:
    """Metres: half the width; heights of belt, roof, nose, tail and wheel arch; glass and axles along z."""

    kind: str
    length: float
    half: float
    belt: float
    roof: float
    clear: float
    radius: float
    arch: float
    nose: float
    tail: float
    glass: tuple[float, ...]
    axles: Span

    @staticmethod
    def draw(rng: Generator) -> CarPlan:
        u = rng.uniform
        kind = pick(rng, sedan=3, hatchback=2, wagon=1, suv=2, van=1.5, pickup=1.5, sports=1.5, open=0.8)
        span, belt, roof, clear, shares = CARS[kind]
        length, radius = u(*span), u(0.32, 0.36) + 0.05 * (kind in ("suv", "pickup"))
        belt, nose = u(0.97, 1.03) * belt, {"van": 0.98, "sports": 0.84}.get(kind, u(0.84, 0.96))
        tail, jitter = u(0.9, 1.02) if kind in ("sedan", "sports", "open") else 1.0, u(-0.015, 0.015)
        glass = tuple((share + jitter * (0.1 < share < 0.9) - 0.5) * length for share in shares)
        axles = ((u(0.17, 0.21) - 0.5) * length, (u(0.78, 0.83) - 0.5) * length)
        arch = 2.08 * radius
        heights = (belt, u(*roof), clear, radius, arch, max(nose * belt, arch + 0.05), tail * belt)
        return CarPlan(kind, length, u(0.86, 0.98), *heights, glass, axles)


def car(rng: Generator) -> Shape:
    plan = CarPlan.draw(rng)
    pieces = upper_body(plan) + lower_body(plan) + wheels(plan, rng.uniform(0.19, 0.23)) + fittings(rng, plan)
    return Shape.of(pieces + (cockpit(plan) if plan.kind == "open" else greenhouse(plan)))


def upper_body(plan: CarPlan) -> list[Piece]:
    """From the wheel arches up to bonnet, belt and boot; a pickup has an open bed behind its cab."""
    length, half, belt, arch = plan.length, plan.half, plan.belt, plan.arch

    def section(z: float, top: float, width: float) -> np.ndarray:
        rows = [(0.98, arch - 0.12), (1.0, 0.5 * (arch + top)), (0.9, top)]
        return np.array([(side * w * width * half, y, z) for w, y in rows for side in (-1, 1)])

    front = [section(-0.5 * length, 0.88 * plan.nose, 0.84), section(-0.45 * length, plan.nose, 0.95)]
    front += [section(plan.glass[0], belt, 1.0)]
    if plan.kind != "pickup":
        rear = [(0.36, 0.5 * (belt + plan.tail), 1.0), (0.47, plan.tail, 0.96), (0.5, 0.93 * plan.tail, 0.88)]
        return chain(front + [section(share * length, top, width) for share, top, width in rear])
    bed, wall, full = (plan.glass[3], 0.5 * length), 0.09, (-0.97 * half, 0.97 * half)
    sides = mirrored([box((half - wall, half), (arch - 0.1, belt), bed)])
    floor = box(full, (arch - 0.05, arch + 0.12), bed)
    return [
        *chain([*front, section(bed[0], belt, 1.0)]),
        *sides,
        floor,
        box(full, (arch, belt), (bed[1] - wall, bed[1])),
    ]


def lower_body(plan: CarPlan) -> list[Piece]:
    """Below the arches: a narrow core, and sides that are cut away around the wheels."""
    half, clear, end = plan.half, plan.clear, 0.49 * plan.length
    inner, full, rocker = ((-w, w) for w in (half - 0.26, 0.97 * half, 0.9 * half))
    pieces: list[Piece] = [box(inner, (clear + 0.05, plan.arch), (-0.96 * end, 0.96 * end))]
    front, rear = plan.axles
    for low, high, cut_low, cut_high in ((-end, front, 0, 1), (front, rear, 1, 1), (rear, end, 1, 0)):
        foot, head = ((low + cut * cut_low * plan.radius, high - cut * cut_high * plan.radius) for cut in (1.22, 0.75))
        pieces += [taper((clear, clear + 0.1), (rocker, foot), (full, foot))]
        pieces += [taper((clear + 0.1, plan.arch), (full, foot), (full, head))]
    return pieces


def wheels(plan: CarPlan, width: float) -> list[Piece]:
    pieces: list[Piece] = []
    for z in plan.axles:
        hub, out = vector(plan.half, plan.radius, z), vector(1, 0, 0)
        pieces += [bar(hub - width * out, hub + 0.01 * out, plan.radius, sides=20)]
        pieces += [bar(hub, hub + 0.035 * out, 0.6 * plan.radius, 0.5 * plan.radius, 12)]
    return mirrored(pieces)


def fittings(rng: Generator, plan: CarPlan) -> list[Piece]:
    """Bumpers, lights, grille; some cars have a spoiler or a spare wheel."""
    half, clear, belt, tail, end, u = plan.half, plan.clear, plan.belt, plan.tail, 0.5 * plan.length, rng.uniform
    high, tall = u(0.13, 0.22), u(0.05, 0.075)
    y = 0.88 * plan.nose - 1.2 * tall
    bumpers = ((s * 0.98 * end - 0.08, s * 0.98 * end + 0.08) for s in (-1, 1))
    pieces: list[Piece] = [
        box((-0.93 * half, 0.93 * half), (clear + 0.05, clear + 0.05 + high), z, 0.04) for z in bumpers
    ]
    pieces += [box((-0.3 * half, 0.3 * half), (y - tall, y + 0.6 * tall), (-end - 0.04, 0.1 - end))]
    lights: list[Piece] = [box((0.62 * half, 0.86 * half), (0.75 * belt, 0.9 * belt), (0.92 * end, 0.99 * end + 0.02))]
    if rng.random() < 0.4:
        lights += [bar((0.6 * half, y, -end - 0.05), (0.6 * half, y, 0.2 - end), tall)]
    else:
        lights += [box((0.4 * half, 0.74 * half), (y - 0.7 * tall, y + 0.7 * tall), (-end - 0.05, 0.2 - end))]
    if plan.kind == "sports" and rng.random() < 0.6:
        pieces += [box((-0.85 * half, 0.85 * half), (tail + 0.14, tail + 0.19), (0.92 * end, end))]
        lights += [box((0.58 * half, 0.66 * half), (tail - 0.1, tail + 0.15), (0.94 * end, 0.98 * end))]
    if plan.kind == "suv" and rng.random() < 0.4:
        pieces += [bar((0, 0.75 * belt, 0.98 * end), (0, 0.75 * belt, 1.04 * end + 0.1), 0.9 * plan.radius, sides=16)]
    return pieces + mirrored(lights)


def greenhouse(plan: CarPlan) -> list[Piece]:
    """Cabin above the belt line: glass set back between pillars, under a roof."""
    half, belt, roof, (foot, front, rear, end) = plan.half, plan.belt, plan.roof, plan.glass
    lower, upper, thin, inset = 0.9 * half, (0.82 if plan.kind == "van" else 0.7) * half, 0.045, 0.035
    floor, ceiling = ((-w, w) for w in (lower - inset, upper - inset))
    glass = taper(
        (belt - 0.08, roof - 0.02), (floor, (foot + inset, end - inset)), (ceiling, (front + inset, rear - inset))
    )
    lid = ((-upper, upper), (front, rear)), ((-0.9 * upper, 0.9 * upper), (front + 0.1, rear - 0.1))
    shares = [0.5] if plan.kind in ("pickup", "sports") else [0.42, 0.72]
    middles = [front + share * (rear - front) for share in shares]
    ends = [(foot + thin, front + thin), (end - thin, rear - thin), *zip(middles, middles, strict=True)]
    pillars = [bar((lower - thin, belt - 0.03, a), (upper - thin, roof - thin, b), thin, sides=4) for a, b in ends]
    if plan.kind == "van":
        side = [(lower - 0.03, belt), (upper, roof - 0.03)]
        along = (foot + 0.35 * (end - foot), foot + 0.97 * (end - foot))
        pillars += [Part.hull(np.array([(x - k, y, z) for x, y in side for k in (0, 0.1) for z in along]))]
    mirror = box((0.93 * half, 1.12 * half), (belt - 0.02, belt + 0.12), (foot + 0.3, foot + 0.4), 0.03)
    return [glass, taper((roof - 0.05, roof), *lid), *mirrored([*pillars, mirror])]


def cockpit(plan: CarPlan) -> list[Piece]:
    """An open car's windscreen, without thickness, in its frame, and the two seats behind it."""
    foot, head, middle, _ = plan.glass
    half, belt, wide = plan.half, plan.belt, 0.8 * plan.half
    corners = [(-wide, belt - 0.02, foot), (wide, belt - 0.02, foot)]
    corners += [(0.9 * wide, plan.roof, head), (-0.9 * wide, plan.roof, head)]
    frame = [bar(a, b, 0.04, sides=6) for a, b in pairwise(corners[1:] + corners[:1])]
    seat_back = box((0.12 * half, 0.62 * half), (belt - 0.05, belt + 0.3), (middle, middle + 0.16), 0.06)
    rest = ellipsoid((0.37 * half, belt + 0.36, middle + 0.09), (0.15, 0.1, 0.08), 8)
    return [Panel.polygon(corners), *frame, *mirrored([seat_back, rest])]
