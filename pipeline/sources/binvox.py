"""Solid grids in Patrick Min's binvox format: a few lines of text, then runs of equal cells as (value, length) bytes.

Cells come with x slowest, then z, then y. A cell's centre lies at translate + scale * ((i, j, k) + 0.5) / dim. Source:
www.patrickmin.com/binvox/binvox.html.
"""

from __future__ import annotations

import numpy as np

from pipeline.geometry.meshes import MeshError
from pipeline.sources.layout import Grid

MAX_SIDE = 1024
MAX_RUN = 255  # cells, by one byte


def read(data: bytes) -> Grid:
    """The grid of a binvox file, in the axes of the file.

    Raises:
        MeshError: `bad_grid`: it is no binvox file of a cube, or the runs don't fill it exactly.
    """
    side, translate, scale, runs = _header(data)
    pairs = np.frombuffer(runs[: len(runs) // 2 * 2], np.uint8).reshape(-1, 2)
    total = int(pairs[:, 1].sum(dtype=np.int64))
    if len(runs) % 2 or total != side**3 or pairs[:, 0].max() > 1:
        found = f"{total} in {len(runs)} bytes, values up to {pairs[:, 0].max(initial=0)}"
        raise MeshError("bad_grid", f"expected runs of {side**3} cells of value 0 or 1, got {found}")
    occupancy = np.repeat(pairs[:, 0].astype(bool), pairs[:, 1]).reshape(side, side, side).transpose(0, 2, 1)
    affine = np.diag([scale, scale, scale, 1.0])
    affine[:3, 3] = translate + scale / 2
    return Grid(occupancy, affine)


def write(occupancy: np.ndarray, translate: np.ndarray, scale: float) -> bytes:
    """A binvox file of (R, R, R) bool, the cube's corner at `translate` (3,) and its side `scale` long."""
    cells = np.ascontiguousarray(occupancy.transpose(0, 2, 1)).ravel()
    starts = np.flatnonzero(np.diff(cells.astype(np.int8), prepend=2))
    lengths = np.diff(starts, append=len(cells))
    parts = -(-lengths // MAX_RUN)
    runs = np.full((parts.sum(), 2), MAX_RUN, np.uint8)
    runs[:, 0] = np.repeat(cells[starts], parts)
    runs[np.cumsum(parts) - 1, 1] = lengths - (parts - 1) * MAX_RUN
    sides, corner = " ".join([str(len(occupancy))] * 3), " ".join(f"{float(value):.9g}" for value in translate)
    return f"#binvox 1\ndim {sides}\ntranslate {corner}\nscale {scale:.9g}\ndata\n".encode() + runs.tobytes()


def _header(data: bytes) -> tuple[int, np.ndarray, float, bytes]:
    """Cells a side, translation, scale, and the bytes behind the header."""
    head, mark, runs = data.partition(b"\ndata\n")
    try:
        first, *lines = head.decode("ascii").splitlines()
        told = [line for line in lines if not line.startswith("#")]
        fields = {name: [float(value) for value in values] for name, *values in map(str.split, told)}
        (x, y, z), translate, (scale,) = fields["dim"], np.array(fields["translate"]), fields["scale"]
        whole = mark and first.startswith("#binvox 1") and translate.shape == (3,) and 1 <= x <= MAX_SIDE and x % 1 == 0
        if not (whole and x == y == z and scale > 0 and np.isfinite([*translate, scale]).all()):
            raise ValueError(" ".join([first, *lines]))
    except (ValueError, KeyError) as error:
        expected = f"expected #binvox 1, dim of a cube up to {MAX_SIDE}, translate, scale, data"
        raise MeshError("bad_grid", f"{expected}; got {str(error)[:200]}") from error
    return int(x), translate, scale, runs
