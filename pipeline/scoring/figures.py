"""From scores of samples to figures of a test split: means with intervals, by category, with and without leaks.

For every name, be it a trained system, its retrieval or a baseline:

    data/scores/<name>/samples.csv      a row a sample: synset, model_id, view, mesh (the first digits of its SHA-256),
                                        failed, leaked, the training model where one was looked up, as answer, and every
                                        score; empty where one does not apply or was not taken
    data/scores/<name>/metrics.csv      a row a scope and score: mean, its 95 % interval, and of how many samples;
                                        scopes are `overall`, `without_leaks` and the categories
    data/scores/<name>/thresholds.csv   mean IoU over thresholds, of the validation and of the test split
    data/scores/<name>/figures.json     of `overall` and of every category: the first figures with intervals, counts of
                                        samples, models, failures and leaks, the threshold, which split it was, and what
                                        the scores depend on (`terms`)
    data/metrics/<name>/overall.json    the few that one looks for first, for `dvc metrics show` and `dvc exp show`
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.runtime.files import atomic_folder, atomic_write
from pipeline.scoring.neighbours import LEAK_IOU
from pipeline.scoring.protocols import PIX3D_THRESHOLDS
from pipeline.scoring.scorer import THRESHOLDS, Scores, sample_key
from pipeline.scoring.shapenet import PIX2VOX_THRESHOLDS
from pipeline.scoring.statistics import intervals
from pipeline.scoring.tables import FIGURES, SCORES, write_csv
from pipeline.shards.layout import ShardDataset, open_shard, split_sha256
from pipeline.sources.categories import category

NEIGHBOURS = Path("data/neighbours.csv")
HEADLINE = {"iou": "iou", "chamfer_unsquared": "chamfer"}  # and how its ends are called
BESIDE = ("iou_32", "f_score_1%", "normal_consistency")
FEW = ("iou_32", "iou", "chamfer_unsquared", "f_score_1%", "failures")  # in overall.json
OF_THE_SET = {"pix3d": PIX3D_THRESHOLDS, "pix2vox": PIX2VOX_THRESHOLDS}  # protocols whose threshold suits all samples
KEYS = ("synset", "model_id", "view", "mesh", "failed", "leaked", "answer")  # columns of samples.csv that are no scores
Model = tuple[str, str]  # synset, model id


@dataclass(frozen=True)
class Facts:
    """What is known of the models of a test split.

    Attributes:
        meshes: the first digits of the mesh's SHA-256, empty where there was no mesh.
        leaked: models of which the training split has a near twin.
    """

    meshes: dict[Model, str]
    leaked: set[Model]


def facts(dataset: ShardDataset) -> Facts:
    """Reads the shards, and what stage `baselines` found; ValueError where that is missing or of other shards."""
    meshes: dict[Model, str] = {}
    for shard in dataset.shards:
        with open_shard(shard.path) as file:
            hashes = [value.decode()[:12] for value in file["mesh_sha256"][:]]
        meshes |= {(shard.synset, name): sha for name, sha in zip(shard.model_ids, hashes, strict=True)}
    if not NEIGHBOURS.is_file():
        raise ValueError(f"{NEIGHBOURS}: expected the nearest training shapes of the test models, found no file")
    with NEIGHBOURS.open(newline="", encoding="utf-8") as file:
        found = {(row["synset"], row["model_id"]): float(row["iou"]) for row in csv.DictReader(file)}
    if missing := meshes.keys() - found.keys():
        raise ValueError(f"{NEIGHBOURS}: expected every test model, lacks {'/'.join(min(missing))}")
    return Facts(meshes, {model for model, overlap in found.items() if overlap >= LEAK_IOU})


def rows_of(
    dataset: ShardDataset, scores: dict[int, Scores], known: Facts, answers: Mapping[int, Model] | None = None
) -> list[dict[str, Any]]:
    """Rows of samples.csv from the scores by item. IoU of OF_THE_SET is at the threshold that is best for them all.

    Args:
        answers: item -> the training model that was looked up.
    """
    best = {}
    for name in OF_THE_SET:
        if curves := [found[curve] for found in scores.values() if (curve := f"{name}_iou_curve") in found]:
            best[name] = int(np.mean(curves, axis=0).argmax())
    names = dict.fromkeys(name for found in scores.values() for name in found)
    columns = [name for name in names if name != "failed" and not name.endswith("_curve")]
    rows = []
    for item, found in sorted(scores.items()):
        synset, model_id, view = sample_key(dataset, item)
        model = (synset, model_id)
        row = {"synset": synset, "model_id": model_id, "view": view, "mesh": known.meshes[model]}
        row |= {"failed": int(found["failed"]), "leaked": int(model in known.leaked)}
        if answers is not None:
            row["answer"] = "/".join(answers[item])
        row |= {name: float(found.get(name, math.nan)) for name in columns}
        for name, place in best.items():
            taken = f"{name}_iou_curve" in found
            row[f"{name}_iou"] = float(found[f"{name}_iou_curve"][place]) if taken else math.nan
            row[f"{name}_threshold"] = float(OF_THE_SET[name][place]) if taken else math.nan
        rows.append(row)
    return rows


def mean_curve(scores: dict[int, Scores]) -> np.ndarray:
    """(99,) mean IoU of fields over THRESHOLDS."""
    return np.stack([found["iou_curve"] for found in scores.values()]).mean(0, dtype=np.float64)


def write(
    name: str,
    rows: list[dict[str, Any]],
    split_source: str,
    threshold: float | None = None,
    curves: dict[str, np.ndarray] | None = None,
    terms: str = "",
) -> dict[str, Any]:
    """Writes the files named above, `overall.json` last. Returns what is in it.

    Args:
        rows: of samples.csv.
        split_source: who says which models are in the split.
        threshold: of the probabilities, None where there are none.
        curves: columns of thresholds.csv, (99,) mean IoU over THRESHOLDS; None where no threshold was tuned.
        terms: of the scorer; figures of others are compared only where they are equal.
    """
    scopes = {"overall": rows, "without_leaks": [row for row in rows if not row["leaked"]]}
    for name_of in dict.fromkeys(category(synset) for synset in sorted({row["synset"] for row in rows})):
        scopes[name_of] = [row for row in rows if category(row["synset"]) == name_of]
    summaries = {scope: summary(members) for scope, members in scopes.items() if members}
    settings: dict[str, Any] = {} if threshold is None else {"threshold": threshold}
    settings |= {"split": split_source} | ({"terms": terms} if terms else {})
    figures = {scope: headline(scopes[scope], lines) | settings for scope, lines in summaries.items()}
    rest = figures.pop("without_leaks", {})
    for score, short in HEADLINE.items():
        if score in rest:
            figures["overall"][f"{short}_without_leaks"] = rest[score]
    for scope, values in figures.items():
        values["split_sha256"] = split_sha256({(row["synset"], row["model_id"]) for row in scopes[scope]})[:8]
    with atomic_folder(SCORES / name, "*.csv", "figures.json") as folder:
        write_csv(folder / "samples.csv", rows)
        write_csv(folder / "metrics.csv", [{"scope": s} | line for s, lines in summaries.items() for line in lines])
        if curves is not None:
            columns = {"threshold": THRESHOLDS.double().numpy().round(2), **curves}
            lines = zip(*(column.tolist() for column in columns.values()), strict=True)
            write_csv(folder / "thresholds.csv", [dict(zip(columns, line, strict=True)) for line in lines])
        write_json(folder / "figures.json", figures)
    few = {HEADLINE.get(key, key): figures["overall"][key] for key in FEW if key in figures["overall"]}
    with atomic_write(FIGURES / name / "overall.json") as temporary:
        write_json(temporary, few)
    return few


def write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def read_figures(name: str) -> dict[str, dict[str, Any]]:
    """Its figures.json; ValueError where it was not scored."""
    path = SCORES / name / "figures.json"
    if not path.is_file():
        raise ValueError(f"{path}: expected the figures of {name}, found no file")
    return json.loads(path.read_text(encoding="utf-8"))


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines of metrics.csv of a scope: of every score the mean and its interval over shapes."""
    names = [name for name in rows[0] if name not in KEYS]
    values = np.array([[row[name] for name in names] for row in rows], np.float64)
    found = intervals(values, shapes(rows))
    counts = (~np.isnan(values)).sum(0).tolist()
    return [
        {"score": name, "mean": mean, "low": low, "high": high, "samples": count}
        for name, (mean, low, high), count in zip(names, found.T.tolist(), counts, strict=True)
        if count
    ]


def shapes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What each row shows: models with the same mesh are one shape, one without a mesh is its own."""
    return [row["mesh"] or f"{row['synset']}/{row['model_id']}" for row in rows]


def headline(rows: Sequence[dict[str, Any]], lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of a scope that are shown first."""
    by_score = {line["score"]: line for line in lines}
    figures: dict[str, Any] = {}
    for score, short in HEADLINE.items():
        if score in by_score:
            mean, low, high = (round(by_score[score][end], 4) for end in ("mean", "low", "high"))
            figures |= {score: mean, f"{short}_low": low, f"{short}_high": high}
    figures |= {score: round(by_score[score]["mean"], 4) for score in BESIDE if score in by_score}
    models = {(row["synset"], row["model_id"]): row["leaked"] for row in rows}
    failures = sum(row["failed"] for row in rows)
    return figures | {"samples": len(rows), "models": len(models), "failures": failures, "leaked": sum(models.values())}
