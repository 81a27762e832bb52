"""Stage compare: all systems, retrievals and baselines in one table, and each against each.

    python -m pipeline.compare

Reads data/scores/<name>/samples.csv of every selected system, of its `<system>_retrieval` and of BASELINES, which all
must hold the same samples; and of every method of others that `pipeline.score` scored, `<method>@<rule>`, but for those
that were scored on other shards or by other parameters. Writes data/comparison/:

    summary.txt the scores by which all compare, and in a sentence what they say; it is printed as well
    table.md    a row a name, and which systems beat retrieval by how much
    table.csv   the same in full: means, 95 % intervals, failures, samples and shapes
    pairs.csv   a row for every two names a and b, scope and metric: the mean difference a - b with its 95 % interval,
                the share of the shapes on which a is better, and the number of shapes. Scopes are `overall`, the
                categories by name, and `without_leaks`: shapes of which the training split has no near twin

What systems have left that are no longer selected goes to data/old, but for their checkpoints.

Intervals are of a bootstrap over shapes (`scoring/statistics.py`), and a shape is a mesh: models with the same mesh are
one. Rows in which either of a pair lacks a metric are left out of that metric. Every scope has draws of its own, which
all pairs share. `iou` is at each name's own resolution, that of baselines and retrievals at the shards': names of
different resolutions are to be compared by `iou_32`.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pipeline.runtime.command import run

    run("pipeline.compare")

import csv
import io
import math
import re
import shutil
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.runtime.files import atomic_folder, atomic_write
from pipeline.runtime.params import selected_systems
from pipeline.scoring.statistics import intervals, paired, per_shape
from pipeline.scoring.tables import COMPARISON, MADE, METRICS, SCORES, figures_of, markdown, summary, write_csv
from pipeline.sources.categories import category

BASELINES = ("mean_shape", "category_mean_shape", "nearest_image", "oracle")  # of `baselines.py`
KEY = ("synset", "model_id", "view")
OLD = Path("data/old")
PLACES = [OLD.parent / name for name in "curves metrics report scores snapshots views".split()]  # by a system's name
Rows = dict[tuple[str, ...], dict[str, str]]  # of a samples.csv, by KEY


@dataclass(frozen=True)
class Scores:
    """The same N samples as each name scored them.

    Attributes:
        names: K of them.
        synsets, shapes: of every sample its synset, and the mesh that it shows.
        leaked: (N,) bool, whether a training shape is nearly identical.
        failed: (N, K) bool.
        values: (N, K, metrics) float64 in the order of METRICS, NaN where there is none.
    """

    names: list[str]
    synsets: list[str]
    shapes: list[str]
    leaked: np.ndarray
    failed: np.ndarray
    values: np.ndarray


def compare(systems: Sequence[str]) -> None:
    """Writes data/comparison/ and prints the summary.

    Raises:
        ValueError: the scores of a name are missing, empty, unreadable, or of other samples than the first name's.
    """
    retrievals = [f"{system}_retrieval" for system in systems]
    kinds = dict.fromkeys(systems, "system") | dict.fromkeys(retrievals, "retrieval")
    kinds |= dict.fromkeys(BASELINES, "baseline")
    others = methods()
    kinds |= dict.fromkeys(comparable(others, systems[0]), "method")
    scores = collect({name: read_samples(name) for name in kinds})
    table = figures(scores, kinds)
    pairs = differences(scores, [row["name"] for row in table])
    overall = {(row["a"], row["b"], row["metric"]): row for row in pairs if row["scope"] == "overall"}
    text = summary(table, overall)
    with atomic_folder(COMPARISON, "*.csv", "table.md", "summary.txt") as temporary:
        (temporary / "summary.txt").write_text(text, encoding="utf-8")
        (temporary / "table.md").write_text(markdown(table, overall), encoding="utf-8")
        write_csv(temporary / "table.csv", table)
        write_csv(temporary / "pairs.csv", pairs)
    print(text, flush=True)
    put_away([*kinds, *others])


def methods() -> list[str]:
    """What of others `pipeline.score` scored."""
    return sorted(path.name for path in SCORES.glob("[!.]*@*") if (path / "samples.csv").is_file())


def comparable(others: Sequence[str], system: str) -> list[str]:
    """Those that were scored on the same terms as a system; the rest is told."""
    if not others:
        return []
    terms = {name: figures_of(name).get("terms") for name in (system, *others)}
    if old := [name for name in others if terms[name] != terms[system]]:
        print(f"compare: left out, scored on other shards or by other parameters, so score again: {', '.join(old)}")
    return [name for name in others if name not in old]


def put_away(names: Container[str]) -> None:
    """Moves what is of no selected system, nor of another of the names, to data/old, out of tables, plots and pages."""
    found = [path for place in PLACES for path in sorted(place.glob("[!.]*")) if path.name != "index.html"]
    old = [path for path in found if re.sub(r"\.(csv|npz)$", "", path.name) not in names]
    for path in old:
        with atomic_write(OLD / path.relative_to(OLD.parent)) as temporary:
            shutil.move(path, temporary)
    if old:
        print(f"compare: no longer selected, now in {OLD}: {', '.join(dict.fromkeys(path.stem for path in old))}")


def read_samples(name: str) -> Rows:
    """The rows of data/scores/<name>/samples.csv; ValueError where there are none, or a sample is there twice."""
    path = SCORES / name / "samples.csv"
    if not path.is_file():
        raise ValueError(f"{path}: expected the scores of {name}, found no file")
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    if not rows:
        raise ValueError(f"{path}: expected a row a sample, found none")
    lacking = [column for column in (*KEY, "mesh", "failed", "leaked") if column not in rows[0]]
    if lacking:
        raise ValueError(f"{path}: expected a column '{lacking[0]}', got {', '.join(rows[0])}")
    found: Rows = {}
    for row in rows:
        key = tuple(row[column] for column in KEY)
        if key in found:
            raise ValueError(f"{path}: expected every sample once, got {'/'.join(key)} twice")
        found[key] = {column: row.get(column, "") for column in (*KEY, "mesh", "failed", "leaked", *METRICS)}
    return found


def collect(tables: dict[str, Rows]) -> Scores:
    """The samples.csv of all names, side by side; ValueError where they are not of the same samples."""
    names = list(tables)
    first = tables[names[0]]
    for name in names[1:]:
        require(SCORES / name, first.keys() - tables[name].keys(), SCORES / names[0])
        require(SCORES / names[0], tables[name].keys() - first.keys(), SCORES / name)
    keys = sorted(first)
    return Scores(
        names,
        [key[0] for key in keys],
        [first[key]["mesh"] or "/".join(key[:2]) for key in keys],  # a model without a mesh is its own shape
        np.array([first[key]["leaked"] == "1" for key in keys]),
        np.array([[tables[name][key]["failed"] == "1" for name in names] for key in keys]),
        np.array([[[number(name, tables[name][key], m) for m in METRICS] for name in names] for key in keys]),
    )


def require(folder: Path, missing: set[tuple[str, ...]], other: Path) -> None:
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(
            f"{folder / 'samples.csv'}: expected the same samples as in {other / 'samples.csv'}, "
            f"lacks {'/'.join(min(missing))}{more}"
        )


def number(name: str, row: dict[str, str], metric: str) -> float:
    """A score, NaN where there is none; ValueError where it is no finite number."""
    try:
        value = float(row.get(metric) or "nan")
    except ValueError:
        value = math.inf
    if math.isinf(value):
        where = f"{SCORES / name / 'samples.csv'}: {'/'.join(row[column] for column in KEY)}"
        raise ValueError(f"{where}: expected a number as {metric}, got {row[metric]!r}")
    return value


def figures(scores: Scores, kinds: dict[str, str]) -> list[dict[str, Any]]:
    """Rows of table.csv: systems and others' methods, the best first, by IoU at 32^3, or by Chamfer; then others."""
    columns = scores.values.reshape(len(scores.values), -1)
    found = intervals(columns, scores.shapes).reshape(3, len(scores.names), len(METRICS))
    rows = []
    for index, name in enumerate(scores.names):
        row: dict[str, Any] = {"name": name, "kind": kinds[name]}
        for metric, ends in zip(METRICS, found[:, index].T.tolist(), strict=True):
            row |= dict(zip((metric, f"{metric}_low", f"{metric}_high"), ends, strict=True))
        row["failures"] = int(scores.failed[:, index].sum())
        rows.append(row | {"samples": len(scores.shapes), "shapes": len(set(scores.shapes))})
    judged_by = next((metric for metric in ("iou_32", "iou") if any(row[metric] >= 0 for row in rows)), "iou")

    def rank(row: dict[str, Any]) -> tuple[bool, float, float]:
        without = math.isnan(row[judged_by])
        return without, 0.0 if without else -row[judged_by], row["chamfer_unsquared"]

    made = sorted((row for row in rows if row["kind"] in MADE), key=rank)
    return made + [row for row in rows if row["kind"] not in MADE]


def differences(scores: Scores, names: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of pairs.csv: every name against those after it, in every scope and metric that both have."""
    values = scores.values[:, [scores.names.index(name) for name in names]]
    rows = []
    for scope, samples in scopes(scores).items():
        shapes = [scores.shapes[sample] for sample in samples]
        # One name at a time bounds the memory; with the same seed all have the same draws.
        for index, a in enumerate(names[:-1]):
            others = values[samples, index + 1 :].reshape(len(samples), -1)
            mine = np.tile(values[samples, index], len(names) - index - 1)
            found = np.vstack([paired(mine, others, shapes), (per_shape(mine - others, shapes)[1] > 0).sum(0)])
            columns = ((b, metric) for b in names[index + 1 :] for metric in METRICS)
            for (b, metric), (difference, low, high, above, count) in zip(columns, found.T.tolist(), strict=True):
                if count:
                    won = above if METRICS[metric][1] > 0 else 1 - above
                    row = {"a": a, "b": b, "scope": scope, "metric": metric, "difference": difference}
                    rows.append(row | {"low": low, "high": high, "won": won, "shapes": int(count)})
    return rows


def scopes(scores: Scores) -> dict[str, np.ndarray]:
    """The samples of every scope that has any."""
    names = np.array([category(synset) for synset in scores.synsets])
    found = {"overall": np.full(len(names), True)}
    found |= {name: names == name for name in map(category, sorted(set(scores.synsets)))}
    found["without_leaks"] = ~scores.leaked
    return {scope: np.flatnonzero(chosen) for scope, chosen in found.items() if chosen.any()}


def main() -> None:
    compare(list(selected_systems()))
