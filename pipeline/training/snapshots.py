"""What becomes of a few validation samples in the course of a training: `data/snapshots/<system>.npz`.

items           (K,)      int64    the samples, as items of the validation split one view at a time
samples         (N,)      int64    on how many was trained, at each of N validations
<n>_<k>_field   packed    uint8    occupancy above the threshold, bits of (R, R, R), most significant first; or
<n>_<k>_points  (P, 3)    float16  points; or
<n>_<k>_vertices (V, 3), <n>_<k>_faces (M, 3)    float16, int32    a mesh
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pipeline.runtime.files import atomic_write
from pipeline.scoring.predictions import Prediction, predict

if TYPE_CHECKING:  # takes seconds, for which nobody waits who only reads
    from lightning_fabric import Fabric

SNAPSHOTS = Path("data/snapshots")
COUNT = 4
Shape = dict[str, Tensor]
Snapshot = dict[str, Any]  # `samples`, and `shapes`, a list of K


def fixed(models: int, groups: int) -> list[int]:
    """The items that are shown: the first views of COUNT models, evenly spaced, or of all where there are fewer."""
    count = min(COUNT, models)
    return [(2 * place + 1) * models // (2 * count) * groups for place in range(count)]


def taken(fabric: Fabric, network: Any, images: Tensor, threshold: float) -> list[Shape]:
    """What the network, in eval mode, makes of images (K, V, C, H, W), in little memory.

    Args:
        threshold: probability above which a cell counts as full.
    """
    with fabric.autocast():
        predictions = predict(network, fabric.strategy.precision.convert_input(images))
    return [packed(prediction, threshold) for prediction in predictions]


def packed(prediction: Prediction, threshold: float) -> Shape:
    """A prediction as tensors, smaller."""
    if prediction.field is not None:
        return {"field": torch.from_numpy(np.packbits(prediction.field > threshold))}
    if prediction.mesh is not None:
        vertices, faces = prediction.mesh
        found = {"vertices": vertices.astype(np.float16), "faces": faces.astype(np.int32)}
        return {name: torch.from_numpy(array) for name, array in found.items()}
    assert prediction.points is not None
    return {"points": torch.from_numpy(prediction.points.astype(np.float16))}


def unpacked(shape: dict[str, np.ndarray]) -> Prediction:
    """What `packed` kept, its arrays by name; a field of zeros and ones."""
    if "field" in shape:
        side = round((len(shape["field"]) * 8) ** (1 / 3))
        return Prediction(field=np.unpackbits(shape["field"])[: side**3].reshape(side, side, side).astype(np.float32))
    if "points" in shape:
        return Prediction(points=shape["points"].astype(np.float32))
    return Prediction(mesh=(shape["vertices"].astype(np.float32), shape["faces"].astype(np.int64)))


def write(path: Path, items: list[int], snapshots: list[Snapshot]) -> None:
    arrays = {
        f"{n}_{k}_{name}": value.numpy()
        for n, snapshot in enumerate(snapshots)
        for k, shape in enumerate(snapshot["shapes"])
        for name, value in shape.items()
    }
    samples = np.array([snapshot["samples"] for snapshot in snapshots])
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, items=np.array(items), samples=samples, **arrays)


def read(path: Path) -> tuple[list[int], list[tuple[int, list[Prediction]]]]:
    """The items, and of each validation on how many samples was trained and what was predicted of every item.

    Raises:
        ValueError: there is no such file.
    """
    if not path.is_file():
        raise ValueError(f"{path}: expected what a training has shown of itself, found no file")
    with np.load(path) as file:
        arrays = dict(file)
    items, samples = arrays.pop("items").tolist(), arrays.pop("samples").tolist()
    shapes: list[list[dict[str, np.ndarray]]] = [[{} for _ in items] for _ in samples]
    for key, array in arrays.items():
        n, k, name = key.split("_")
        shapes[int(n)][int(k)][name] = array
    return items, [(count, [unpacked(s) for s in found]) for count, found in zip(samples, shapes, strict=True)]
