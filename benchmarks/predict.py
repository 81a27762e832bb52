"""Predicting: how long a user waits for the shape of a photo, measured from outside, start and imports included.

    python -m benchmarks.predict --checkpoint data/checkpoints/r3d.pt

Writes benchmarks/results/predict.json. Photos of a ball are drawn, JPEG as a camera's or PNG with an alpha channel, and
`pipeline.predict` is called as a user calls it: with one, and with many. `first` is what one costs, `further` what each
more does, in seconds by the clock and of all processors; medians over the rounds. By what the ball is cut out:

    alpha       a transparent background
    uniform     a plain background with a camera's noise
    grabcut     wall and floor, with noise
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import common
from pipeline.runtime.machine import device

KINDS = ("alpha", "uniform", "grabcut")
WALL, FLOOR = (205, 200, 190), (140, 110, 80)
Cost = tuple[float, float]  # seconds by the clock, and of processors


def draw(path: Path, kind: str, height: int, seed: int) -> None:
    """A shaded ball in a picture of 4:3, a JPEG, or a PNG where `kind` is `alpha`."""
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[:height, : height * 4 // 3] / height
    x, y = xs - rng.uniform(0.6, 0.75), ys - rng.uniform(0.45, 0.55)
    depth = 0.3**2 - x**2 - y**2
    light = 60 + 170 * np.clip((np.sqrt(depth.clip(0)) - x - y) / 0.5, 0, 1)
    picture = np.full((*ys.shape, 3), WALL)
    if kind == "grabcut":
        picture[ys > 0.6] = FLOOR
    picture = np.where((depth > 0)[..., None], light[..., None] * [0.4, 0.6, 1], picture)
    noisy = (picture + rng.normal(0, 3, picture.shape)).clip(0, 255).astype(np.uint8)
    if kind == "alpha":
        noisy = np.dstack([noisy, 255 * (depth > 0).astype(np.uint8)])
    Image.fromarray(noisy).save(path)


def call(photos: list[Path], checkpoint: Path, out: Path) -> Cost:
    """What the command costs, of which each photo has to become a shape."""
    words = [sys.executable, "-m", "pipeline.predict", *map(str, photos)]
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*words, "--checkpoint", str(checkpoint), "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert {path.stem for path in out.glob("*.glb")} >= {photo.stem for photo in photos}
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(photos: list[Path], checkpoint: Path, out: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Seconds of the first photo and of each further one."""
    costs = np.array([[call(given, checkpoint, out) for given in (photos[:1], photos)] for _ in range(rounds)])
    first = np.median(costs[:, 0], axis=0)
    further = np.median((costs[:, 1] - costs[:, 0]) / (len(photos) - 1), axis=0)
    names = ("clock_s", "processors_s")
    return {
        title: dict(zip(names, row.round(3).tolist(), strict=True))
        for title, row in (("first", first), ("further", further))
    }


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.predict", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True, help="file of the trained system that answers")
    parser.add_argument("--photos", type=int, default=8, help="in a call with many")
    parser.add_argument("--height", type=int, default=3024, help="of the photos, in pixels; they are of 4:3")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts")
    args = parser.parse_args()
    if args.photos < 2:
        parser.error(f"--photos: expected 2 or more, got {args.photos}")
    found = {}
    with tempfile.TemporaryDirectory() as name:
        for kind in KINDS:
            (folder := Path(name) / kind).mkdir()
            photos = [folder / f"{seed}{'.png' if kind == 'alpha' else '.jpg'}" for seed in range(args.photos)]
            for seed, photo in enumerate(photos):
                draw(photo, kind, args.height, seed)
            found[kind] = measure(photos, args.checkpoint, Path(name) / "out" / kind, args.rounds)
    result = {
        "checkpoint": args.checkpoint.stem,
        "device": device(),
        "photos": args.photos,
        "pixels": [args.height * 4 // 3, args.height],
        "rounds": args.rounds,
        "load_when_it_ended": round(os.getloadavg()[0], 2),
        "seconds": found,
    }
    common.write("predict", ("numpy", "opencv-python-headless", "pillow", "torch"), result)
    print("seconds by the clock (of processors)   first photo     each further")
    for kind, row in found.items():
        cells = [f"{row[title]['clock_s']:6.2f} ({row[title]['processors_s']:.2f})" for title in ("first", "further")]
        print(f"  {kind:34} {cells[0]:>15} {cells[1]:>16}")


if __name__ == "__main__":
    main()
