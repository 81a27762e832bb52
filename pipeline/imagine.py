"""Command imagine: shapes without a photo, or on the way between two, from a trained system.

    python -m pipeline.imagine --count 8 --out shapes
    python -m pipeline.imagine --between a.jpg b.jpg --count 7 --out shapes

Such a system has `sample` and `interpolate` besides the contract, as `model/vaegan3d.py` has them. The shapes are drawn
from its prior; or they lie on the straight line between the latent vectors of two photos, or of two draws where
`--between` stands alone.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pathlib import Path

    from pipeline.runtime.command import argument, run

    run(
        "pipeline.imagine",
        argument("--out", "folder for the meshes and a sheet of them", type=Path, required=True, metavar="FOLDER"),
        argument("--system", "which trained system (default: %(default)s)", default="vaegan3d"),
        argument("--between", "two photos; none: two random shapes", type=Path, nargs="*", metavar="PHOTO"),
        argument("--count", "how many shapes (default: %(default)s)", type=int, default=8),
        argument("--seed", "of what is drawn (default: %(default)s)", type=int, default=0),
        argument("--threshold", "occupancy at the surface, from 0 to 1 (default: as tuned on validation)", type=float),
    )

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.answers.network import see, trained
from pipeline.geometry.formats import glb
from pipeline.geometry.isosurface import marching_cubes
from pipeline.pages.pictures import gallery
from pipeline.runtime.files import atomic_write
from pipeline.runtime.machine import device
from pipeline.sources.photos import read_photo
from pipeline.training.checkpoints import CHECKPOINTS


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
        color = getattr(config, "color", False)
        ends = [see([read_photo(photo)], config.image_size, color) for photo in between]
        first, second = (model.features(images)[0] for images in ends)
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
        with atomic_write(out / f"{name}.glb") as temporary:
            temporary.write_bytes(glb(*surface))
    with atomic_write(out / "sheet.png") as temporary:
        gallery(surfaces, [f"{index:03}" for index in range(len(surfaces))]).save(temporary)
    return len(found)


def main(
    out: Path,
    system: str = "vaegan3d",
    between: Sequence[Path] | None = None,
    count: int = 8,
    seed: int = 0,
    threshold: float | None = None,
) -> None:
    if between and len(between) != 2:
        raise ValueError(f"--between: expected two photos or none, got {len(between)}")
    if count < (smallest := 1 if between is None else 2):
        raise ValueError(f"--count: expected {smallest} or more, got {count}")
    if not 0 <= seed < 2**63:
        raise ValueError(f"--seed: expected a number from 0 to 2^63, got {seed}")
    used = trained(CHECKPOINTS / f"{system}.pt", threshold)
    if not hasattr(used.model, "interpolate"):
        raise ValueError(f"--system: expected one that has shapes without a photo, as vaegan3d has, got {system}")
    kept = save(shapes(used.model, used.config, between, count, seed), used.threshold, out)
    print(f"{out}: {kept} of {count} shapes are not empty, threshold {used.threshold:.2f}")
