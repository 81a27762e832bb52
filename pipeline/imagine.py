"""Command imagine: shapes without a photo, or on the way between two, from a trained system that has them in store.

    python -m pipeline.imagine --count 8 --out FOLDER
    python -m pipeline.imagine --between PHOTO PHOTO --count 7 --out FOLDER

Such a system has `sample` and `interpolate` besides the contract, as `model/vaegan3d.py` has them. The shapes are drawn
from its prior; or they lie on the straight line between the latent vectors of two photos, or of two draws where
`--between` stands alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.geometry.isosurface import marching_cubes
from pipeline.pages.pictures import gallery
from pipeline.predict import look, trained, tuned_threshold, write
from pipeline.runtime.command import run
from pipeline.runtime.files import atomic_write
from pipeline.runtime.machine import device


@torch.inference_mode()
def shapes(model: Any, config: Any, between: Sequence[Path] | None, count: int, seed: int) -> Tensor:
    """Shapes from the prior, or on the way from one to another.

    Args:
        model: with `sample` and `interpolate`.
        config: its Config, with `latent`, how wide its prior N(0, I) is.
        between: two photos, the ends of the way; none, and two draws are; None for shapes from the prior.
        count: how many; of a way 2 or more, both ends counted.
        seed: of the draws; they are the same on every device.

    Returns:
        Occupancy logits (count, R, R, R).
    """
    generator = torch.Generator().manual_seed(seed)
    if between is None:
        return model.sample(count, generator)
    if between:
        first, second = (model.features(look([photo], config.image_size))[0] for photo in between)
    else:
        first, second = torch.randn(2, config.latent, generator=generator).to(device())
    return model.interpolate(first, second, count)


def save(logits: Tensor, threshold: float, out: Path) -> int:
    """Writes the meshes where occupancy passes a threshold, and a sheet of them; returns how many are not empty.

    An empty one has no file, and is shown as nothing.

    Args:
        logits: (N, R, R, R).
        threshold: of the occupancy.
        out: folder; it keeps what else is in it.

    Raises:
        ValueError: all are empty, or one is not finite.
    """
    occupancy = logits.float().sigmoid().cpu().numpy()
    surfaces = [marching_cubes(field, threshold) for field in occupancy]
    found = {f"sample-{index:03}": surface for index, surface in enumerate(surfaces) if len(surface[1])}
    if not found:
        most = f"{occupancy.max():.3f}"
        raise ValueError(f"expected cells of occupancy over {threshold}, got at most {most}; try --threshold")
    for name, surface in found.items():
        write(surface, out / f"{name}.glb")
    with atomic_write(out / "sheet.png") as temporary:
        gallery(surfaces, [f"{index:03}" for index in range(len(surfaces))]).save(temporary)
    return len(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the meshes and the sheet")
    parser.add_argument("--system", default="vaegan3d", help="which trained system (default: %(default)s)")
    parser.add_argument("--between", type=Path, nargs="*", metavar="PHOTO", help="two photos; none: two random shapes")
    parser.add_argument("--count", type=int, default=8, help="how many shapes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default: %(default)s)")
    parser.add_argument("--threshold", type=float, help="occupancy at the surface (default: as tuned on validation)")
    arguments = parser.parse_args()
    system, between, count, threshold = arguments.system, arguments.between, arguments.count, arguments.threshold
    if between and len(between) != 2:
        raise ValueError(f"--between: expected two photos or none, got {len(between)}")
    if count < (smallest := 1 if between is None else 2):
        raise ValueError(f"--count: expected {smallest} or more, got {count}")
    model, config = trained(system)
    if not hasattr(model, "interpolate"):
        raise ValueError(f"--system: expected one that has shapes without a photo, as vaegan3d has, got {system}")
    threshold = tuned_threshold(system) if threshold is None else threshold
    kept = save(shapes(model, config, between, count, arguments.seed), threshold, arguments.out)
    print(f"{arguments.out}: {kept} of {count} shapes are not empty, threshold {threshold:.2f}")


if __name__ == "__main__":
    run("pipeline.imagine")
