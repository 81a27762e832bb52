"""Cabinets: columns of open shelves, drawers and doors."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.random import Generator

from pipeline.families.furniture import drawers, legs
from pipeline.families.solids import Panel, Piece, Shape, Span, box, mirrored, pick, spaced


@dataclass(frozen=True)
class CabinetPlan:
    """Half width and height in metres, the number of columns, and how likely each filling of a column is."""

    half: Span
    height: Span
    columns: tuple[int, int]
    fillings: dict[str, float]


CABINETS = {
    "wardrobe": CabinetPlan((0.4, 0.9), (1.7, 2.2), (2, 4), {"doors": 5, "open": 0.6, "drawers": 0.6}),
    "sideboard": CabinetPlan((0.6, 1.0), (0.5, 0.95), (2, 4), {"doors": 3, "drawers": 2, "open": 2}),
    "bookcase": CabinetPlan((0.3, 0.75), (1.0, 2.1), (1, 3), {"open": 8, "doors": 1}),
    "chest": CabinetPlan((0.35, 0.6), (0.8, 1.2), (1, 2), {"drawers": 8, "doors": 0.5}),
    "nightstand": CabinetPlan((0.2, 0.3), (0.4, 0.6), (1, 2), {"doors": 2, "drawers": 2, "open": 1, "mixed": 2}),
    "tall": CabinetPlan((0.22, 0.4), (1.2, 1.9), (1, 2), {"doors": 2, "open": 2, "mixed": 3}),
    "hutch": CabinetPlan((0.45, 0.75), (0.75, 0.95), (2, 3), {"doors": 2, "drawers": 2, "open": 1, "mixed": 2}),
}


def cabinet(rng: Generator) -> Shape:
    u = rng.uniform
    kind = pick(rng, wardrobe=1.5, sideboard=2, bookcase=2, chest=1.2, nightstand=1, tall=1.2, hutch=1)
    x, height, z = u(*CABINETS[kind].half), u(*CABINETS[kind].height), u(0.17, 0.3)
    t, raised = max(0.02, 0.02 * max(2 * x, height)), pick(rng, floor=1, plinth=1.2, legs=1.5)
    low = {"floor": 0.0, "plinth": u(0.04, 0.1), "legs": u(0.08, 0.22)}[raised]
    top, pieces = low + height, carcass(rng, CABINETS[kind], (-x, x), (low, low + height), (-z, z), t)
    if raised == "plinth":
        pieces += [box((-0.95 * x, 0.95 * x), (0, low + 0.5 * t), (-0.85 * z, 0.95 * z))]
    elif raised == "legs":
        pieces += legs(rng, x, z, low + 0.5 * t, u(0.022, 0.035))
    if rng.random() < 0.5:
        lip = u(0.01, 0.04)
        pieces += [box((-x - lip, x + lip), (top - 0.5 * t, top + t), (-z - lip, z))]
    if kind == "hutch":
        gap, upper = rng.choice([0.0, u(0.2, 0.4)]), (0.0, z)
        pieces += mirrored([box((x - t, x), (top, top + gap + t), upper)])
        pieces += carcass(rng, CABINETS["bookcase"], (-x, x), (top + gap, top + gap + u(0.6, 0.9)), upper, t)
    return Shape.of(pieces)


def carcass(rng: Generator, plan: CabinetPlan, x: Span, y: Span, z: Span, t: float) -> list[Piece]:
    """Boards of thickness t around columns of compartments, with a back that is a panel."""
    pieces: list[Piece] = [box(side, y, z) for side in ((x[0], x[0] + t), (x[1] - t, x[1]))]
    pieces += [box(x, level, z) for level in ((y[0], y[0] + t), (y[1] - t, y[1]))]
    corners = ((x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1]))
    pieces += [Panel.polygon((a, b, z[1] - 0.004) for a, b in corners)]
    uneven = rng.choice([0.0, 0.3])
    widths = rng.uniform(1 - uneven, 1 + uneven, int(rng.integers(*plan.columns, endpoint=True)))
    edges = x[0] + t + (x[1] - x[0] - 2 * t) * np.concatenate([[0], np.cumsum(widths)]) / widths.sum()
    for a, b in pairwise(edges.tolist()):
        pieces += column(rng, pick(rng, **plan.fillings), (a, b), (y[0] + t, y[1] - t), z, t)
    return pieces + [box((a - t / 2, a + t / 2), y, z) for a in edges[1:-1]]


def column(rng: Generator, style: str, x: Span, y: Span, z: Span, t: float) -> list[Piece]:
    """Open shelves, drawers, doors, or one above the other. What is closed is solid: nobody sees inside."""
    height, proud = y[1] - y[0], float(rng.choice([0.02, 0.02, -0.03]))
    if style == "mixed":
        split = y[0] + height * rng.uniform(0.35, 0.65)
        lower, upper = ("doors", "open") if rng.random() < 0.5 else ("drawers", "doors")
        parts = column(rng, lower, x, (y[0], split), z, t) + column(rng, upper, x, (split, y[1]), z, t)
        return [*parts, box(x, (split - t / 2, split + t / 2), z)]
    if style == "open":
        levels = spaced(*y, max(1, round(height / rng.uniform(0.25, 0.42))))[1:]
        return [box(x, (low - t / 2, low + t / 2), (z[0] + 0.01, z[1])) for low, _ in levels]
    if style == "drawers":
        return drawers(
            x, y, (z[0] + 0.02, z[1]), max(1, round(height / rng.uniform(0.16, 0.28))), max(0.012, 2 * proud)
        )
    return [box(x, y, (z[0] + 0.035, z[1])), *doors(rng, x, y, z[0] - proud)]


def doors(rng: Generator, x: Span, y: Span, front: float) -> list[Piece]:
    """One door, or two where the opening is wide, with knobs or upright handles."""
    pieces: list[Piece] = []
    height, depth = y[1] - y[0], 0.08
    grip, reach = y[0] + height * rng.uniform(0.4, 0.65), rng.choice([0.018, min(0.14, 0.2 * height)])
    leaves = spaced(*x, 2) if x[1] - x[0] > 0.7 else [x]
    first = bool(rng.random() < 0.5) or len(leaves) == 2
    for (a, b), opens_right in zip(leaves, (first, False), strict=False):
        at = b - 0.05 if opens_right else a + 0.05
        pieces += [
            box((a + 0.012, b - 0.012), (y[0] + 0.012, y[1] - 0.012), (front, front + depth)),
            box((at - 0.014, at + 0.014), (grip - reach, grip + reach), (front - 0.035, front + 0.01)),
        ]
    return pieces
