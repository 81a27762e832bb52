"""The root that `dataset` names, its axes as `dataset` says them, and what was found there, in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from pipeline.runtime.params import Dataset
from pipeline.sources import folders, foreign, tree
from pipeline.sources.layout import FRONTS, Found, turning
from pipeline.sources.registry import LAYOUTS, Looked


def root_of(dataset: Dataset) -> Path:
    """The folder of the raw meshes, which says as well whether links may lead out of it."""
    return tree.root_of(dataset.root, dataset.follow_links)


def stood(model: Found, dataset: Dataset) -> Found:
    """A model with its axes as `dataset.up` and `dataset.front` say them.

    Raises:
        ValueError: they are no axes, or the layout knows them, as the cameras and grids that it brings have them too.
    """
    up, front = dataset.up or "y" * bool(dataset.front), dataset.front
    if not up:
        return model
    front = front or FRONTS.get(up[-1], "")
    try:
        turning(up, front)
    except ValueError as error:
        raise ValueError(f"dataset.up, dataset.front: {error}") from error
    layout = LAYOUTS[model.ref.layout]
    if layout.views or layout.grid:
        raise ValueError(f"dataset.up: expected none for {layout.name}, whose axes are known, got '{up}'")
    return replace(model, ref=replace(model.ref, axes=f"{up} {front}"))


def recognised(looked: Looked) -> str:
    """Which layouts were told, in words."""
    layouts = Counter(model.ref.layout for model in looked.models)
    return "recognised " + (", ".join(f"{n} models of {name}" for name, n in layouts.most_common()) or "no layout")


def doubts(looked: Looked) -> list[str]:
    """What lies there and was not looked into, or is hardly meant so, in words."""
    lines = [foreign.told(looked.foreign)] * bool(looked.foreign)
    if looked.spare:
        lines += [f"{len(looked.spare)} meshes that are no model of these layouts, as {looked.spare[0]!r}"]
    if looked.links:
        links = f"{len(looked.links)} links to folders out of dataset.root, as {looked.links[0]!r}"
        lines += [f"{links}; dataset.follow_links follows them"]
    unsure = [model for model in looked.models if model.doubt]
    if unsure:
        ref, why = unsure[0].ref, unsure[0].doubt
        lines += [f"{len(unsure)} models in doubt and left out, as {ref.synset}/{ref.model_id}: {why}"]
    own = Counter(model.ref.synset for model in looked.models if model.ref.layout == folders.LAYOUT.name)
    if own.total() == len(own) > 2:
        lines += [
            f"{len(own)} folders of one model each, which are taken for categories; put models into a folder of theirs"
        ]
    return lines
