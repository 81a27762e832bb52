"""Command predict: a photo in, a mesh out.

    python -m pipeline.predict PHOTO --out mesh.glb

The photo goes through the preprocessing that training used (`views.py`): the object is cut out by the alpha channel, or
against a uniform background; it is cropped, and made grayscale. The mesh is in the normalised frame of `meshes.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

from model.isosurface import marching_cubes
from pipeline.checkpoints import CHECKPOINTS, load_checkpoint
from pipeline.command import run
from pipeline.files import atomic_write
from pipeline.machine import device
from pipeline.scoring import METRICS
from pipeline.views import prepare

FORMATS = (".glb", ".obj", ".off", ".ply", ".stl")
TOLERANCE = 24  # levels of 256 by which a background may vary in each channel
SPECK = 1 / 5000  # share of the picture up to which an enclosed patch in the background's colour is the object's
LONGEST = 512  # pixels along the object to which larger photos are averaged; about twice a training view


def read_photo(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Grayscale picture (H, W) uint8 and mask of the object (H, W) bool of an image file, cropped to the object.

    Raises:
        ValueError: it is no image that Pillow reads, or fully transparent.
    """
    try:
        with Image.open(path) as image:
            turned = ImageOps.exif_transpose(image)
            if turned.mode.startswith("I"):  # 16 bits, which Pillow would clip to 8
                turned = Image.fromarray((np.asarray(turned) / 257).clip(0, 255).astype(np.uint8))
            rgba = np.asarray(turned.convert("RGBA"))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
        raise ValueError(f"{path}: expected a picture, got {error}") from error
    mask = rgba[..., 3] >= 128 if rgba[..., 3].min() < 255 else foreground(rgba[..., :3])
    if not mask.any():
        raise ValueError(f"{path}: expected an object, got a fully transparent picture")
    gray = np.asarray(Image.fromarray(rgba[..., :3]).convert("L"))
    return _reduced(gray, mask)


def _reduced(gray: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cropped to the mask, and averaged down to at most LONGEST pixels a side, background left out of the means."""
    box = tuple(slice(hit[0], hit[-1] + 1) for hit in (np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))))
    gray, mask = gray[box], mask[box]
    factor = -(-max(gray.shape) // LONGEST)
    if factor > 1:
        share = np.asarray(Image.fromarray(mask.astype(np.float32)).reduce(factor))
        light = np.asarray(Image.fromarray((gray * mask).astype(np.float32)).reduce(factor))
        gray, mask = (light / np.maximum(share, 1e-6)).round().clip(0, 255).astype(np.uint8), share >= 0.5
    return gray, mask


def foreground(rgb: np.ndarray) -> np.ndarray:
    """Mask (H, W) of what stands on a uniform background, from (H, W, 3) uint8.

    Background has the border's median colour, within TOLERANCE, and is connected with the border or larger than a
    SPECK: what is seen between a chair's legs is background too. All True, with a warning, where most of the border has
    other colours or nothing but background is found.
    """
    border = np.concatenate([rgb[0], rgb[-1], rgb[:, 0], rgb[:, -1]]).astype(int)
    colour = np.median(border, axis=0)
    alike = np.abs(rgb.astype(int) - colour).max(axis=-1) <= TOLERANCE
    uniform = (np.abs(border - colour).max(axis=-1) <= TOLERANCE).mean()
    regions, _ = ndimage.label(alike)
    behind = np.bincount(regions.ravel()) > SPECK * alike.size
    for edge in (regions[0], regions[-1], regions[:, 0], regions[:, -1]):
        behind[edge] = True
    behind[0] = False  # no region: whatever has another colour
    mask = ~behind[regions]
    if uniform < 0.6 or not mask.any():
        found = "nothing else" if uniform >= 0.6 else f"{uniform:.0%} of the border in one colour"
        print(
            f"warning: expected an object on a uniform background, got {found}; taking the whole picture. "
            "Cut the object out (alpha channel) for a better mesh.",
            file=sys.stderr,
        )
        return np.ones(mask.shape, bool)
    return mask


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
