"""Command predict: a photo in, a mesh out.

    python -m pipeline.predict PHOTO --out mesh.glb

The photo goes through the preprocessing that training used (`views.py`): the object is cut out by the alpha channel, or
against a uniform background; it is cropped, and made grayscale. The mesh is in the normalised frame of `meshes.py`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from model import maps
from model.isosurface import marching_cubes
from pipeline.checkpoints import CHECKPOINTS, load_checkpoint
from pipeline.command import run
from pipeline.files import atomic_write
from pipeline.machine import device
from pipeline.photos import read_photo
from pipeline.scoring import METRICS
from pipeline.views import prepare

FORMATS = (".glb", ".obj", ".off", ".ply", ".stl")


def tuned_threshold(system: str) -> float:
    """The threshold that the metrics stage tuned on validation, 0.5 where it has not run."""
    path = METRICS / system / "overall.json"
    return float(json.loads(path.read_text())["threshold"]) if path.is_file() else 0.5


def reconstruct(photo: Path, checkpoint: Path, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (N, 3) and faces (M, 3) of the surface where the predicted occupancy passes the threshold.

    Raises:
        ValueError: the photo or the checkpoint can't be used, or no cell passes the threshold.
    """
    gray, mask = read_photo(photo)
    model, config, _ = load_checkpoint(checkpoint, device())
    if needed := maps(config):
        raise ValueError(f"{checkpoint}: expected a system that takes a photo alone, got one with {needed[0]}")
    image = prepare(torch.from_numpy(gray.copy())[None], torch.from_numpy(mask)[None], config.image_size)
    with torch.no_grad():
        occupancy = model.predict(image[None].to(device()))[0].sigmoid().float().cpu().numpy()
    if occupancy.max() <= threshold:
        raise ValueError(
            f"{photo}: expected cells of occupancy over {threshold}, got at most {occupancy.max():.3f}; try --threshold"
        )
    return marching_cubes(occupancy, threshold)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("--out", type=Path, required=True, help=f"mesh file: {', '.join(FORMATS)}")
    parser.add_argument("--system", default="r3d", help="which trained system (default: %(default)s)")
    parser.add_argument("--threshold", type=float, help="occupancy at the surface (default: as tuned on validation)")
    arguments = parser.parse_args()
    import trimesh

    if arguments.out.suffix not in FORMATS:
        raise ValueError(f"--out: expected a file ending in {', '.join(FORMATS)}, got '{arguments.out}'")
    threshold = tuned_threshold(arguments.system) if arguments.threshold is None else arguments.threshold
    vertices, faces = reconstruct(arguments.photo, CHECKPOINTS / f"{arguments.system}.pt", threshold)
    with atomic_write(arguments.out) as temporary:
        trimesh.Trimesh(vertices, faces, process=False).export(temporary)
    print(f"{arguments.out}: {len(vertices)} vertices, {len(faces)} faces, threshold {threshold:.2f}")


if __name__ == "__main__":
    run("pipeline.predict")
