"""Scores of a sample by name, from points on the predicted and on the true surface, and what failures score.

Distances are Euclidean, in the unit cube [-0.5, 0.5]^3; p are predicted points, t true ones.

    chamfer_unsquared               mean_p min_t |p - t| + mean_t min_p |t - p|
    chamfer_unsquared_to_truth      its first term: how right what is predicted is ("accuracy")
    chamfer_unsquared_to_prediction its second term: how much of the truth is covered ("completeness")
    chamfer_squared, ...            the same three with |p - t|^2
    precision_d%                    share of the p nearer than d % of the cube's side to a t (Knapitsch et al. 2017)
    recall_d%                       share of the t nearer than that to a p
    f_score_d%                      2 precision recall / (precision + recall), 0 where both are 0; d of FRACTIONS, as
                                    Tatarchenko et al. 2019 (arXiv:1905.03678) recommend
    normal_consistency              |cos| of the normals of a p and of the nearest t, the mean over p; the same from t;
                                    and the mean of both (Mescheder et al. 2019, arXiv:1812.03828; unsigned, as
                                    meshes come in any winding)

Nothing to measure, for every score of the project (`BOUNDS` has the values, best and worst):

    prediction empty or not finite  counts as a prediction without a cell or a point: the worst value; the log loss is
                                    that of a grid of zeros
    truth empty, prediction not     the worst value; the log loss as it is
    both empty                      the same shape: the best value
    truth not finite                ValueError: that is no failure of the prediction

The worst distance is the unit cube's diagonal. Points outside of the cube may be farther away than that.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pipeline.scoring.distances import LEAST, nearest

FRACTIONS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # of the unit cube's side
DIAGONAL = math.sqrt(3)
WAYS = ("", "_to_truth", "_to_prediction")
BOUNDS: dict[str, tuple[float, float]] = {  # best, worst
    "iou": (1.0, 0.0),
    "log_loss": (0.0, -math.log(LEAST)),
    **{f"chamfer_unsquared{way}": (0.0, DIAGONAL * worst) for way, worst in zip(WAYS, (2, 1, 1), strict=True)},
    **{f"chamfer_squared{way}": (0.0, DIAGONAL**2 * worst) for way, worst in zip(WAYS, (2, 1, 1), strict=True)},
    **{f"{name}_{100 * d:g}%": (1.0, 0.0) for name in ("f_score", "precision", "recall") for d in FRACTIONS},
    "normal_consistency": (1.0, 0.0),
    "emd": (0.0, DIAGONAL),
}


def cloud_scores(
    prediction: Tensor, truth: Tensor, prediction_normals: Tensor | None = None, truth_normals: Tensor | None = None
) -> dict[str, float]:
    """All scores named above, from the nearest points both ways, found once.

    Args:
        prediction: (N, 3) float points, N = 0 where nothing is predicted.
        truth: (M, 3) float points on the same device, M = 0 where nothing is there.
        prediction_normals, truth_normals: (N, 3) and (M, 3) float, of length 1; without them there is no
            `normal_consistency`.

    Raises:
        ValueError: the shapes are others, or the truth is not finite.
    """
    with_normals = prediction_normals is not None and truth_normals is not None
    for name, points, other in (("prediction", prediction, prediction_normals), ("truth", truth, truth_normals)):
        shapes = {tuple(points.shape)} | ({tuple(other.shape)} if other is not None else set())
        if shapes != {(len(points), 3)}:
            raise ValueError(f"cloud_scores: expected points and normals (N, 3) of the {name}, got {sorted(shapes)}")
    if not truth.isfinite().all():
        raise ValueError("cloud_scores: expected finite true points, got NaN or infinity")
    sides = [side for side in (prediction, prediction_normals) if side is not None]
    predicted = len(prediction) > 0 and all(bool(side.isfinite().all()) for side in sides)
    if not predicted or not len(truth):
        return nothing(same=not predicted and not len(truth), normals=with_normals)
    to_truth, nearest_true = nearest(prediction, truth)
    to_prediction, nearest_predicted = nearest(truth, prediction)
    scores = chamfers(to_truth, to_prediction) | f_scores(to_truth, to_prediction)
    if prediction_normals is not None and truth_normals is not None:
        ways = (prediction_normals * truth_normals[nearest_true], truth_normals * prediction_normals[nearest_predicted])
        cosines = [way.sum(1).abs().mean() for way in ways]
        scores["normal_consistency"] = float(cosines[0] + cosines[1]) / 2
    return scores


def nothing(same: bool, normals: bool = True) -> dict[str, float]:
    """The scores of `cloud_scores` where a side is empty; `same` where both are."""
    left_out = {"iou", "log_loss", "emd"} | (set() if normals else {"normal_consistency"})
    return {name: best if same else worst for name, (best, worst) in BOUNDS.items() if name not in left_out}


def chamfers(to_truth: Tensor, to_prediction: Tensor) -> dict[str, float]:
    """Both Chamfer distances and their terms, from distances (N,) and (M,) to the nearest points."""
    scores: dict[str, float] = {}
    for name, power in (("chamfer_unsquared", 1), ("chamfer_squared", 2)):
        ways = [float((distances**power).mean()) for distances in (to_truth, to_prediction)]
        scores |= {name + way: value for way, value in zip(WAYS, (sum(ways), *ways), strict=True)}
    return scores


def f_scores(to_truth: Tensor, to_prediction: Tensor) -> dict[str, float]:
    """F-score, precision and recall at FRACTIONS, from distances (N,) and (M,) to the nearest points."""
    limits = torch.tensor(FRACTIONS, device=to_truth.device)
    precision, recall = ((d[:, None] < limits).float().mean(0) for d in (to_truth, to_prediction))
    f_score = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
    columns = {"f_score": f_score, "precision": precision, "recall": recall}
    return {
        f"{name}_{100 * fraction:g}%": value
        for name, values in columns.items()
        for fraction, value in zip(FRACTIONS, values.tolist(), strict=True)
    }
