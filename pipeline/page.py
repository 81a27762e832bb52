"""The page of the report: one HTML file that needs no other, no script and no network."""

from __future__ import annotations

import base64
import html
from string import Template
from typing import Any

Figures = dict[str, Any]  # what a file of data/metrics/<system>/ holds

SELECTION = (
    "Not picked by hand: the models of a category are ranked by the IoU of their median view, and shown are those "
    "at evenly spaced ranks. Both shapes are drawn from the same side, which is not the photo's."
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
  main { max-width: 60rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
  h1 { margin: 0; } h2 { margin: 2.5rem 0 .5rem; } p { margin: .5rem 0; color: #5b636d; }
  .tiles { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.5rem 0; }
  .tile { flex: 1 1 11rem; background: white; border: 1px solid #e2e5e9; border-radius: .5rem; padding: .8rem 1rem; }
  .tile b { display: block; font-size: 2rem; line-height: 1.3; }
  .tile span { color: #5b636d; font-size: .9rem; }
  .panel { background: white; border: 1px solid #e2e5e9; border-radius: .5rem; padding: 1rem; overflow-x: auto; }
  .panel svg, .panel img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
  table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
  th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #eceef1; white-space: nowrap; }
  th { font-weight: 600; color: #5b636d; } th:first-child, td:first-child { text-align: left; }
  tr.total td { font-weight: 600; border-top: 2px solid #b9c0c9; }
  td.better { color: #14713d; } td.worse { color: #b3261e; }
  dt { font-weight: 600; margin-top: .6rem; } dd { margin: 0; color: #5b636d; } code { font-size: .9em; }
</style>
</head>
<body><main>
<h1>$system</h1>
<p>One photo in, a solid shape out: $samples views of $models test models that were not trained on.</p>
<div class="tiles">$tiles</div>
<h2>Reconstructions</h2>
<p>$selection</p>
<div class="panel"><img alt="photo, true shape and reconstruction of test models" src="data:image/png;base64,$sheet">
</div>
<h2>By category</h2>
<div class="panel"><table>
<thead><tr><th></th><th>IoU</th><th>mean shape's</th><th>Chamfer</th><th>mean shape's</th><th>models</th><th>views</th>
<th>failures</th></tr></thead>
<tbody>$table</tbody>
</table></div>
<p>Higher IoU and lower Chamfer distances are better. Green is better than the mean shape, red is worse.</p>
<h2>Training</h2>
<div class="panel">$charts</div>
<h2>What the figures are</h2>
<dl>
<dt>IoU</dt><dd>Cells that both solids fill, by cells that either fills, at the system's resolution.</dd>
<dt>Chamfer distance</dt><dd>Mean distance from the predicted surface to the nearest point of the true one, plus the
same the other way; Euclidean, not squared; the longest side of every shape is 15/16.</dd>
<dt>Mean shape</dt><dd>The average of all training shapes as the answer to every photo: the score of a system that does
not look. Its threshold is tuned like the system's.</dd>
<dt>Threshold $threshold</dt><dd>The probability above which a cell counts as full, chosen on the validation split.</dd>
<dt>Failures</dt><dd>Predictions without a single full cell. They count with the worst scores there are.</dd>
<dt>Split <code>$split_sha256</code></dt><dd>A hash of the names of the test models. Compare figures only where it is
equal.</dd>
</dl>
</main></body>
</html>
"""


def page(system: str, figures: dict[str, Figures], wins: float, sheet: bytes, graphs: str) -> str:
    """The text of index.html.

    Args:
        system: its name.
        figures: `overall` and the categories, in the order of the table.
        wins: share of the samples with a higher IoU than the mean shape's.
        sheet: the contact sheet, PNG.
        graphs: an <svg>.
    """
    overall = figures["overall"]
    tiles = [
        (f"{overall['iou']:.3f}", f"IoU; mean shape {overall['mean_shape_iou']:.3f}"),
        (f"{overall['chamfer_unsquared']:.3f}", f"Chamfer; mean shape {overall['mean_shape_chamfer']:.3f}"),
        (f"{wins:.0%}", "of the views closer to the truth than the mean shape, by IoU"),
        (str(overall["failures"]), f"failures of {overall['samples']}"),
    ]
    lines = [line(name.replace("_", " "), row) for name, row in figures.items() if name != "overall"]
    return Template(TEMPLATE).substitute(
        {key: html.escape(str(value)) for key, value in overall.items()},
        system=html.escape(system),
        tiles="".join(f'<div class="tile"><b>{big}</b><span>{small}</span></div>' for big, small in tiles),
        selection=SELECTION,
        sheet=base64.b64encode(sheet).decode(),
        table="\n".join([*lines, line("all views", overall, "total")]),
        charts=graphs,
    )


def line(name: str, figures: dict[str, Any], kind: str = "") -> str:
    """A row of the table."""

    def cell(value: float, other: float, more_is_better: bool) -> str:
        better = value == other or (value > other) == more_is_better
        return f'<td class="{"better" if better else "worse"}">{value:.3f}</td><td>{other:.3f}</td>'

    return (
        f'<tr class="{kind}"><td>{html.escape(name)}</td>'
        + cell(figures["iou"], figures["mean_shape_iou"], True)
        + cell(figures["chamfer_unsquared"], figures["mean_shape_chamfer"], False)
        + "".join(f"<td>{figures[key]}</td>" for key in ("models", "samples", "failures"))
        + "</tr>"
    )
