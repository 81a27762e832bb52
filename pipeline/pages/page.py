"""The page of the report: one HTML file that needs no other, no script and no network."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable
from dataclasses import dataclass
from string import Template
from typing import Any

from pipeline.scoring.tables import METRICS

Figures = dict[str, Any]  # of a scope, as data/scores/<system>/figures.json has them
Line = dict[str, float]  # mean, low, high and samples, from a line of metrics.csv

OTHERS = {"nearest_image": "nearest image", "mean_shape": "mean shape", "oracle": "oracle"}
SELECTION = (
    "Not picked by hand: the models of a category are ranked by {score} in their median view, and shown are those "
    "at evenly spaced ranks. All shapes of a row are drawn from one side, which is not the photo's."
)
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
        "Cells at the system's resolution, of the others at the shards'; at the tuned threshold where none is given.",
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
        "Protocol of R3D",
        "30 test images, a threshold of 0.5; distances between the centres of full cells.",
        {"r3d_iou": "IoU", "r3d_chamfer_unsquared_of_cells": "Chamfer"},
    ),
)
TEMPLATE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$system: test results</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; color: #20242a; background: #f5f6f8; margin: 0; }
  main { max-width: 64rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
  h1 { margin: 0; } h2 { margin: 2.5rem 0 .5rem; } p { margin: .5rem 0; color: #5b636d; }
  .tiles { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.5rem 0; }
  .tile { flex: 1 1 11rem; background: white; border: 1px solid #e2e5e9; border-radius: .5rem; padding: .8rem 1rem; }
  .tile b { display: block; font-size: 2rem; line-height: 1.3; }
  .tile span, small { color: #5b636d; font-size: .9rem; font-weight: 400; }
  .panel { background: white; border: 1px solid #e2e5e9; border-radius: .5rem; padding: 1rem; overflow-x: auto; }
  .panel svg, .panel img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
  .charts { display: flex; flex-wrap: wrap; --line: #eceef1; } .charts svg { flex: 1 1 18rem; }
  .wide { width: min(92vw, 100rem); margin-left: 50%; transform: translateX(-50%); box-sizing: border-box; }
  table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
  th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #eceef1; white-space: nowrap; }
  th { font-weight: 600; color: #5b636d; } thead th { white-space: normal; vertical-align: bottom; }
  th:first-child, td:first-child { text-align: left; }
  th[colspan] { text-align: center; } tr.group th { text-align: left; padding-top: 1.2rem; color: #20242a; }
  tr.total td { font-weight: 600; border-top: 2px solid #b9c0c9; }
  td.better { color: #14713d; } td.worse { color: #b3261e; } .bound { color: #9aa2ac; }
  dt { font-weight: 600; margin-top: .6rem; } dd { margin: 0; color: #5b636d; } code { font-size: .9em; }
</style>
</head>
<body><main>
<h1>$system</h1>
<p>One photo in, one shape out: $samples views of $models test models that were not trained on.</p>
<div class="tiles">$tiles</div>
<h2>Reconstructions</h2>
<p>$selection</p>
<div class="panel wide"><img alt="photo, true shape, reconstruction and the nearest image's shape of test models"
src="data:image/png;base64,$sheet">
</div>
<h2>By category</h2>
<div class="panel"><table>
<thead>$head</thead>
<tbody>$table</tbody>
</table></div>
<p>Green is better than both the nearest image and the mean shape, red is worse than either. Grey is no
competitor: it is told the truth, and bounds what looking up can reach by IoU.</p>
<h2>Training</h2>
<div class="panel charts">$charts</div>
<p>The first views of four validation models, after so many training samples:</p>
<div class="panel wide"><img alt="photo, true shape, and what was predicted in the course of the training"
src="data:image/png;base64,$course">
</div>
<h2>All scores</h2>
<p>Means over views with their 95 % interval; some are of fewer views.</p>
<div class="panel"><table>
<thead><tr><th></th><th>$system</th><th>nearest image</th><th>own features</th><th>mean shape</th>
<th class="bound">oracle</th><th>views</th></tr></thead>
<tbody>$scores</tbody>
</table></div>
<h2>What the figures are</h2>
<dl>$definitions</dl>
</main></body>
</html>
"""
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
    "Interval": "95 %, from a bootstrap over shapes: how much the mean would change with other test models.",
    "Nearest image": "The shape of the training view that looks most alike, by a descriptor that nobody trained "
    "(gradient orientations). A network that does not beat it has not learned more than to look up.",
    "Own features": "The shape of the training view that is nearest by the features of the system's own encoder.",
    "Mean shape": "The average of all training shapes as the answer to every photo: the score of a system that does "
    "not look. Its threshold is tuned on the validation split.",
    "Oracle": "Of all training shapes the one with the highest IoU with the truth.",
    "Failures": "Predictions without a surface, or not finite. They count with the worst scores there are.",
}


@dataclass(frozen=True)
class Results:
    """What the page tells of a system.

    Attributes:
        system: its name.
        shown: the two scores that are shown first, keys of METRICS.
        figures: `overall` and the categories, in the order of the table.
        lines: of the system, its retrieval and OTHERS, by scope and score.
        closer: share of the samples on which the system is better than the nearest image, by the first score.
    """

    system: str
    shown: tuple[str, str]
    figures: dict[str, Figures]
    lines: dict[str, dict[tuple[str, str], Line]]
    closer: float

    def mean(self, name: str, score: str, scope: str = "overall") -> float:
        return self.lines[name][scope, score]["mean"]


def page(results: Results, sheet: bytes, graphs: str, course: bytes) -> str:
    """The text of index.html.

    Args:
        sheet: the contact sheet, PNG.
        graphs: an <svg>.
        course: predictions in the course of the training, PNG.
    """
    overall, first = results.figures["overall"], METRICS[results.shown[0]][0]
    scopes = [scope for scope in results.figures if scope != "overall"]
    return Template(TEMPLATE).substitute(
        system=html.escape(results.system),
        samples=overall["samples"],
        models=overall["models"],
        tiles="".join(tiles(results)),
        selection=SELECTION.format(score=first),
        sheet=base64.b64encode(sheet).decode(),
        head=head(results.shown),
        table="\n".join(line(results, scope) for scope in [*scopes, "overall"]),
        charts=graphs,
        course=base64.b64encode(course).decode(),
        scores="\n".join(all_scores(results)),
        definitions="\n".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in definitions(overall).items()),
    )


def tiles(results: Results) -> Iterable[str]:
    def tile(big: str, small: str) -> str:
        return f'<div class="tile"><b>{big}</b><span>{small}</span></div>'

    overall, first = results.figures["overall"], results.shown[0]
    for score in results.shown:
        found = results.lines[results.system]["overall", score]
        beside = ", ".join(f"{OTHERS[name]} {results.mean(name, score):.3f}" for name in list(OTHERS)[:2])
        interval = f"[{found['low']:.3f}, {found['high']:.3f}]"
        yield tile(f"{found['mean']:.3f}", f"{METRICS[score][0]} {interval}<br>{beside}")
    yield tile(
        f"{results.closer:.0%}", f"of the views closer to the truth than the nearest image, by {METRICS[first][0]}"
    )
    yield tile(str(overall["failures"]), f"failures of {overall['samples']}")
    if overall["leaked"]:
        rest = results.lines[results.system].get(("without_leaks", first))
        without = f"; without them, {METRICS[first][0]} {rest['mean']:.3f}" if rest else ""
        yield tile(
            str(overall["leaked"]), f"of {overall['models']} models have a near twin in the training split{without}"
        )


def head(shown: Iterable[str]) -> str:
    titles = [f"{METRICS[score][0]} {'↑' if METRICS[score][1] > 0 else '↓'}" for score in shown]
    others = "".join(f"<th{' class=bound' if name == 'oracle' else ''}>{text}</th>" for name, text in OTHERS.items())
    return (
        f"<tr><th></th>{''.join(f'<th colspan=4>{title}</th>' for title in titles)}<th colspan=3></th></tr>"
        f"<tr><th></th>{2 * f'<th>system</th>{others}'}<th>models</th><th>views</th><th>failures</th></tr>"
    )


def line(results: Results, scope: str) -> str:
    """A row of the table of categories."""
    figures, cells = results.figures[scope], ""
    for score in results.shown:
        own = results.mean(results.system, score, scope)
        nearest, mean, oracle = (results.mean(name, score, scope) for name in OTHERS)
        cells += f'<td class="{verdict(own, (nearest, mean), METRICS[score][1])}">{own:.3f}</td>'
        cells += f'<td>{nearest:.3f}</td><td>{mean:.3f}</td><td class="bound">{oracle:.3f}</td>'
    cells += "".join(f"<td>{figures[key]}</td>" for key in ("models", "samples", "failures"))
    name, kind = ("all views", "total") if scope == "overall" else (scope.replace("_", " "), "")
    return f'<tr class="{kind}"><td>{html.escape(name)}</td>{cells}</tr>'


def verdict(own: float, others: Iterable[float], sign: int) -> str:
    """How a score is coloured: `better` than all others, `worse` than any, or neither."""
    ahead = [sign * (own - other) for other in others]
    return "better" if min(ahead) > 0 else "worse" if min(ahead) < 0 else ""


def all_scores(results: Results) -> Iterable[str]:
    """The rows of all scores that the system has, by group."""
    names = ("nearest_image", f"{results.system}_retrieval", "mean_shape", "oracle")
    own = results.lines[results.system]
    for title, text, scores in GROUPS:
        found = [score for score in scores if ("overall", score) in own]
        if found:
            yield f'<tr class="group"><th colspan=7>{title} <small>{text}</small></th></tr>'
        for score in found:
            line = own["overall", score]
            digits = 3 if line["mean"] >= 0.02 else 4
            mean, low, high = (f"{line[end]:.{digits}f}" for end in ("mean", "low", "high"))
            cells = f"<td>{scores[score]}</td><td>{mean} <small>[{low}, {high}]</small></td>"
            for name in names:
                other = results.lines[name].get(("overall", score))
                text = f"{other['mean']:.{digits}f}" if other else ""
                cells += f'<td class="{"bound" if name == "oracle" else ""}">{text}</td>'
            yield f"<tr>{cells}<td>{line['samples']:.0f}</td></tr>"


def definitions(overall: Figures) -> dict[str, str]:
    """What the page's words mean, the changing ones last."""
    more = {}
    if "threshold" in overall:
        more[f"Threshold {overall['threshold']}"] = (
            "The probability above which a cell counts as full, chosen on the validation split."
        )
    source = f" The split is from {html.escape(overall['split'])}." if overall["split"] else ""
    more[f"Split <code>{overall['split_sha256']}</code>"] = (
        f"A hash of the names of the test models. Compare figures only where it is equal.{source}"
    )
    return DEFINITIONS | more
