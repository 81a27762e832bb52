"""How others' shapes come into the shards' frame (drawn in `geometry/meshes.py`): rules by name, joined by `+`.

    as_is           nothing is done
    axes_A_B_C      A, B and C are the axes of the file that become +X, +Y (up) and +Z (behind): x, y, z or -x, -y, -z
    scale_S         everything S times as large
    view            the file is as its photo sees it, +X right, +Y up, +Z to the camera, but upright: turned about Y
    camera          the same of a file that is tilted as its photo is: turned by the whole camera
    longest_side    the bounding box is centred, its longest side made 15/16, as of all shapes in the shards
    best_of_24      of the 24 turns that map axes to axes the one with the least Chamfer distance, both shapes scaled to
                    their boxes for that
    scaled_icp      the box on the true one by its centre and longest side, then iterative closest points to the true
                    surface, with a scale (Besl and McKay 1992)

The last two look at the truth, so that they answer how good a shape is, not where it was put: a figure with them is
better than one without. A grid whose axes alone are changed stays a grid; otherwise it becomes its surface.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.geometry.meshes import EXTENT
from pipeline.scoring.predictions import Prediction

AS_IS = "as_is"
POINTS = 2000  # of a surface, that those two compare
ROUNDS = 100  # of closest points, at most
AXES = {"x": 0, "y": 1, "z": 2}


@dataclass(frozen=True)
class Sample:
    """What is known of a test sample.

    Attributes:
        points: (P, 3) float32 on the true surface.
        world_to_view: (4, 4) of its photo's camera, for column vectors; +X left, +Y up, +Z inward.
    """

    points: np.ndarray
    world_to_view: np.ndarray


Step = Callable[[np.ndarray, np.ndarray, Sample], np.ndarray]  # vertices, points on the surface -> affine (4, 4)


def steps(rules: str) -> list[Step]:
    """What the rules do, in their order; ValueError for one that there is not."""
    return [_step(rule) for rule in rules.split("+") if rule != AS_IS]


def keeps_grids(rules: str) -> bool:
    """Whether a grid stays one, as no more than its axes are changed."""
    return all(rule == AS_IS or rule.startswith("axes_") for rule in rules.split("+"))


def placed(
    prediction: Prediction, rules: str, sample: Sample, threshold: float, rng: np.random.Generator
) -> Prediction:
    """A prediction in the shards' frame.

    Args:
        rules: names joined by `+`.
        threshold: of a grid, at its surface.
        rng: draws the points that are compared.
    """
    if prediction.field is not None and keeps_grids(rules):
        field = prediction.field
        for rule in rules.split("+"):
            field = field if rule == AS_IS else _turned(field, axes(rule))
        return Prediction(field=field)
    found = steps(rules)
    if not found:
        return prediction
    surface = (prediction.points, None) if prediction.points is not None else prediction.surface(threshold)
    if not len(surface[0]):
        return prediction if prediction.field is None else Prediction(mesh=(surface[0], np.zeros((0, 3), np.int64)))
    vertices = surface[0].astype(np.float64)
    cloud = prediction.cloud(POINTS, threshold, rng)[0].numpy().astype(np.float64)
    if not len(cloud):
        raise ValueError("expected a surface, got triangles without an area")
    cloud = cloud[rng.permutation(len(cloud))[:POINTS]]
    for step in found:
        affine = step(vertices, cloud, sample)
        vertices, cloud = (p @ affine[:3, :3].T + affine[:3, 3] for p in (vertices, cloud))
    moved = vertices.astype(np.float32)
    return Prediction(points=moved) if surface[1] is None else Prediction(mesh=(moved, surface[1]))


def axes(rule: str) -> np.ndarray:
    """(3, 3) of a rule `axes_A_B_C`; ValueError where these are no right-handed axes."""
    rows = np.zeros((3, 3))
    for row, name in zip(rows, rule.removeprefix("axes_").split("_"), strict=False):
        if name.removeprefix("-") in AXES:
            row[AXES[name[-1]]] = -1 if name[0] == "-" else 1
    if not re.fullmatch(r"axes(_-?[xyz]){3}", rule) or round(np.linalg.det(rows)) != 1:
        raise ValueError(f"--align: expected axes as axes_y_z_x, right-handed, got '{rule}'")
    return rows


def _step(rule: str) -> Step:
    named = {"view": _view, "camera": _camera, "longest_side": _longest_side, "best_of_24": _best_of_24}
    named["scaled_icp"] = _scaled_icp
    if rule in named:
        return named[rule]
    if rule.startswith("axes"):
        turn = axes(rule)
        return lambda *_: _affine(turn)
    if (found := re.fullmatch(r"scale_(\d*\.?\d+)", rule)) and float(found[1]) > 0:
        scale = float(found[1])
        return lambda *_: _affine(scale * np.eye(3))
    known = ", ".join((AS_IS, "axes_A_B_C", "scale_S", *named))
    raise ValueError(f"--align: expected rules of {known}, joined by '+', got '{rule}'")


def _affine(linear: np.ndarray, shift: np.ndarray | Sequence[float] = (0, 0, 0)) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = linear, shift
    return affine


def _turned(field: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """A grid (R, R, R) with its axes changed, exactly."""
    flipped = [axis for axis, row in enumerate(turn) if row.min() < 0]
    return np.ascontiguousarray(np.flip(field.transpose(np.abs(turn).argmax(1)), flipped))


def _camera(vertices: np.ndarray, cloud: np.ndarray, sample: Sample) -> np.ndarray:
    return _affine(_rotation(sample).T @ np.diag([-1.0, 1, -1]))


def _view(vertices: np.ndarray, cloud: np.ndarray, sample: Sample) -> np.ndarray:
    back = -_rotation(sample)[2] * [1, 0, 1]  # to the camera, along the ground
    if (length := np.linalg.norm(back)) < 1e-6:
        raise ValueError("view: expected a camera that does not look straight down or up, got one that does")
    back /= length
    return _affine(np.stack([[back[2], 0, -back[0]], [0, 1, 0], back], axis=1))


def _rotation(sample: Sample) -> np.ndarray:
    rotation = sample.world_to_view[:3, :3].astype(np.float64)
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3):
        raise ValueError("--align: expected shards with the cameras of the photos, got none")
    return rotation


def _longest_side(vertices: np.ndarray, cloud: np.ndarray, sample: Sample) -> np.ndarray:
    return _boxed(vertices)


def _boxed(points: np.ndarray) -> np.ndarray:
    low, high = points.min(0), points.max(0)
    scale = EXTENT / ((high - low).max() or 1)
    return _affine(scale * np.eye(3), -scale * (low + high) / 2)


def _best_of_24(vertices: np.ndarray, cloud: np.ndarray, sample: Sample) -> np.ndarray:
    from scipy.spatial import cKDTree
    from scipy.spatial.transform import Rotation

    box, of_truth = _boxed(vertices), _boxed(sample.points)
    mine = cloud @ box[:3, :3] + box[:3, 3]
    truth = _few(sample.points) @ of_truth[:3, :3] + of_truth[:3, 3]
    tree = cKDTree(truth)

    def chamfer(turn: np.ndarray) -> float:
        turned = mine @ turn.T
        return tree.query(turned)[0].mean() + cKDTree(turned).query(truth)[0].mean()

    turns = [np.round(turn) for turn in Rotation.create_group("O").as_matrix()]
    turns.sort(key=lambda turn: -np.trace(turn))  # the least turn of several that are as good
    return _affine(min(turns, key=chamfer))


def _scaled_icp(vertices: np.ndarray, cloud: np.ndarray, sample: Sample) -> np.ndarray:
    from trimesh.registration import icp

    start = np.linalg.inv(_boxed(sample.points)) @ _boxed(vertices)
    return icp(cloud, _few(sample.points), start, scale=True, reflection=False, max_iterations=ROUNDS)[0]


def _few(points: np.ndarray) -> np.ndarray:
    """POINTS of them, evenly out of all."""
    return points[:: max(1, len(points) // POINTS)][:POINTS].astype(np.float64)
