"""The card of a trained system: what it is, what it was made of and how, how good it is, how it is used. Markdown."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from model import channels, system
from pipeline.scoring.tables import COMPETITOR, METRICS, SCORES
from pipeline.sources.categories import category
from pipeline.travel.words import FRAME, output, preprocessing

LICENCE = "**to be filled in** (`--licence` does), as that of the data allows"
SECTIONS = ("dataset", "synthesize", "render", "voxelize", "train")  # of params.yaml, that made it what it is
PYTHON = """\
```python
import onnxruntime

session = onnxruntime.InferenceSession("{name}")
{outputs} = session.run(None, {{"photos": pictures}})  # as below: {count} x {channels} x {height} x {width} float32
```"""
COMMAND = """\
```sh
oneview predict PHOTO --out shape.glb --checkpoint {name}
```"""


def card(path: Path, info: Mapping[str, Any], config: Any, kind: str, licence: str | None, use: str) -> str:
    """The text of the card of the file `path`.

    Args:
        info: what a checkpoint has beside its weights.
        kind: what its network predicts.
        licence: as asked for.
        use: how the file is used.
    """
    threshold = info.get("threshold", 0.5)
    words = (system(info["module"]).__doc__ or "").strip().partition("\n")[0].partition(": ")[2].rstrip(".")
    height, width = config.image_size
    kind_of_pixels = "coloured" if channels(config) == 3 else "gray"
    params = yaml.safe_load(info.get("params") or "") or {}
    chosen = {name: params[name] for name in SECTIONS if name in params}
    split = [f"{name} `{digest[:8]}`" for name, digest in info.get("splits", {}).items()]
    rows = {
        "what": f"{words or info['module']}: `{info['system']}`, `model/{info['module']}.py` of oneview",
        "in": f"one photo of one object, cut out, {height} x {width} {kind_of_pixels} pixels",
        "out": output(kind, config, threshold, "1"),
        "trained on": trained_on(params),
        "split": f"{', '.join(split) or 'not told'}, a hash of the models' names",
        "for": f"{info.get('samples', 0):,} samples in batches of {params.get('train', {}).get('batch_size', '?')}",
        "versions": ", ".join(f"{name} {version}" for name, version in info.get("versions", {}).items()) or "not told",
        "commit": f"`{info['commit']}`" if info.get("commit") else "not told",
        "licence": licence or LICENCE,
    }
    lines = [f"# {path.name}", "", "| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows.items()), ""]
    lines += ["## How good it is", "", *figures(info), "", "## Use", "", use, "", "## Preprocessing", ""]
    lines += [f"{n}. {step}" for n, step in enumerate(preprocessing(config), start=1)]
    lines += ["", f"`pipeline/shards/views.py` does it. Out comes {output(kind, config, threshold, '1')}.", FRAME, ""]
    lines += ["## Made by", "", "```yaml", yaml.safe_dump({"config": dict(info["config"])}).strip()]
    lines += [yaml.safe_dump(chosen, sort_keys=False).strip() if chosen else "# no parameters are told", "```", ""]
    return "\n".join(lines)


def trained_on(params: Mapping[str, Any]) -> str:
    """Which data, as the parameters have them."""
    dataset = params.get("dataset", {})
    if not dataset:
        return "not told"
    variants = dataset.get("variants", {}).get("count", 0)
    more = f", {variants} stretched variants of each training model" if variants else ""
    return f"`{dataset.get('root')}`: {', '.join(category(str(name)) for name in dataset.get('categories', []))}{more}"


def figures(info: Mapping[str, Any]) -> list[str]:
    """Test figures beside looking up, where the metrics stage found some, and what validation gave."""
    name = info["system"]
    own, other = lines_of(name), lines_of(COMPETITOR)
    shown = [metric for metric in METRICS if metric in own]
    table = []
    if shown:
        table = ["| test means, 95 % intervals | this | the nearest training image's shape |", "|---|---|---|"]
        for metric in shown:
            title, sign = METRICS[metric]
            cells = [between(lines[metric]) if metric in lines else "" for lines in (own, other)]
            table.append(f"| {title} {'↑' if sign > 0 else '↓'} | {' | '.join(cells)} |")
        overall = json.loads((SCORES / name / "figures.json").read_text(encoding="utf-8"))["overall"]
        told = f"{overall['samples']} views of {overall['models']} test models"
        table += ["", f"{told}, split `{overall['split_sha256']}`; {overall['failures']} predictions failed."]
    scores = [f"{key} {value:.3f}" for key, value in info.items() if key.startswith("val_") and value is not None]
    validation = f"In validation: {', '.join(scores)}." if scores else "No figures are told."
    return [*table, *([""] if table else []), validation]


def lines_of(name: str) -> dict[str, dict[str, str]]:
    """The overall lines of a metrics.csv, by score; none where there is no such file."""
    path = SCORES / name / "metrics.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {row["score"]: row for row in csv.DictReader(file) if row["scope"] == "overall"}


def between(line: Mapping[str, str]) -> str:
    mean, low, high = (float(line[key]) for key in ("mean", "low", "high"))
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"
