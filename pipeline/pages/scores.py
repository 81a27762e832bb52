"""The tables of scores of the page, and what its words mean."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.scoring.tables import COMPETITOR, METRICS, Row, competes, judged, told, turned

Line = dict[str, float]  # mean, low, high and samples, from a line of metrics.csv
OTHERS = {
    "nearest_image": "nearest image",
    "mean_shape": "mean shape",
    "category_mean_shape": "category's mean shape",
    "oracle": "oracle",
}
SIGNS = {"better": "▲", "worse": "▼", "unclear": "≈", "few": "?"}
GRIDS = {"iou": "IoU", "iou_0.4": "IoU at 0.4", "iou_0.5": "IoU at 0.5", "iou_32": "IoU at 32³", "log_loss": "log loss"}
WAYS = {"": "", "_to_truth": ", only prediction to truth", "_to_prediction": ", only truth to prediction"}
CHAMFER = {"unsquared": "Chamfer", "squared": "Chamfer, squared"}
POINTS = {f"chamfer_{kind}{way}": f"{title}{text}" for kind, title in CHAMFER.items() for way, text in WAYS.items()}
POINTS |= {"emd": "earth mover's distance"}
POINTS |= {f"f_score_{d}%": f"F-score {d}%" for d in ("0.5", "1", "2", "5", "10", "20")}
CUBES = {f"cubes_{name}": POINTS[name] for name in ("chamfer_unsquared", "chamfer_squared", "f_score_1%")}
# Title, what it is, and of the scores the names in metrics.csv and here.
GROUPS: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "Solid grids",
        "Cells at a system's own resolution, of the others at the shards'; at the tuned threshold where none is given.",
        GRIDS,
    ),
    ("Points on the true mesh", "Against points on the predicted surface, in the unit cube.", POINTS),
    (
        "Points on marching cubes of the true grid",
        "The same against the surface of the true cells: what a perfect grid would have.",
        CUBES | {"normal_consistency": "normal consistency"},
    ),
    (
        "Protocol of Pix3D",
        "Cropped to the bounding box, IoU at 32³ and the best threshold; 1024 points of the grids, longest side 1.",
        {"pix3d_iou": "IoU", "pix3d_chamfer_unsquared": "Chamfer", "pix3d_emd": "earth mover's distance"},
    ),
    (
        "Protocol of 3D-R2N2",
        "Grids at 32³, IoU at a threshold of 0.4.",
        {"r2n2_iou": "IoU", "r2n2_log_loss": "log loss"},
    ),
    (
        "Protocol of Pix2Vox",
        "Grids at 32³, the best of four thresholds; F-score of a third of a cell; the first view of a model.",
        {"pix2vox_iou": "IoU", "pix2vox_f_score_1%": "F-score 1%"},
    ),
    (
        "Protocol of Occupancy Networks",
        "Points in the volume, and on the surface of the true grid; a tenth of the longest side is 1; the first view.",
        {
            "occnet_iou": "IoU",
            "occnet_chamfer_l1": "Chamfer-L1",
            "occnet_normal_consistency": "normal consistency",
        },
    ),
    (
        "Protocol of R3D",
        "30 test images, a threshold of 0.5; distances between the centres of full cells.",
        {"r3d_iou": "IoU", "r3d_chamfer_unsquared_of_cells": "Chamfer"},
    ),
)
DEFINITIONS = {
    "IoU": "Cells that both solids fill, by cells that either fills. Of a mesh: the cells that it encloses.",
    "Chamfer distance": "Mean distance from points of the predicted surface to the nearest of the true one, plus the "
    "same the other way; Euclidean, squared only where that is said; the longest side of every shape is 15/16.",
    "F-score d%": "Harmonic mean of the shares of predicted points near a true one and of true points near a predicted "
    "one; near is within d % of the unit cube's side.",
    "Earth mover's distance": "Mean distance of as many points of both, matched one to one so that it is least; of one "
    "view a model.",
    "Log loss": "Cross-entropy of a cell, in nats.",
    "Normal consistency": "Mean |cosine| between the normals of nearest points.",
    "Interval": "95 %, from a bootstrap over shapes: how much the mean would change with other test models. Of one "
    "model there is none; of fewer than ten it is too narrow to tell anything by.",
    "Better, worse": "The interval of the mean difference, on the same views, leaves out 0. Two intervals that overlap "
    "say less: views that are hard for one are hard for the other.",
    "Nearest image": "The shape of the training view that looks most alike, by a descriptor that nobody trained "
    "(gradient orientations). A network that does not beat it has not learned more than to look up.",
    "By its own features": "The shape of the training view that is nearest by the features of a system's own encoder.",
    "Mean shape": "The average of all training shapes as the answer to every photo: the score of a system that does "
    "not look. Its threshold is tuned on the validation split.",
    "Category's mean shape": "The same of the training shapes of the category, which it is told.",
    "Oracle": "Of all training shapes the one with the highest IoU with the truth.",
    "Name@rule": "What another method predicted, and how it came into the frame of the data set: as it was, by axes "
    "or a scale that were given, or fitted to the truth, which makes it look better.",
    "Failures": "Predictions without a surface, or not finite. They count with the worst scores there are.",
}


@dataclass(frozen=True)
class Results:
    """What was scored.

    Attributes:
        kinds: of every name what it is, `system`, `method` (of others), `retrieval` or `baseline`, as in the table.
        figures: of every name its figures.json: by scope, `overall` and the categories in their order.
        lines: of every name its metrics.csv, by scope and score.
        pairs: rows of pairs.csv, by scope, a, b and metric.
        judged_by: the two scores by which all are compared, keys of METRICS.
    """

    kinds: dict[str, str]
    figures: dict[str, dict[str, dict[str, Any]]]
    lines: dict[str, dict[tuple[str, str], Line]]
    pairs: dict[tuple[str, str, str, str], Row]
    judged_by: tuple[str, str]

    @property
    def systems(self) -> list[str]:
        return [name for name, kind in self.kinds.items() if kind == "system"]

    @property
    def scopes(self) -> dict[str, str]:
        """`overall`, `without_leaks` where there are leaks, and the categories: what they are called."""
        overall = self.figures[self.systems[0]]["overall"]
        found = {"overall": "all"}
        if overall["leaked"] and ("without_leaks", self.judged_by[1]) in self.lines[self.systems[0]]:
            found["without_leaks"] = "without those that have a near twin in training"
        return found | {name: name.replace("_", " ") for name in self.figures[self.systems[0]] if name != "overall"}

    def pair(self, scope: str, a: str, b: str, metric: str) -> Row | None:
        """Of the difference a - b; None where either lacks the metric."""
        if found := self.pairs.get((scope, a, b, metric)):
            return found
        found = self.pairs.get((scope, b, a, metric))
        return turned(found) if found else None

    def shapes(self, scope: str) -> int:
        """How many there are in a scope; models with one mesh are one."""
        return int(max(row["shapes"] for (where, *_), row in self.pairs.items() if where == scope))


def title(name: str) -> str:
    """What a name is called, as HTML."""
    system = name.removesuffix("_retrieval")
    return html.escape(OTHERS.get(name) or (name if system == name else f"{system}, by its own features"))


def verdict(results: Results, scope: str, name: str, metric: str, other: str = COMPETITOR) -> str:
    """How a name compares with a baseline, or a system with its retrieval, in words; empty where it can't."""
    pair = results.pair(scope, name, other, metric)
    if pair is None:
        return ""
    outcome = judged(pair, metric)
    called = f"the {title(other)}" if other in OTHERS else "looking up by its own features"
    words = told(pair, metric, called)
    return f'<span class="{outcome}">{SIGNS[outcome]} {words}</span>'


def verdicts(results: Results, system: str) -> str:
    """By each of the scores how a system compares with both ways to look up, over all models."""
    sentences = []
    for metric in results.judged_by:
        found = [verdict(results, "overall", system, metric, other) for other in (COMPETITOR, f"{system}_retrieval")]
        if any(found):
            sentences.append(f"By {METRICS[metric][0]} {', '.join(filter(None, found))}.")
    return " ".join(sentences)


def shown(results: Results) -> list[str]:
    """The scores of the first table."""
    names = (*results.judged_by, "f_score_1%")
    return [score for score in names if any(("overall", score) in lines for lines in results.lines.values())]


def head(results: Results) -> str:
    """The headings, a button each: what sorts by a column; `data-first` is the way that puts the best first."""
    cells = ['<th data-key="name" scope="col"></th>']
    for score in shown(results):
        name, sign = METRICS[score]
        button = f'<button type="button">{name} {"↑" if sign > 0 else "↓"}</button>'
        cells.append(f'<th data-key="{score}" data-first="{"down" if sign > 0 else "up"}" scope="col">{button}</th>')
    for score in results.judged_by:
        cells.append(f'<th class="words" scope="col">{METRICS[score][0]} beside the {OTHERS[COMPETITOR]}</th>')
    cells.append('<th data-key="failures" data-first="up" scope="col"><button type="button">failures</button></th>')
    return f"<tr>{''.join(cells)}</tr>"


def bodies(results: Results) -> Iterable[str]:
    """The rows of every scope, the first one shown."""
    for number, scope in enumerate(results.scopes):
        rows = "\n".join(row(results, scope, name, place) for place, name in enumerate(results.kinds))
        yield f'<tbody data-scope="{html.escape(scope)}"{" hidden" * bool(number)}>\n{rows}\n</tbody>'


def row(results: Results, scope: str, name: str, place: int) -> str:
    """A name's row in a scope."""
    cells = [f'<th scope="row">{title(name)}</th>']
    for score in shown(results):
        line = results.lines[name].get((scope, score))
        value = f' data-value="{line["mean"]:.6f}"' if line else ""
        cells.append(f"<td{value}>{with_interval(line, results.shapes(scope)) if line else ''}</td>")
    for score in results.judged_by:
        words = "the measure" if name == COMPETITOR else verdict(results, scope, name, score)
        cells.append(f'<td class="words">{words}</td>')
    figures = results.figures[name].get(scope)  # of which there are none without leaks
    count = f' data-value="{figures["failures"]}">{figures["failures"]} of {figures["samples"]}' if figures else ">"
    kind = f"{results.kinds[name]}{'' if competes(name) else ' apart'}"
    return f'<tr class="{kind}" data-place="{place}">{"".join(cells)}<td{count}</td></tr>'


def with_interval(line: Mapping[str, float], shapes: int, digits: int = 3) -> str:
    """A mean and its interval, which one shape has not."""
    if shapes < 2:
        return f"{line['mean']:.{digits}f} <small>1 model</small>"
    return f"{line['mean']:.{digits}f} <small>[{line['low']:.{digits}f}, {line['high']:.{digits}f}]</small>"


def all_scores(results: Results) -> Iterable[str]:
    """The rows of all scores that any system has, by group; a column a name."""
    for group, text, scores in GROUPS:
        found = [s for s in scores if any(("overall", s) in results.lines[name] for name in results.systems)]
        if found:
            heading = f"{group} <small>{text}</small>"
            yield f'<tr class="group"><th colspan="{len(results.kinds) + 2}" scope="colgroup">{heading}</th></tr>'
        for score in found:
            lines = [results.lines[name].get(("overall", score)) for name in results.kinds]
            digits = 3 if min(line["mean"] for line in lines if line) >= 0.02 else 4
            cells = (with_interval(line, results.shapes("overall"), digits) if line else "" for line in lines)
            views = max(line["samples"] for line in lines if line)
            texts = "".join(f"<td>{cell}</td>" for cell in cells)
            yield f'<tr><th scope="row">{scores[score]}</th>{texts}<td>{views:.0f}</td></tr>'


def definitions(results: Results) -> dict[str, str]:
    """What the page's words mean, the changing ones last."""
    more = {}
    for system in results.systems:
        if "threshold" in (overall := results.figures[system]["overall"]):
            more[f"Threshold {overall['threshold']} of {html.escape(system)}"] = (
                "The probability above which a cell counts as full, chosen on the validation split."
            )
    overall = results.figures[results.systems[0]]["overall"]
    source = f" The split is from {html.escape(overall['split'])}." if overall["split"] else ""
    more[f"Split <code>{overall['split_sha256']}</code>"] = (
        f"A hash of the names of the test models. Compare figures only where it is equal.{source}"
    )
    return DEFINITIONS | more
