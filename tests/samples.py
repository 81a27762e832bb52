"""Small shards with content that can be worked out by hand: boxes, seen along the axes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from pipeline.shards import layout

SYNSETS = ("02691156", "03001627")
SPLITS = {"train": 6, "val": 2, "test": 3}


def box_sample(model_id: str, half: np.ndarray, resolution: int, views: int = 3, maps: bool = False) -> layout.Sample:
    """A box of half sizes `half` at the origin, its views the silhouettes along z, y and x in turn, 48x64.

    With `maps`, it is two away from the camera and square to it, and of a colour.
    """
    centres = (np.arange(resolution) + 0.5) / resolution - 0.5
    inside = [np.abs(centres) <= h for h in half]
    occupancy = inside[0][:, None, None] & inside[1][None, :, None] & inside[2][None, None, :]
    rng = np.random.default_rng(int.from_bytes(model_id.encode()[:8], "big"))
    faces = rng.integers(0, 3, 500)
    points = rng.uniform(-1, 1, (500, 3)) * half
    points[np.arange(500), faces] = np.sign(points[np.arange(500), faces]) * half[faces]
    masks = np.stack([_silhouette(half, axis % 3) for axis in range(views)])
    return layout.Sample(
        model_id=model_id,
        mesh_sha256="0" * 64,
        views=np.where(masks, 90, 255).astype(np.uint8),
        masks=masks,
        cameras=np.tile(np.array([0, 0, 2.5, 40], np.float32), (views, 1)),
        world_to_view=np.tile(np.eye(4, dtype=np.float32), (views, 1, 1)),
        occupancy=occupancy,
        points=points.astype(np.float32),
        affine=np.eye(4),
        notes=np.array([occupancy.mean(), 1, 0, 0, 0], np.float32),
        depth=np.where(masks, 2, 0).astype(np.float16) if maps else None,
        normals=(masks[..., None] * np.array([0, 0, -127])).astype(np.int8) if maps else None,
        color=np.where(masks[..., None], [30, 90, 200], 255).astype(np.uint8) if maps else None,
    )


def _silhouette(half: np.ndarray, axis: int) -> np.ndarray:
    up, across = [(1, 0), (2, 0), (1, 2)][axis]
    ys, xs = np.mgrid[0:48, 0:64] - np.array([23.5, 31.5]).reshape(2, 1, 1)
    return (np.abs(ys) <= half[up] * 48) & (np.abs(xs) <= half[across] * 48)


def write_boxes(
    root: Path, resolution: int = 16, counts: dict[str, int] = SPLITS, seed: int = 0, maps: bool = False
) -> Path:
    """Shards of boxes for SYNSETS under `root`: flat ones in the first category, tall ones in the second."""
    rng = np.random.default_rng(seed)
    for synset, (flat, tall) in zip(SYNSETS, ((0.1, 0.4), (0.4, 0.12)), strict=True):
        for split, count in counts.items():
            halves = np.array([flat + 0.05, tall, flat + 0.05]) * rng.uniform(0.7, 1.1, (count, 3))
            samples = [box_sample(f"{split}{synset[:3]}{i:04}", h, resolution, maps=maps) for i, h in enumerate(halves)]
            path = root / synset / f"{split}-000.h5"
            layout.write(path, iter(samples), count, synset, split, f"{synset}{split}{seed}{resolution}")
    return root


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """A shard to write to, its checksums renewed when the block ends."""
    with h5py.File(path, "r+") as file:
        yield file
        for name, sums in file[layout.CHECKSUMS].items():
            rows = file[name][:].reshape(sums.size, *file[name].shape[sums.ndim :])
            sums[...] = np.array([zlib.crc32(row.tobytes()) for row in rows], np.uint32).reshape(sums.shape)
