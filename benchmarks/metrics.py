"""What scoring a sample costs, and the nearest points in it beside what else a user would take for them.

    python -m benchmarks.metrics --root /data/ShapeNetCore.v2

Writes benchmarks/results/metrics.json. A sample is a model's solid 64^3 grid and 10,000 points on its mesh, and as the
prediction a probability grid: another model's solid, smoothed. It is wrong, so that the points lie apart, which is the
slow case of every search tree. Seconds are CPU seconds of one thread; everything runs in turn on each sample.

    whole       all scores but the earth mover's distance: IoU at three thresholds and its curve over 99, log loss, the
                prediction's marching cubes, 10,000 points with normals there, and `cloud_scores` against the points of
                the mesh
    both        that, and as many points from the true grid's marching cubes, and `cloud_scores` against these as well
    parts       of it, and what is not in it: EMD of 1,024 points, a mesh made a grid, the protocols
    ratio       median over the samples of peer / this project's Chamfer distance, on the same two sets of 10,000 points
    difference  the largest one between a peer's Chamfer distance and this project's
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from torch import Tensor

from benchmarks import damage
from benchmarks.common import models, seconds, write
from pipeline.geometry.solid import solid
from pipeline.geometry.surfaces import mesh_occupancy
from pipeline.scoring import protocols
from pipeline.scoring.clouds import cloud_scores
from pipeline.scoring.cubes import marching_cubes, surface_points
from pipeline.scoring.distances import chamfer_unsquared, iou, iou_curve, log_loss
from pipeline.scoring.matching import emd, emd_auction
from pipeline.sources.layout import ModelRef

LIBRARIES = ("easypytorch3d", "numpy", "scipy", "torch")
RESOLUTION, POINTS, MATCHED = 64, 10_000, 1024
THRESHOLD, THRESHOLDS = 0.3, torch.arange(1, 100) / 100
SMOOTHING = 1.0  # cells


@dataclass(frozen=True)
class Sample:
    """Grids (R, R, R), and points (P, 3) with normals on the mesh."""

    probabilities: np.ndarray
    occupancy: np.ndarray
    points: Tensor
    normals: Tensor


def samples(root: Path, refs: list[ModelRef]) -> list[Sample]:
    shapes = [damage.load(root, ref) for ref in refs]
    grids = [solid(mesh.vertices, mesh.faces, RESOLUTION)[0] for mesh in shapes]
    found = []
    for i, mesh in enumerate(shapes):
        vertices, faces = (torch.from_numpy(np.array(part)) for part in (mesh.vertices, mesh.faces))
        points, normals = surface_points(vertices, faces, POINTS, np.random.default_rng(i))
        wrong = gaussian_filter(grids[i - 1].astype(np.float32), SMOOTHING).clip(0, 1)
        found.append(Sample(wrong, grids[i], points, normals))
    return found


def surface(field: np.ndarray, level: float) -> tuple[Tensor, Tensor]:
    return surface_points(*marching_cubes(torch.from_numpy(field), level), POINTS, np.random.default_rng(0))


def of_grids(sample: Sample) -> list[Tensor]:
    predicted, true = torch.from_numpy(sample.probabilities)[None], torch.from_numpy(sample.occupancy)[None]
    overlaps = [iou(predicted > threshold, true) for threshold in (THRESHOLD, 0.4, 0.5)]
    return [*overlaps, iou_curve(predicted, true, THRESHOLDS), log_loss(predicted, true)]


def whole(sample: Sample, both: bool) -> None:
    of_grids(sample)
    points, normals = surface(sample.probabilities, THRESHOLD)
    cloud_scores(points, sample.points, normals, sample.normals)
    if both:
        true_points, true_normals = surface(sample.occupancy, 0.5)
        cloud_scores(points, true_points, normals, true_normals)


def scipy_trees(a: Tensor, b: Tensor) -> float:
    x, y = a.numpy(), b.numpy()
    return cKDTree(y).query(x, workers=1)[0].mean() + cKDTree(x).query(y, workers=1)[0].mean()


def pytorch3d_chamfer(a: Tensor, b: Tensor) -> float:
    """Its distances are squared."""
    from pytorch3d.loss import chamfer_distance

    return chamfer_distance(a[None], b[None])[0].item()


def torch_cdist(a: Tensor, b: Tensor) -> float:
    """All pairs, 1,000 rows at a time."""
    parts = [torch.cdist(rows, b) for rows in a.split(1000)]
    to_b = torch.cat([part.amin(1) for part in parts])
    return (to_b.mean() + torch.stack([part.amin(0) for part in parts]).amin(0).mean()).item()


def parts(sample: Sample, points: Tensor, normals: Tensor) -> dict[str, Callable[[], Any]]:
    """What is timed beside the whole, by name; `points` (P, 3) with normals are on the prediction's surface."""
    some, true = points.numpy()[:MATCHED], sample.points.numpy()[:MATCHED]
    field = torch.from_numpy(sample.probabilities)
    vertices, faces = marching_cubes(field, THRESHOLD)
    grids = sample.probabilities, sample.occupancy
    return {
        "IoU three times, its curve, log loss": lambda: of_grids(sample),
        "marching cubes": lambda: marching_cubes(field, THRESHOLD),
        "points with normals": lambda: surface_points(vertices, faces, POINTS, np.random.default_rng(0)),
        "cloud_scores": lambda: cloud_scores(points, sample.points, normals, sample.normals),
        "emd, 1024 points": lambda: emd(some, true),
        "SciPy linear_sum_assignment, 1024 points": lambda: linear_sum_assignment(cdist(some, true)),
        "emd_auction, 1024 points": lambda: emd_auction(some, true),
        "mesh_occupancy": lambda: mesh_occupancy(vertices.numpy(), faces.numpy(), RESOLUTION),
        "protocol pix3d": lambda: protocols.pix3d(*grids, np.random.default_rng(0)),
        "protocol r2n2": lambda: protocols.r2n2(*grids),
        "protocol r3d": lambda: protocols.r3d(*grids),
    }


def measure(chosen: list[Sample]) -> dict[str, Any]:
    """Seconds by name, ratios and differences as above; the first sample runs twice, once to warm up."""
    peers = {
        "SciPy cKDTree": scipy_trees,
        "PyTorch3D chamfer_distance": pytorch3d_chamfer,
        "torch.cdist": torch_cdist,
    }
    taken: dict[str, list[float]] = {}
    apart: dict[str, list[float]] = {name: [] for name in peers}
    for number, sample in enumerate([chosen[0], *chosen]):
        points, normals = surface(sample.probabilities, THRESHOLD)
        chamfers = {"chamfer": chamfer_unsquared, **peers}
        jobs: dict[str, Callable[[], Any]] = {
            "whole": partial(whole, sample, False),
            "both": partial(whole, sample, True),
            **parts(sample, points, normals),
        }
        jobs |= {name: partial(chamfer, points, sample.points) for name, chamfer in chamfers.items()}
        values: dict[str, Any] = {}
        for name, job in jobs.items():
            spent, values[name] = seconds(job)
            if number:
                taken.setdefault(name, []).append(spent)
        own = {"PyTorch3D chamfer_distance": values["cloud_scores"]["chamfer_squared"]}
        for name in peers:
            apart[name].append(abs(values[name] - own.get(name, values["chamfer"].item())))
    return {
        "samples": len(chosen),
        "seconds": {name: float(np.median(times)) for name, times in taken.items()},
        "longest": {name: max(taken[name]) for name in ("whole", "both")},
        "ratio": {name: float(np.median(np.array(taken[name]) / taken["chamfer"])) for name in peers},
        "difference": {name: float(max(values)) for name, values in apart.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.metrics", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("data/embedded"), help="data set with meshes")
    parser.add_argument("--sample", type=int, default=40, help="models")
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = measure(samples(options.root, models(options.root, options.sample)))
    for name, median in result["seconds"].items():
        ratio = f", {result['ratio'][name]:.1f} times this project's" if name in result["ratio"] else ""
        print(f"{name:40}{1000 * median:8.1f} ms{ratio}")
    for name, longest in result["longest"].items():
        print(f"{name}, longest of {result['samples']}: {1000 * longest:.1f} ms")
    write("metrics", LIBRARIES, result)


if __name__ == "__main__":
    main()
