"""Command predict: photos of one object in, its shape out.

    python -m pipeline.predict chair.jpg --out mesh.glb

Photos go through the preprocessing that training used (`shards/views.py`): the object is cut out by the alpha channel,
or against a uniform background; it is cropped, and made grayscale. Several are views of one object, taken together. The
shape is in the normalised frame of `geometry/meshes.py`: a mesh, or a point cloud where the system predicts points.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pathlib import Path

    from pipeline.runtime.command import argument, run

    run(
        "pipeline.predict",
        argument("photos", "photos of one object", type=Path, nargs="+", metavar="PHOTO"),
        argument(
            "--out",
            "file of a mesh: .glb, .obj, .off, .ply, .stl; of points: .glb, .obj, .ply, .xyz",
            type=Path,
            required=True,
            metavar="FILE",
        ),
        argument("--system", "which trained system (default: %(default)s)", default="r3d"),
        argument("--threshold", "occupancy at the surface, from 0 to 1 (default: as tuned on validation)", type=float),
    )

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model import maps
from pipeline.runtime.files import atomic_write
from pipeline.runtime.machine import device
from pipeline.scoring.predictions import predict
from pipeline.scoring.tables import SCORES
from pipeline.shards.views import prepare
from pipeline.sources.photos import read_photo
from pipeline.training.checkpoints import CHECKPOINTS, load_checkpoint

MESHES = (".glb", ".obj", ".off", ".ply", ".stl")
POINTS = (".glb", ".obj", ".ply", ".xyz")  # an STL of points would be empty, an OFF is refused
Shape = tuple[np.ndarray, np.ndarray | None]  # vertices (N, 3) and faces (M, 3); of a point cloud points and None


def trained(system: str) -> tuple[Any, Any]:
    """The network of a system, ready to predict from photos alone, and its Config; ValueError where there is none."""
    path = CHECKPOINTS / f"{system}.pt"
    model, config, _ = load_checkpoint(path, device())
    if needed := maps(config):
        raise ValueError(f"{path}: expected a system that takes a photo alone, got one with {needed[0]}")
    return model, config


def chosen_threshold(system: str, given: float | None) -> float:
    """`given`, or else the threshold that the metrics stage tuned on validation, 0.5 where it has not or has none."""
    if given is not None and not 0 < given <= 1:
        raise ValueError(f"--threshold: expected a number over 0 and up to 1, got {given}")
    if given is not None:
        return given
    path = SCORES / system / "figures.json"
    return json.loads(path.read_text(encoding="utf-8"))["overall"].get("threshold", 0.5) if path.is_file() else 0.5


def look(photos: Sequence[Path], size: tuple[int, int]) -> Tensor:
    """Photos of one object as a network gets them, (1, V, 1, H, W) float32 on its device; ValueError as `read_photo`.

    Args:
        photos: V of them, each of whatever size.
        size: (H, W).
    """
    pictures = [read_photo(photo) for photo in photos]
    views = [prepare(torch.from_numpy(gray.copy()), torch.from_numpy(mask), size) for gray, mask in pictures]
    return torch.stack(views)[None].to(device())


def reconstruct(model: Any, images: Tensor, threshold: float) -> Shape:
    """The shape that a system sees in `images` (1, V, 1, H, W); the threshold counts where it predicts occupancy.

    Raises:
        ValueError: no cell passes the threshold, or the shape is empty or not finite.
    """
    prediction = predict(model, images)[0]
    if prediction.field is not None and 0 < (most := prediction.field.max()) <= threshold:
        raise ValueError(f"expected cells of occupancy over {threshold}, got at most {most:.3f}; try --threshold")
    shape = prediction.surface(threshold) if prediction.points is None else (prediction.points, None)
    if not len(shape[0] if shape[1] is None else shape[1]):
        raise ValueError("expected a shape, got a prediction that is empty or not finite")
    return shape


def write(shape: Shape, path: Path) -> None:
    """Writes a mesh or a point cloud, in the format that the name's end tells."""
    import trimesh

    vertices, faces = shape
    cloud = trimesh.PointCloud(vertices) if faces is None else trimesh.Trimesh(vertices, faces, process=False)
    with atomic_write(path) as temporary:
        cloud.export(temporary)


def main(photos: Sequence[Path], out: Path, system: str = "r3d", threshold: float | None = None) -> None:
    level = chosen_threshold(system, threshold)
    model, config = trained(system)
    formats = POINTS if model.output == "points" else MESHES
    if out.suffix not in formats:
        raise ValueError(f"--out: expected a file ending in {', '.join(formats)} from {system}, got '{out}'")
    if threshold is not None and model.output != "occupancy":
        raise ValueError(f"--threshold: expected none for {system}, its output is {model.output}, not occupancy")
    images = look(photos, config.image_size)
    try:
        shape = reconstruct(model, images, level)
    except ValueError as error:
        raise ValueError(f"{', '.join(map(str, photos))}: {error}") from error
    write(shape, out)
    vertices, faces = shape
    print(f"{out}: {len(vertices)} points" if faces is None else f"{out}: {len(vertices)} vertices, {len(faces)} faces")
