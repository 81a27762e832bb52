"""Surfaces of predictions on the device they lie on: marching cubes of fields, and points on triangles.

The same vertices, faces and points as in NumPy, where the device rounds alike. `geometry/isosurface.py` explains the
cases, and is what does without torch.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.geometry.isosurface import CLEARANCE, case_table


def marching_cubes(field: Tensor, level: float) -> tuple[Tensor, Tensor]:
    """`geometry.isosurface.marching_cubes` of a tensor.

    Args:
        field: (R, R, R) float or bool, finite.
        level: what is above it is inside.

    Returns:
        vertices (N, 3) float32 and faces (M, 3) int64, on the field's device.

    Raises:
        ValueError: the field is no cube or not finite, or the level is not above 0.
    """
    if field.ndim != 3 or len(set(field.shape)) != 1 or not level > 0:
        raise ValueError(
            f"marching_cubes: expected a field (R, R, R) and a level above 0, got {tuple(field.shape)} and {level}"
        )
    values = F.pad(field.float(), [1] * 6)
    if not values.isfinite().all():
        raise ValueError("marching_cubes: expected finite values, got NaN or infinity")
    edges = _surface_edges(values > level)
    crossed = torch.zeros(3 * values.numel(), dtype=torch.int64, device=field.device)
    crossed[edges] = 1
    used = crossed.nonzero()[:, 0]
    crossed[used] = torch.arange(len(used), device=field.device)
    return _vertices(values, used, level), crossed[edges]


def _surface_edges(inside: Tensor) -> Tensor:
    """(M, 3) corners of the triangles as edges of the grid, 3 * index of the lower cell + axis."""
    side = len(inside)
    cases = inside.to(torch.uint8)
    cases = cases[:, :, :-1] | cases[:, :, 1:] << 1
    cases = cases[:, :-1] | cases[:, 1:] << 2
    cases = cases[:-1] | cases[1:] << 4
    x, y, z = ((cases != 0) & (cases != 255)).nonzero().unbind(1)
    table, counts = _case_table(str(inside.device))
    case = cases[x, y, z].long()
    triangles = table[case][torch.arange(table.shape[1], device=inside.device) < counts[case, None]]
    corner = torch.arange(24, device=inside.device) // 3
    offset = 3 * ((corner >> 2) * side * side + (corner >> 1 & 1) * side + (corner & 1))
    offset += torch.arange(24, device=inside.device) % 3
    lower = 3 * ((x * side + y) * side + z)
    return torch.repeat_interleave(lower, counts[case])[:, None] + offset[triangles]


@lru_cache(maxsize=2)
def _case_table(device: str) -> tuple[Tensor, Tensor]:
    triangles, counts = case_table()
    return torch.from_numpy(triangles).to(device), torch.from_numpy(counts).to(device)


def _vertices(values: Tensor, edges: Tensor, level: float) -> Tensor:
    """(N, 3) where the padded field crosses the level on edges of the grid, in the frame of the unit cube."""
    side, number = len(values), torch.arange(len(edges), device=edges.device)
    lower, axis = edges // 3, edges % 3
    strides = torch.tensor([side * side, side, 1], device=edges.device)
    below, above = values.flatten()[lower], values.flatten()[lower + strides[axis]]
    share = ((level - below) / (above - below)).clamp(CLEARANCE, 1 - CLEARANCE)
    position = (lower[:, None] // strides % side).double()
    position[number, axis] += share
    return ((position - 0.5) / (side - 2) - 0.5).float()


def surface_points(vertices: Tensor, faces: Tensor, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Independent random points on triangles, uniform by area, and the unit normals there.

    The generator is NumPy's on every device, and is asked for the same numbers as for `rng.choice` of the triangles and
    a place in each: so are the points.

    Args:
        vertices: (N, 3) float.
        faces: (M, 3) int64, counter-clockwise seen from outside.
        count: P, number of points.

    Returns:
        points (P, 3) and normals (P, 3), float32, in the frame of the vertices; P = 0 where no triangle has an area.
    """
    corners = vertices.double()[faces]
    sides = corners[:, 1:] - corners[:, :1]
    across = torch.linalg.cross(sides[:, 0], sides[:, 1])
    area = across.norm(dim=1)
    if not (total := area.sum()) > 0:
        return vertices.new_zeros(0, 3), vertices.new_zeros(0, 3)
    drawn, places = (torch.from_numpy(rng.random(shape)).to(vertices.device) for shape in (count, (2, count, 1)))
    below = (area / total).cumsum(0)
    chosen = torch.searchsorted(below / below[-1], drawn, right=True)
    a, b = torch.where(places.sum(0) > 1, 1 - places, places)
    points = corners[chosen, 0] + a * sides[chosen, 0] + b * sides[chosen, 1]
    return points.float(), (across[chosen] / area[chosen, None]).float()
