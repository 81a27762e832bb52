"""Solid voxels: how right and how fast, beside what else a user would take.

    python -m benchmarks.voxelize --root /data/ShapeNetCore.v2 [suite sheets steady speed memory]

Writes these parts of benchmarks/results/voxelize.json, all unless some are named. Every method gets the same meshes in
one process and one thread, mesh by mesh; seconds are CPU seconds after the mesh is loaded.

    suite     mean IoU and seconds by damage (`damage.py`) and method. A peer's grid is scored as it comes and together
              with the cells that the damaged surface touches, and the better of the two counts; where it raises, these
              cells alone are its answer, and the failure is counted.
    sheets    the same of shapes made of sheets (`sheets.py`), by kind
    steady    IoU of this project's grids at 64^3 and at 128^3 pooled, on all meshes of `--root`
    speed     seconds a mesh of `--root`: this project on all of them, the peers on `--sample` of them, and the median
              over meshes of peer / this project
    memory    growth of the peak resident memory of a fresh process, by resolution
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterable
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from scipy.ndimage import binary_fill_holes

from benchmarks import common, damage, sheets
from pipeline.geometry.meshes import Mesh
from pipeline.geometry.solid import solid, surface
from pipeline.records.ready import pooled

RESOLUTION = 64
STEADY = 0.97  # IoU of grids of one mesh at two resolutions, from where on they are one shape
LIBRARIES = ("libigl", "numpy", "open3d", "scipy", "trimesh")
Grid = np.ndarray
Method = Callable[[Mesh, int], Grid]


def ours(mesh: Mesh, resolution: int) -> Grid:
    return solid(mesh.vertices, mesh.faces, resolution)[0]


def trimesh_fill(mesh: Mesh, resolution: int) -> Grid:
    """`voxelized().fill()`; its cells are centred at multiples of the pitch, so the mesh is moved by half a cell."""
    corners = (mesh.vertices + 0.5) - 0.5 / resolution
    voxels = trimesh.Trimesh(corners, mesh.faces, process=False).voxelized(1 / resolution).fill()
    grid = np.zeros((resolution,) * 3, bool)
    filled = np.argwhere(voxels.matrix) + np.round(voxels.translation * resolution).astype(int)
    grid[tuple(np.clip(filled, 0, resolution - 1).T)] = True
    return grid


def open3d_flood(mesh: Mesh, resolution: int) -> Grid:
    """Open3D's voxel grid of the surface, and SciPy's flood fill from outside."""
    from pipeline.geometry.open3d import o3d

    corners = o3d.utility.Vector3dVector(mesh.vertices)
    shape = o3d.geometry.TriangleMesh(corners, o3d.utility.Vector3iVector(mesh.faces.astype(np.int32)))
    low, high = np.full(3, -0.5), np.full(3, 0.5)
    cells = o3d.geometry.VoxelGrid.create_from_triangle_mesh_within_bounds(shape, 1 / resolution, low, high)
    grid = np.zeros((resolution,) * 3, bool)
    grid[tuple(np.array([cell.grid_index for cell in cells.get_voxels()]).T)] = True
    return binary_fill_holes(grid)


def open3d_occupancy(mesh: Mesh, resolution: int) -> Grid:
    """From one ray a cell; a vote of five (`nsamples`) gives no better grids at five times the price."""
    from pipeline.geometry.open3d import o3d, scene

    points = o3d.core.Tensor(damage.centres(resolution).astype(np.float32))
    inside = scene(mesh.vertices, mesh.faces).compute_occupancy(points, nthreads=1).numpy() > 0
    return inside.reshape((resolution,) * 3)


def libigl_winding(mesh: Mesh, resolution: int) -> Grid:
    """Fast winding number (Barill et al. 2018) above 1/2."""
    import igl

    inside = igl.fast_winding_number(mesh.vertices, mesh.faces, damage.centres(resolution)) > 0.5
    return inside.reshape((resolution,) * 3)


METHODS: dict[str, Method] = {
    "oneview": ours,
    "trimesh voxelized().fill()": trimesh_fill,
    "Open3D voxel grid + flood fill": open3d_flood,
    "Open3D compute_occupancy": open3d_occupancy,
    "libigl fast_winding_number": libigl_winding,
}


def attempt(method: Method, mesh: Mesh) -> tuple[float, Grid | None]:
    """(CPU seconds, grid), None and NaN where the method raises."""

    def guarded() -> Grid | None:
        try:
            return method(mesh, RESOLUTION)
        except Exception as error:  # what a library may raise is not known beforehand
            print(f"  {getattr(method, '__name__', method)}: {type(error).__name__}: {error}")
            return None

    seconds, grid = common.seconds(guarded)
    return (float("nan") if grid is None else seconds), grid


def suite(solids: Iterable[tuple[str, damage.Solid]]) -> dict[str, Any]:
    """By damage and method: mean IoU, median seconds and failures; over all damages: mean and worst IoU."""
    named = list(solids)
    made = (
        (kind, name, damage.broken(shape, kind, name, RESOLUTION)) for name, shape in named for kind in damage.KINDS
    )
    by_damage, over_all = scored((kind, name, case) for kind, name, case in made if case)
    return {"solids": [name for name, _ in named], "by_damage": by_damage, "over_all": over_all}


def of_sheets(count: int) -> dict[str, Any]:
    """The same of `count` shapes of each kind of sheets."""
    every = [(kind, number) for number in range(count) for kind in sheets.KINDS]
    by_kind, over_all = scored((kind, f"{kind} {n}", sheets.case(kind, n, RESOLUTION)) for kind, n in every)
    return {"shapes": count, "by_kind": by_kind, "over_all": over_all}


def scored(cases: Iterable[tuple[str, str, tuple[Mesh, Grid]]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of (kind, name, (mesh, true grid)), tables by kind and method, and over all kinds."""
    rows: dict[str, dict[str, list[tuple[float, float, float, bool]]]] = {}
    for kind, name, (mesh, truth) in cases:
        shell = surface(mesh.vertices, mesh.faces, RESOLUTION)
        for label, method in METHODS.items():
            seconds, grid = attempt(method, mesh)
            answer = shell if grid is None else grid
            score = damage.iou(answer, truth), damage.iou(answer | shell, truth)
            rows.setdefault(kind, {}).setdefault(label, []).append((*score, seconds, grid is None))
        print(f"  {kind}: {name}", flush=True)
    table = {kind: {label: summary(found) for label, found in methods.items()} for kind, methods in rows.items()}
    over_all = {
        label: {
            "mean_iou": float(np.mean([methods[label]["iou"] for methods in table.values()])),
            "worst_class_iou": float(min(methods[label]["iou"] for methods in table.values())),
            "seconds": float(np.nanmedian([row[2] for methods in rows.values() for row in methods[label]])),
        }
        for label in METHODS
    }
    return table, over_all


def steadiness(root: Path) -> dict[str, Any]:
    """IoU of this project's grids with those of twice the side, pooled: a shape must not depend on the side."""
    found = []
    for ref in common.models(root):
        mesh = damage.load(root, ref)
        found.append(damage.iou(ours(mesh, RESOLUTION), pooled(ours(mesh, 2 * RESOLUTION), RESOLUTION)))
    scores = np.array(found)
    return {
        "meshes": len(scores),
        "mean": float(scores.mean()),
        "least": float(scores.min()),
        f"share_of_at_least_{STEADY}": float((scores >= STEADY).mean()),
    }


def summary(rows: list[tuple[float, float, float, bool]]) -> dict[str, float]:
    alone, with_shell, seconds, failed = (np.array(column) for column in zip(*rows, strict=True))
    return {
        "meshes": len(rows),
        "iou": float(max(alone.mean(), with_shell.mean())),
        "seconds": float(np.nanmedian(seconds)),
        "failures": int(failed.sum()),
    }


def speed(root: Path, sample: int) -> dict[str, Any]:
    """CPU seconds a mesh at 64^3, medians, and medians over the meshes of peer / this project."""
    chosen = dict.fromkeys(common.models(root, sample))
    taken: dict[str, dict[Any, float]] = {label: {} for label in METHODS}
    for ref in common.models(root):
        mesh = damage.load(root, ref)
        for label, method in METHODS.items():
            if label == "oneview" or ref in chosen:
                taken[label][ref] = attempt(method, mesh)[0]
    own = taken["oneview"]
    return {
        "meshes": len(own),
        "sample": len(chosen),
        "seconds": {label: float(np.nanmedian(list(times.values()))) for label, times in taken.items()},
        "seconds_90th_percentile": float(np.quantile(list(own.values()), 0.9)),
        "ratio": {
            label: float(np.nanmedian([times[ref] / own[ref] for ref in times])) for label, times in taken.items()
        },
        "failures": {label: int(np.isnan(list(times.values())).sum()) for label, times in taken.items()},
    }


def memory(resolutions: Iterable[int]) -> dict[str, dict[str, float]]:
    """By resolution: bytes a cell by which the peak memory of a fresh process grows, and CPU seconds."""
    measured = {}
    for resolution in resolutions:
        with get_context("spawn").Pool(1) as pool:
            growth, seconds = pool.apply(grow, (resolution,))
        measured[str(resolution)] = {"bytes_a_cell": growth / resolution**3, "seconds": seconds}
    return measured


def grow(resolution: int) -> tuple[int, float]:
    """(bytes by which voxelizing a chair raises this process's peak, CPU seconds)."""
    _, shape = next(item for item in damage.families(1) if item[0].startswith("chair"))
    mesh = Mesh(*damage.joined(damage.normalised(shape)))
    ours(mesh, 16)
    before = peak()
    seconds, _ = common.seconds(lambda: ours(mesh, resolution))
    return peak() - before, seconds


def peak() -> int:
    """Most bytes of memory this process has held; unlike `ru_maxrss` not what its parent held."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def show(result: dict[str, Any]) -> None:
    for part, by in (("suite", "by_damage"), ("sheets", "by_kind")):
        if part not in result:
            continue
        table = result[part][by]
        print(f"{'mean IoU':36}" + "".join(f"{kind[:10]:>11}" for kind in table) + "       mean  s/mesh")
        for label, row in result[part]["over_all"].items():
            cells = "".join(f"{table[kind][label]['iou']:11.4f}" for kind in table)
            print(f"{label:36}{cells}{row['mean_iou']:11.4f}{row['seconds']:8.3f}")
    if "steady" in result:
        print(f"64^3 against 128^3: {result['steady']}")
    if "speed" in result:
        for label, ratio in result["speed"]["ratio"].items():
            print(f"{label:36}{result['speed']['seconds'][label]:8.3f} s/mesh, {ratio:.1f} times this project's")
    for side, row in result.get("memory", {}).items():
        print(f"{side}^3: {row['bytes_a_cell']:.0f} bytes a cell, {row['seconds']:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.voxelize", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "parts", nargs="*", choices=["suite", "sheets", "steady", "speed", "memory", []], help="all if none is given"
    )
    parser.add_argument("--root", type=Path, default=Path("data/embedded"), help="data set with meshes")
    parser.add_argument("--families", type=int, default=1, help="members of each embedded family in the suite")
    parser.add_argument("--watertight", type=int, default=8, help="watertight meshes of --root in the suite")
    parser.add_argument("--sheets", type=int, default=8, help="shapes of each kind of sheets")
    parser.add_argument("--sample", type=int, default=90, help="meshes of --root for the peers' speed")
    parser.add_argument("--resolutions", type=int, nargs="+", default=[32, 64, 128, 256], help="for memory")
    options = parser.parse_args()
    os.environ["IGL_NUM_THREADS"] = "1"  # before libigl is imported
    mesh = Mesh(*damage.joined(damage.normalised(next(damage.families(1))[1])))
    for method in METHODS.values():  # imports and first allocations are nobody's seconds
        attempt(method, mesh)
    solids = chain(damage.families(options.families), damage.watertight(options.root, options.watertight))
    parts: dict[str, Callable[[], Any]] = {
        "suite": lambda: suite(solids),
        "sheets": lambda: of_sheets(options.sheets),
        "steady": lambda: steadiness(options.root),
        "speed": lambda: speed(options.root, options.sample),
        "memory": lambda: memory(options.resolutions),
    }
    made = {name: parts[name]() for name in options.parts or parts}
    show(made)
    path = common.RESULTS / "voxelize.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    common.write("voxelize", LIBRARIES, {name: (kept | made)[name] for name in parts if name in kept | made})


if __name__ == "__main__":
    main()
