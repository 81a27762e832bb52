"""Command predict: photos of one object in, its shape out.

    python -m pipeline.predict chair.jpg --out mesh.glb

Photos go through the preprocessing that training used (`shards/views.py`): the object is cut out by the alpha channel,
or against a uniform background; it is cropped, and made grayscale. Several are views of one object, taken together. The
shape is in the normalised frame of `geometry/meshes.py`: a mesh, or a point cloud where the system predicts points.

Where nothing is trained yet, the network that comes along answers, from data/weights.
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
        argument("--system", "which trained system (default: the first of selected_systems that is trained)"),
        argument("--checkpoint", "file of a trained system, .pt or .safetensors, instead", type=Path, metavar="FILE"),
        argument("--threshold", "occupancy at the surface, from 0 to 1 (default: as tuned on validation)", type=float),
    )

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model import maps
from pipeline.runtime.files import atomic_write
from pipeline.runtime.machine import device
from pipeline.runtime.params import PARAMS_FILE, selected_systems
from pipeline.scoring.predictions import predict
from pipeline.scoring.tables import tuned_threshold
from pipeline.shards.views import prepare
from pipeline.sources.photos import read_photo
from pipeline.training.checkpoints import CHECKPOINTS, load_checkpoint

WEIGHTS = Path(__file__).parents[1] / "data/weights/recall.safetensors"  # of the network that comes along
MESHES = (".glb", ".obj", ".off", ".ply", ".stl")
POINTS = (".glb", ".obj", ".ply", ".xyz")  # an STL of points would be empty, an OFF is refused
Shape = tuple[np.ndarray, np.ndarray | None]  # vertices (N, 3) and faces (M, 3); of a point cloud points and None


@dataclass(frozen=True)
class Trained:
    """A system that is ready to predict from photos alone.

    Attributes:
        name: entry of `systems:` that it was trained as.
        model, config: the network on its device, and its Config.
        threshold: of the occupancy at the surface.
    """

    name: str
    model: Any
    config: Any
    threshold: float


def where(system: str | None, checkpoint: Path | None) -> Path:
    """The file of what was asked for, otherwise of the first selected system that is trained, or of what comes along.

    Raises:
        ValueError: both are asked for.
    """
    if checkpoint and system:
        raise ValueError(f"--checkpoint: expected it or --system, got '{checkpoint}' and '{system}'")
    if checkpoint or system:
        return checkpoint or CHECKPOINTS / f"{system}.pt"
    selected = selected_systems() if PARAMS_FILE.is_file() else {}
    files = [path for name in selected if (path := CHECKPOINTS / f"{name}.pt").is_file()]
    return files[0] if files else WEIGHTS


def trained(path: Path, threshold: float | None) -> Trained:
    """The system in a file.

    Args:
        threshold: as asked for, or else as metrics tuned it for the file's system, or 0.5 where there is none.

    Raises:
        ValueError: there is no trained system, it takes more than photos, or the threshold can't be or means nothing.
    """
    if threshold is not None and not 0 < threshold <= 1:
        raise ValueError(f"--threshold: expected a number over 0 and up to 1, got {threshold}")
    model, config, info = load_checkpoint(path, device())
    name = info["system"]
    if needed := maps(config):
        raise ValueError(f"{path}: expected a system that takes a photo alone, got one with {needed[0]}")
    if threshold is not None and model.output != "occupancy":
        raise ValueError(f"--threshold: expected none for {name}, its output is {model.output}, not occupancy")
    known = [threshold, info.get("threshold"), tuned_threshold(name) if path.parent == CHECKPOINTS else None, 0.5]
    return Trained(name, model, config, next(level for level in known if level is not None))


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


def main(
    photos: Sequence[Path],
    out: Path,
    system: str | None = None,
    threshold: float | None = None,
    checkpoint: Path | None = None,
) -> None:
    used = trained(path := where(system, checkpoint), threshold)
    formats = POINTS if used.model.output == "points" else MESHES
    if out.suffix not in formats:
        raise ValueError(f"--out: expected a file ending in {', '.join(formats)} from {used.name}, got '{out}'")
    images = look(photos, used.config.image_size)
    try:
        shape = reconstruct(used.model, images, used.threshold)
    except ValueError as error:
        raise ValueError(f"{', '.join(map(str, photos))}: {error}") from error
    write(shape, out)
    vertices, faces = shape
    size = f"{len(vertices)} points" if faces is None else f"{len(vertices)} vertices, {len(faces)} faces"
    print(f"{out}: {size}, by {used.name} from {path}")
