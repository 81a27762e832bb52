"""Where a training goes on: its resume point, `data/cache/train/<system>.pt`.

It holds all that the next step depends on, and what was trained, with what, on what: facts. By them another run tells
whether it may go on from there. The point of a training that came to its end stays, until its system is trained anew.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import model
from pipeline.runtime.files import sha256
from pipeline.training import checkpoints
from pipeline.training.params import Params

FORMAT, VERSION = "oneview-resume", 1
RESUME = Path("data/cache/train")
# What may differ of a training that goes on from its last step, though it ends otherwise than an undisturbed one.
CONTINUED = {"train.samples", "train.validations", "train.speed", "device", "processes", "torch"}
# And of one that goes on from its best weights, since its losses were no longer finite.
MENDED = {f"train.{name}" for name in "lr lr_warmup weight_decay precision clip_norm accumulate ema".split()}
# What the weights and the curves depend on, beside the network and its layers.
CODE = """
    train.py training/augment.py training/backgrounds.py training/feed.py training/launch.py training/norms.py
    training/order.py training/params.py training/speed.py training/state.py training/together.py
    training/updates.py training/validation.py shards/batches.py shards/resident.py shards/views.py
    scoring/clouds.py scoring/cubes.py scoring/distances.py scoring/predictions.py geometry/isosurface.py
    geometry/surfaces.py
""".split()
Facts = dict[str, Any]


def facts(
    module: ModuleType, about: dict[str, Any], params: Params, data: dict[str, str], device: str, processes: int
) -> Facts:
    """All that decides what is trained, by a name that says what it is.

    Args:
        module: of the system.
        about: of its checkpoints (`checkpoints.describe`).
        params: section `train`.
        data: fingerprints of the splits.
        device: cpu or cuda.
        processes: how many train together.

    Raises:
        ValueError: a file that the training is to begin with is not there.
        OSError: it can't be read.
    """
    networks = Path(str(model.__file__))
    files = [networks, Path(str(module.__file__)), *sorted((networks.parent / "layers").glob("*.py"))]
    files += [Path(__file__).parents[1] / name for name in CODE]
    code = sha256("".join(sha256(path.read_bytes()) for path in files).encode())
    given = {f"train.{name}": value for name, value in dataclasses.asdict(params).items() if name != "tensorboard"}
    for name in ("start_from", "encoder_weights"):
        if file := getattr(params, name):
            if not Path(file).is_file():
                raise ValueError(f"train.{name}: expected a file of weights, found no {file}")
            given[f"train.{name}"] = sha256(Path(file).read_bytes())
    return given | {
        "system": [about["system"], about["module"]],
        "network": about["config"],
        "shards": data,
        "code": code,
        "device": device,
        "processes": processes,
        "torch": str(torch.__version__),
    }


def save(path: Path, known: Facts, updates: dict[str, Any], state: dict[str, Any], failed: bool = False) -> None:
    """Writes the resume point.

    Args:
        known: `facts` of the training.
        updates, state: of `Updates.state_dict` and the fields of `State`.
        failed: whether its losses are no longer finite.
    """
    told = {"format": FORMAT, "version": VERSION, "facts": known, "failed": failed}
    checkpoints.save(path, told | {"updates": updates, "state": state})


def find(path: Path, known: Facts, steps: int) -> dict[str, Any] | None:
    """What `save` wrote, if the training with these facts may go on from there; otherwise says why it starts anew.

    Args:
        path: of the resume point.
        known: `facts` of the training that is to go on.
        steps: that it will have in all.
    """
    if not path.is_file():
        return None
    try:
        point = checkpoints.load(path)
        note = _fits(point, known, steps, path)
    except ValueError as error:
        print(f"starting anew: {error}", flush=True)
        return None
    if note:
        print(f"going on from {path}, {note}", flush=True)
    return point


def _fits(point: dict[str, Any], known: Facts, steps: int, path: Path) -> str:
    """What is worth telling of going on from the point; ValueError where that can't be."""
    if (found := (point.get("format"), point.get("version"))) != (FORMAT, VERSION):
        raise ValueError(f"{path}: expected {FORMAT} version {VERSION}, got {found[0]} version {found[1]}")
    before, failed = point["facts"], point["failed"]
    other = {name for name in known.keys() | before.keys() if known.get(name) != before.get(name)}
    if not other <= CONTINUED | (MENDED if failed else set()) or point["state"]["step"] > steps:
        raise ValueError(f"{path} is of a training with other {', '.join(sorted(other))}")
    if failed and not point["state"]["best"]:
        raise ValueError(f"{path} has no weights from before its losses ceased to be finite")
    told = ["the best weights before losses ceased to be finite"] if failed else []
    return "; ".join(told + ([f"with other {', '.join(sorted(other))}"] if other else []))
