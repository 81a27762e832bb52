"""Trained systems: checkpoints, and weights that travel."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model import channels, unseen
from pipeline.answers.network import Network
from pipeline.families.registry import FAMILIES
from pipeline.findings import models
from pipeline.findings.finding import Check, Finding
from pipeline.geometry.meshes import Mesh, normalise
from pipeline.pages.pictures import Surface, dots, strip
from pipeline.runtime.machine import one_thread
from pipeline.scoring.predictions import predict
from pipeline.shards.layout import SHARDS, ShardDataset, split_sha256
from pipeline.sources.photos import Photo
from pipeline.training.checkpoints import load_checkpoint, read

SHOWN = ("02691156", "02958343", "03001627", "03636649")  # airplane, car, chair, lamp
CAMERA = 145.0, 25.0, 3.2, 30.0  # azimuth_deg, elevation_deg, distance, fov_deg: from the front, a little to the right
VIEW = 384, 512
LONG = 40  # letters of a value that are shown


def look(path: Path) -> Finding:
    """What a file of weights has, and its faults; ValueError where it is none of this project."""
    info = read(path)
    state: Mapping[str, Tensor] = info["state"]
    facts = {
        "system": f"{info.get('system')}, model/{info.get('module')}.py",
        "weights": f"{sum(map(torch.numel, state.values())):,} numbers in {len(state)} tensors, {kinds(state)}",
        "config": ", ".join(f"{name} {short(value)}" for name, value in info.get("config", {}).items()),
        "trained": trained(info),
        "split": splits(info.get("splits", {})),
        "made by": ", ".join([*(f"{name} {v}" for name, v in info.get("versions", {}).items()), commit(info)]),
        "size": f"{path.stat().st_size / 1e6:.1f} MB",
    }
    lost = [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    checks = [
        Check("it is whole"),
        Check("all weights are finite", f"{len(lost)} tensors have others, as {lost[0]}" if lost else ""),
    ]
    try:
        network, config, _ = load_checkpoint(path)
    except ValueError as error:
        checks.append(Check("config is valid, and the weights fit it", str(error).removeprefix(f"{path}: ")))
        return Finding("trained system", facts, checks)
    checks.append(Check("config is valid, and the weights fit it"))
    if len(getattr(network, "grids", ())):
        facts["remembers"] = f"{len(network.grids):,} shapes, by {len(network.keys):,} views"
    if needed := unseen(config):
        facts["takes"] = f"{', '.join(needed)} beside a photo"
        return Finding("trained system", facts, checks)
    threshold = float(info.get("threshold", 0.5))
    answering = Network(info["system"], path, network, config, threshold)
    given = np.zeros((1, 1, channels(config), *config.image_size), np.float32)
    surface = answers(answering, torch.from_numpy(given + 0.5))
    empty = "" if np.isfinite(surface[0]).all() else "it says numbers that are not finite"
    checks.append(Check("it answers a gray picture", empty))
    return Finding("trained system", facts, checks, None if lost else lambda: picture(answering))


def kinds(state: Mapping[str, Tensor]) -> str:
    return ", ".join(sorted({str(value.dtype).removeprefix("torch.") for value in state.values()}))


def short(value: object) -> str:
    text = json.dumps(value).replace('"', "")
    return text if len(text) <= LONG else f"{text[:LONG]}..."


def trained(info: Mapping[str, Any]) -> str:
    """On how many samples, and what validation gave then."""
    scores = [f"{name} {value:.3f}" for name, value in info.items() if name.startswith("val_") and value is not None]
    if threshold := info.get("threshold"):
        scores.append(f"threshold {threshold:.2f}")
    return ", ".join([f"on {info.get('samples', 0):,} samples", *scores])


def splits(hashes: Mapping[str, str]) -> str:
    """The hashes of the models that it was trained and validated with, and whether the shards here are the same."""
    return ", ".join(f"{name} {digest[:8]}{_here(name, digest)}" for name, digest in hashes.items()) or "not told"


def _here(split: str, digest: str) -> str:
    categories = [path.name for path in SHARDS.iterdir() if path.is_dir()] if SHARDS.is_dir() else []
    try:
        models_here = ShardDataset(SHARDS, categories, split).models
    except ValueError:
        return ""
    return " (as the shards here)" if split_sha256(models_here) == digest else " (not the shards here)"


def commit(info: Mapping[str, Any]) -> str:
    return f"commit {info['commit'][:12]}" if info.get("commit") else "no commit is told"


def answers(network: Network, images: Tensor) -> Surface:
    """The surface that a network says; of points a ball for each."""
    with one_thread():
        prediction = predict(network.model, images)[0]
    return prediction.surface(network.threshold) if prediction.points is None else dots(prediction.points)


def picture(network: Network) -> Image.Image:
    """What it makes of a drawn airplane, car, chair and lamp, of those that every copy of the project can draw."""
    from pipeline.geometry.renderer import render_all

    drawn = [drawn_mesh(synset) for synset in SHOWN]
    views = render_all([(mesh, np.array([CAMERA], np.float32)) for mesh in drawn], *VIEW)
    rows = []
    for mesh, (view, mask) in zip(drawn, views, strict=True):
        photo = Photo(view[0], mask[0], np.repeat(view[0][..., None], 3, axis=-1), "drawn")
        said = answers(network, network.see([photo]).cpu())
        rows.append((models.photo(photo.gray, photo.mask), (mesh.vertices, mesh.faces), [said]))
    return strip(rows, [f"answer of {network.name}"])


def drawn_mesh(synset: str) -> Mesh:
    """A model of the embedded data set's families, whole, in the normalised frame."""
    shape = FAMILIES[synset][1](np.random.default_rng(0))
    starts = np.cumsum([0] + [len(piece.vertices) for piece in shape.pieces])
    faces = [piece.faces + start for piece, start in zip(shape.pieces, starts, strict=False)]
    mesh = Mesh(np.concatenate([piece.vertices for piece in shape.pieces]), np.concatenate(faces))
    return normalise(mesh)[0]
