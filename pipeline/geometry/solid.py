"""Solid occupancy of a mesh as it comes: doubled faces, mixed winding, overlapping parts, holes, open bottoms, sheets.

    cells that a triangle touches, exactly                           surface
    weld, sew, split into patches, lid their rims                    patches.py
    parity along lines in nine directions                            _vote
    majority of directions, with the least border through air        cut.py
    and whatever air from outside, through cracks no more, misses    _fill

Parity knows no winding, and each closed patch is counted for itself, so overlap and nesting do no harm.

Cell (i, j, k) is centred at ((i, j, k) + 0.5) / R - 0.5 along x, y (up), z.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace

import numpy as np
from scipy import ndimage

from pipeline.geometry import cut, patches
from pipeline.geometry.open3d import o3d, scene
from pipeline.geometry.points import INWARD, in_cells

# Lines through cell centres: leading axis, second axis, cells climbed along it per cell. Lines led by y run down.
LINES = ((0, 1, 0), (2, 1, 0), (0, 2, 1), (0, 2, -1), (1, 0, 0), (1, 0, 1), (1, 0, -1), (1, 2, 1), (1, 2, -1))
CRACK = 1 / 64  # the least width of cells in which air moves: gaps around doors are shut at 64 and its multiples
JITTER = (0.0137, -0.0091)  # in cells: keeps lines off the edges and faces that lie on cell centres


@dataclass(frozen=True)
class Note:
    """How far a grid is to be trusted.

    fill_ratio: solid cells / all cells. components: 26-connected pieces of the solid. disagreement: share of the cells
    off the surface that some directions hold for inside and others for outside. lidded: share of the solid cells that
    closed holes or missing sides, with no surface in them. uncovered: share of the surface with no solid cell in it or
    beside it (see `points.py`), 0 unless a grid was not made of its mesh.
    """

    fill_ratio: float
    components: int
    disagreement: float = 0.0
    lidded: float = 0.0
    uncovered: float = 0.0

    def row(self) -> np.ndarray:
        """All of it, (5,) float32, in this order."""
        return np.array(astuple(self), np.float32)


def surface(vertices: np.ndarray, faces: np.ndarray, resolution: int) -> np.ndarray:
    """Cells (R, R, R) bool that a triangle touches: exact triangle-box overlap, borders included.

    vertices (N, 3) float in the unit cube [-0.5, 0.5]^3, faces (M, 3) int. Everything is first put `in_cells`.
    Raises ValueError as `solid` does.
    """
    vertices, faces = _checked(vertices, faces, resolution)
    return _touched(vertices[faces], resolution)


def solid(vertices: np.ndarray, faces: np.ndarray, resolution: int) -> tuple[np.ndarray, Note]:
    """Surface cells and all that is enclosed, (R, R, R) bool, with a note of quality.

    vertices (N, 3) float in the unit cube [-0.5, 0.5]^3, +Y up; faces (M, 3) int, in any order and winding.
    Raises ValueError for no faces, indices out of range, vertices that are not finite or lie outside the cube.
    """
    vertices, faces = _checked(vertices, faces, resolution)
    shell = _touched(vertices[faces], resolution)
    triangles, group, lids = patches.close(*patches.sew(*patches.weld(vertices, faces)))
    yes, no = _vote(triangles * INWARD, group, resolution)
    lid = _touched(lids, resolution)
    body = shell | cut.inside(yes, no, shell, lid)
    # The fan over a rim that is not star-shaped covers air too: only its cells beside something else count.
    lid &= ndimage.binary_dilation(body)
    grid, split = _fill(body | lid), ((yes > 0) & (no > 0))[~shell]
    lidded = np.count_nonzero(lid & ~shell) / np.count_nonzero(grid)
    return grid, replace(noted(grid), disagreement=float(split.mean()) if split.size else 0.0, lidded=lidded)


def noted(grid: np.ndarray) -> Note:
    """The note of a grid (R, R, R) bool of which nothing else is known."""
    return Note(float(grid.mean()), int(ndimage.label(grid, np.ones((3, 3, 3)))[1]))


def _checked(vertices: np.ndarray, faces: np.ndarray, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    vertices, faces = np.asarray(vertices, float), np.asarray(faces)
    if resolution < 1:
        raise ValueError(f"resolution: expected at least 1 cell a side, got {resolution}")
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise ValueError(f"vertices: expected shape (N, 3), got {vertices.shape}")
    if faces.ndim != 2 or faces.shape[1] != 3 or not len(faces) or faces.dtype.kind not in "iu":
        raise ValueError(f"faces: expected shape (M, 3) of integers, M at least 1, got {faces.shape} {faces.dtype}")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise ValueError(f"faces: expected indices in 0..{len(vertices) - 1}, got {faces.min()}..{faces.max()}")
    if not np.isfinite(vertices).all():
        raise ValueError(f"vertices: expected finite numbers, got {(~np.isfinite(vertices)).sum()} NaN or infinite")
    reach = np.abs(vertices[faces]).max()
    if reach > 0.5 * (1 + 1e-6):
        raise ValueError(f"vertices: expected the unit cube [-0.5, 0.5]^3, got a coordinate of size {reach:.6g}")
    return vertices, faces.astype(np.int64)


def _touched(triangles: np.ndarray, resolution: int) -> np.ndarray:
    """Cells (R, R, R) bool that triangles (M, 3, 3) touch."""
    triangles = in_cells(triangles, resolution)  # Open3D loses faces a hair beside a plane of cells, not those on it
    # It loses cells of a triangle whose corners lie on a line, but not if two of them are the same.
    sides = np.roll(triangles, -1, axis=1) - triangles
    length = np.linalg.norm(sides, axis=2)
    bare = np.flatnonzero(np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1) <= 1e-12 * length.max(axis=1) ** 2)
    start = length[bare].argmax(axis=1)
    triangles[bare] = triangles[bare[:, None], np.stack([start, (start + 1) % 3, (start + 1) % 3], axis=1)]

    corners = o3d.utility.Vector3dVector(triangles.reshape(-1, 3))
    order = o3d.utility.Vector3iVector(np.arange(3 * len(triangles), dtype=np.int32).reshape(-1, 3))
    cells = o3d.geometry.VoxelGrid.create_from_triangle_mesh_within_bounds(
        o3d.geometry.TriangleMesh(corners, order), 1.0, np.zeros(3), np.full(3, float(resolution))
    )
    index = np.array([cell.grid_index for cell in cells.get_voxels()], np.int64).reshape(-1, 3)
    grid = np.zeros((resolution,) * 3, bool)
    grid[tuple(index.T)] = True
    return grid


def _vote(triangles: np.ndarray, group: np.ndarray, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Number of directions (R, R, R) int8 that hold a cell for inside, and for outside.

    A line that crosses a group an odd number of times holds no cell for outside, except, if it runs down, those above
    its first crossing of the group: openings below do no harm, openings above do count.
    """
    yes = np.zeros((resolution,) * 3, np.int8)
    no = np.full_like(yes, len(LINES))
    if not len(triangles):
        return yes, no
    structure = scene(triangles)
    for lead, second, climb in LINES:
        down = lead == 1
        rays = _rays(resolution, lead, second, climb)
        hits = structure.list_intersections(o3d.core.Tensor(rays.reshape(-1, 6)), nthreads=1)
        line, depth, face = (hits[name].numpy() for name in ("ray_ids", "t_hit", "primitive_ids"))
        steps, doubts = _crossings(line.astype(np.int64), depth, group[face], resolution, rays.shape[:2], down)
        axes, way = (lead, second, 3 - lead - second), slice(None, None, -1 if down else 1)
        held, doubt, doubtful = np.zeros(rays.shape[:2], np.int16), np.zeros(rays.shape[:2], bool), doubts.any()
        for i, (into, out) in enumerate(zip(yes.transpose(axes)[way], no.transpose(axes)[way], strict=True)):
            held += steps[i]
            start = {0: 0, 1: resolution - 1 - i, -1: i}[climb]
            inside = held[start : start + resolution] > 0
            into += inside
            if doubtful:
                doubt |= doubts[i]
                inside |= doubt[start : start + resolution]
            out -= inside
    return yes, no


def _rays(resolution: int, lead: int, second: int, climb: int) -> np.ndarray:
    """Rays (B, R, 6) float32 along lines through all cell centres; the i-th layer's are at parameter i + 1.5."""
    rows = np.arange((1 + abs(climb)) * resolution - abs(climb)) - (resolution - 1 if climb > 0 else 0)
    rays = np.zeros((len(rows), resolution, 6))
    rays[..., lead], rays[..., 3 + lead] = (-1, 1) if lead != 1 else (resolution + 1, -1)
    rays[..., second], rays[..., 3 + second] = (rows + 0.5 + JITTER[0] - 1.5 * climb)[:, None], climb
    rays[..., 3 - lead - second] = np.arange(resolution) + 0.5 + JITTER[1]
    return (rays / resolution - np.repeat([0.5, 0], 3)).astype(np.float32)


def _crossings(
    line: np.ndarray, depth: np.ndarray, group: np.ndarray, resolution: int, lines: tuple[int, int], down: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Layer by layer (R + 1, B, R): groups entered less groups left (int16), and whether doubt begins (bool)."""
    order = np.lexsort((depth, group, line))
    line, group = line[order], group[order]
    layer = np.clip(np.ceil(depth[order] - 1.5), 0, resolution).astype(np.int64)
    first = np.flatnonzero((np.diff(line, prepend=-1) != 0) | (np.diff(group, prepend=-1) != 0))
    size = np.diff(first, append=len(line))
    paired = np.repeat(size % 2 == 0, size)
    sign = 1 - 2 * ((np.arange(len(line)) - np.repeat(first, size)) % 2)
    steps = np.zeros((resolution + 1, lines[0] * lines[1]), np.int16)
    np.add.at(steps, (layer[paired], line[paired]), sign[paired].astype(np.int16))
    doubts = np.zeros(steps.shape, bool)
    odd = first[size % 2 == 1]
    doubts[layer[odd] if down else 0, line[odd]] = True
    return steps.reshape(-1, *lines), doubts.reshape(-1, *lines)


def _fill(body: np.ndarray) -> np.ndarray:
    """The cells that air from outside does not reach, moving through faces of cells at least CRACK wide."""
    cells = np.arange(len(body))
    width = max(1, int(len(body) * CRACK))
    if width > 1:
        coarse = body
        for axis in range(3):
            coarse = np.logical_or.reduceat(coarse, cells[::width], axis=axis)
        air = (_enclosed(coarse) & ~coarse)[np.ix_(*[cells // width] * 3)]
        body = body | ndimage.binary_dilation(air, iterations=width - 1, mask=~body)
    return _enclosed(body)


def _enclosed(body: np.ndarray) -> np.ndarray:
    """The cells that air from outside, moving through faces of cells, does not reach."""
    air, _ = ndimage.label(np.pad(~body, 1, constant_values=True))
    return (air != air[0, 0, 0])[1:-1, 1:-1, 1:-1]
