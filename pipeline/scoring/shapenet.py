"""Two more protocols, step by step: those by which the tables on ShapeNet are made. `protocols.py` says what all share.

`pix2vox`  Xie et al. 2019 (arXiv:1901.11153), by the script they test with (hzxie/Pix2Vox, `core/test.py`), which those
    after them have taken over: Pix2Vox++, 3D-RETR, UMIFormer (thresholds .3 to .6), LRGT. Of the first view of a model.
    IoU      Both grids at 32^3; a finer one is reduced by the maximum of its parts. |P and T| / |P or T| of the cells
             with a probability >= t in P, for each t of 0.2, 0.3, 0.4, 0.5, the mean over all samples; the t with the
             highest one, found on the test split, counts.
    F-score  Pix2Vox++ refers to Tatarchenko et al. 2019 and has no code; by LegoFormer's (faridyagubbayli/LegoFormer,
             `util/metrics.py`), which LRGT says it uses. Cells >= 0.3 of the same grids; marching cubes of zeros and
             ones at level 0, so that the surface lies on the centres of the free cells around the object; a cell is
             1/33 wide; 8192 points on each, uniform by area; the harmonic mean of the shares of points nearer than
             0.01 to one of the other set, which is a third of a cell. The mean over all samples.
    Where this differs: vertices keep a thousandth of a cell from the free centres; both grids empty is 1 each, not an
             error, and one of them empty 0. The published grids are binvox's of ShapeNetCore v1, the views 3D-R2N2's.

`occnet`  Mescheder et al. 2019 (arXiv:1812.03828), by autonomousvision/occupancy_networks, `im2mesh/eval.py`. Of the
    first view of a model. Everything is in units of the longest side of the true shape's bounding box.
    IoU      Of 100,000 points uniform in a cube of side 1.1: |P and T| / |P or T| of those inside of each.
    points   30,000 on each surface, uniform by area, with the normals of their triangles.
    Chamfer  10 (mean_p min_t |p - t| + mean_t min_p |t - p|) / 2, their "Chamfer-L1": a tenth of the side is 1.
    normals  |cos| of the normals of a p and of the nearest t, the mean over p; the same from t; and the mean of both.
    Where this differs: the truth is the surface of the shards' grid, marching cubes, where theirs is a watertight mesh
             of fused depth maps; P is the surface at the tuned threshold, where theirs is 0.2; the points of the volume
             are those of a lattice of 47^3 in a random place, which has the same mean and less noise; nothing
             predicted scores a normal consistency of 0, there -1. Of 30,000 points, there 100,000, the Chamfer
             distance is larger by about 0.005. Their means are over the means of the categories.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pipeline.geometry.surfaces import mesh_occupancy
from pipeline.scoring.clouds import cloud_scores
from pipeline.scoring.cubes import marching_cubes, surface_points
from pipeline.scoring.distances import nearest
from pipeline.scoring.protocols import reduced

PIX2VOX_SIDE, PIX2VOX_THRESHOLDS = 32, np.array([0.2, 0.3, 0.4, 0.5])
F_THRESHOLD, F_POINTS, F_LIMIT = 0.3, 8192, 0.01
AT_THE_FREE_CELLS = 1e-6  # marching cubes' level, which has to be above 0
OCCNET_LATTICE, OCCNET_POINTS, OCCNET_PADDING = 47, 30_000, 1.1
LONGEST = 15 / 16  # side of shapes in the shards (`geometry/meshes.py`)
Surface = tuple[np.ndarray, np.ndarray]  # vertices (N, 3), faces (M, 3)


def pix2vox(prediction: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """`iou_curve`, (4,) float64 over PIX2VOX_THRESHOLDS, and `f_score_1%` of one sample.

    Args:
        prediction: (R, R, R) probabilities, R a multiple of 32.
        truth: (S, S, S) bool, S a multiple of 32.
        rng: draws the points.

    Raises:
        ValueError: the grids are not of these shapes.
    """
    predicted, true = reduced("pix2vox", PIX2VOX_SIDE, prediction, truth)
    full = true > 0.5
    cells = [predicted >= np.float32(t) for t in PIX2VOX_THRESHOLDS]
    curve = [(p & full).sum() / either if (either := (p | full).sum()) else 1.0 for p in cells]
    return {"iou_curve": np.array(curve), "f_score_1%": cells_f_score(predicted >= np.float32(F_THRESHOLD), full, rng)}


def cells_f_score(prediction: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> float:
    """The F-score of two grids (32, 32, 32) bool, as the protocol says."""
    if not (prediction.any() and truth.any()):
        return float(prediction.any() == truth.any())
    surfaces = (marching_cubes(torch.from_numpy(grid), AT_THE_FREE_CELLS) for grid in (prediction, truth))
    p, t = (surface_points(*surface, F_POINTS, rng)[0] for surface in surfaces)
    limit = F_LIMIT * (PIX2VOX_SIDE + 1) / PIX2VOX_SIDE  # here a cell is 1/32 wide
    precision, recall = (float((nearest(a, b)[0] < limit).float().mean()) for a, b in ((p, t), (t, p)))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def occnet(
    prediction: Surface | np.ndarray, truth: Surface, rng: np.random.Generator, body: Surface | None = None
) -> dict[str, float]:
    """`iou`, `chamfer_l1` and `normal_consistency` of one sample, shapes in the unit cube.

    Args:
        prediction: a surface; or points (P, 3), as they are, which have neither an IoU nor normals.
        truth: the closed surface of the true grid.
        rng: draws the points.
        body: a closed surface instead of the predicted one, for what is inside; none where that is closed.
    """
    (true, true_normals), scores = on_surface(truth, rng), {}
    if isinstance(prediction, np.ndarray):
        points, point_normals = torch.from_numpy(prediction), None
    else:
        points, point_normals = on_surface(prediction, rng)
        place = rng.random(3)
        p, t = (inside(surface, place) for surface in (body or prediction, truth))
        scores["iou"] = float((p & t).sum() / either) if (either := (p | t).sum()) else 1.0
    found = cloud_scores(points, true, point_normals, true_normals)
    scores["chamfer_l1"] = 10 / LONGEST * found["chamfer_unsquared"] / 2
    return scores | {name: found[name] for name in ("normal_consistency",) if name in found}


def on_surface(surface: Surface, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """OCCNET_POINTS points and unit normals (N, 3) float32 on a surface; N is 0 where there is none."""
    vertices, faces = (torch.from_numpy(np.ascontiguousarray(array)) for array in surface)
    return surface_points(vertices, faces, OCCNET_POINTS, rng)


def inside(surface: Surface, place: np.ndarray) -> np.ndarray:
    """Which points of the lattice lie in a closed surface, (47, 47, 47) bool; `place` (3,) in [0, 1) is where it lies.

    The lattice is of cells of a cube of side 1.1 x 15/16, a point in each, all at the same place in their cell.
    """
    vertices, faces = surface
    moved = vertices / (OCCNET_PADDING * LONGEST) - (place - 0.5) / OCCNET_LATTICE
    return mesh_occupancy(moved, faces, OCCNET_LATTICE)
