"""The page of the report: one HTML file that needs no other and no network. `page.html` is what it looks like."""

from __future__ import annotations

import base64
import html
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from pipeline.pages.dataset import Status, dataset
from pipeline.pages.gallery import Entry, entries
from pipeline.pages.scores import (
    Results,
    all_scores,
    bodies,
    definitions,
    head,
    title,
    verdicts,
)
from pipeline.scoring.tables import FEW, METRICS

HERE = Path(__file__).parent
SELECTION = (
    "{shown} of {models} test models. Models of a category are ranked by each system, by {score} in their median view; "
    "shown are, of each category, the ends, the middle, a failure and then evenly spaced ranks. All shapes of a model "
    "are drawn at one scale and from one side, which is not the photo's, as answered to the first system's median "
    "view. Choose one to turn truth and answer together."
)

HANGS_ON = (
    "What its answers to a few test models hang on: pixels that move the answer most where they change a little "
    "(gradients), parts of the picture that change it most where they are painted over (occlusion), and the answer "
    "without the framed one; where there is attention, what some positions read by it. The same of a photo is shown by "
    "<code>oneview explain PHOTO --out FILE.png</code>."
)


@dataclass(frozen=True)
class Training:
    """What the page shows of a system's training.

    Attributes:
        charts: an <svg> each.
        course: predictions in the course of the training, WebP.
        looks: what its answers to some test models hang on, WebP.
    """

    charts: list[str]
    course: bytes
    looks: bytes


def page(
    results: Results,
    gallery: Sequence[Entry],
    compared: Sequence[str],
    trainings: dict[str, Training],
    statuses: Sequence[Status],
    doubts: Mapping[tuple[str, str], bytes],
) -> str:
    """The text of index.html.

    Args:
        compared: an <svg> each, of curves of all systems; shown where there are several systems.
        trainings: by system.
        statuses: of all models of the data set.
        doubts: pictures of doubtful grids among them.
    """
    overall = results.figures[results.systems[0]]["overall"]
    lead = f"{overall['samples']} views of {overall['models']} test models that no system was trained on."
    if overall["leaked"]:
        lead += f" {overall['leaked']} of the models have a near twin in the training split."
    ranked_by = " or ".join(METRICS[score][0] for score in results.judged_by)
    categories = {entry.category: entry.category.replace("_", " ") for entry in gallery}
    columns = "".join(f'<th scope="col">{title(name)}</th>' for name in results.kinds)
    return Template(asset("page.html")).substitute(
        style=asset("page.css"),
        lead=lead,
        verdicts="".join(f"<li><b>{html.escape(s)}</b>: {verdicts(results, s)}</li>" for s in results.systems),
        scopes=options(results.scopes),
        head=head(results),
        bodies="\n".join(bodies(results)),
        few=FEW,
        selection=SELECTION.format(shown=len(gallery), models=overall["models"], score=ranked_by),
        categories=options({"": "all"} | categories),
        systems=options({"": "all"} | dict(zip(results.systems, results.systems, strict=True))),
        entries="\n".join(entries(gallery)),
        training="\n".join(training(results, compared, trainings)),
        scores_head=f'<tr><th scope="col"></th>{columns}<th scope="col">views</th></tr>',
        scores="\n".join(all_scores(results)),
        scorers=" and ".join(f"<code>dvc repro {stage}</code>" for stage in ("metrics", "baselines")),
        data=dataset(statuses, doubts),
        definitions="\n".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in definitions(results).items()),
        library=library(),
        script=asset("page.js") + asset("viewer.js"),
    )


def training(results: Results, compared: Sequence[str], trainings: dict[str, Training]) -> Iterable[str]:
    """Curves of all systems, and a part for each."""
    if len(trainings) > 1:
        yield f'<div class="panel charts">{"".join(compared)}</div>'
        yield '<p class="made">Made by <code>dvc repro report</code>, from <code>data/curves/</code> and '
        yield "<code>data/views/</code>; bands are 95 % intervals.</p>"
    for system, found in trainings.items():
        name = html.escape(system)
        yield f'<h3 id="system-{name}">{name}</h3><p>{verdicts(results, system)}</p>'
        yield f'<div class="panel charts">{"".join(found.charts)}</div>'
        yield "<p>The first views of a few validation models, after so many training samples:</p>"
        picture = base64.b64encode(found.course).decode()
        what = "photo, true shape, and what was predicted in the course of the training"
        yield (
            f'<div class="panel" tabindex="0" role="region" aria-label="training of {name}">'
            f'<img alt="{what}" src="data:image/webp;base64,{picture}"></div>'
        )
        yield f"<p>{HANGS_ON}</p>"
        picture = base64.b64encode(found.looks).decode()
        what = (
            "what it saw, pixels and parts that matter, the answer, and the answer without the part that matters most"
        )
        yield (
            f'<div class="panel" tabindex="0" role="region" aria-label="what answers of {name} hang on">'
            f'<img class="looks" alt="{what}" src="data:image/webp;base64,{picture}" loading="lazy"></div>'
        )
        commands = ", ".join(f"<code>dvc repro {stage}@{name}</code>" for stage in ("train", "metrics"))
        yield f'<p class="made">Made by {commands}, from <code>data/curves/{name}.csv</code> and others.</p>'


def options(texts: dict[str, str]) -> str:
    """Of a <select>: value -> text."""
    return "".join(f'<option value="{html.escape(key)}">{html.escape(text)}</option>' for key, text in texts.items())


def asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def library() -> str:
    """three.js with its licence, as trimesh brings it along for its own viewer.

    Raises:
        ValueError: trimesh has it no longer where it was.
    """
    from trimesh import resources

    with zipfile.ZipFile(io.BytesIO(resources.get_bytes("templates/viewer.zip"))) as archive:
        text = archive.read("viewer.html.template").decode()
    start, controls = text.find("/**\n * @license"), text.find("TrackballControls")
    found = text[start : text.rfind("\n", 0, controls)] if 0 <= start < controls else ""
    if "Three.js Authors" not in found or "</script" in found:
        raise ValueError("trimesh: expected three.js in its viewer's template, found none")
    return found
