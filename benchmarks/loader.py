"""Samples a second of the shards under a DataLoader, beside the same data as files.

    python -m benchmarks.loader

The files: `png+binvox`, a grayscale picture with alpha a view and a run-length coded grid a model, as in 3D-R2N2's
data set, the points as .npy; `npz a model`, with all its views; `npz a sample`, a file for every view, which repeats
the grid and the points; and that uncompressed. Each gives the very sample of the shards, which is asserted of every
item before anything is timed. All are read in one random order, from the page cache, in rounds that take turns. `no
reading` hands out one sample over and over: what collating, and the way here from a worker process, take of everybody.

Then the storage of a shard: how long a sample (view, mask, grid) takes to read and what ShapeNet would weigh.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from benchmarks import common
from pipeline import render, synthesize, voxelize
from pipeline.families.registry import FAMILIES
from pipeline.geometry import meshes
from pipeline.runtime.params import load
from pipeline.shards import layout
from pipeline.shards.chunks import Chunks
from pipeline.shards.layout import CHECKSUMS, Sample, ShardDataset

BATCH, WORKERS = 32, (0, 2)
TARGETS = (("occupancy",), ("occupancy", "points"))
STORED = ("views", "masks", "occupancy")
STORAGE: dict[str, dict[str, Any]] = {"none": {}, "lzf": {"compression": "lzf"}} | {
    f"gzip {level}": {"compression": "gzip", "compression_opts": level} for level in (1, 3, 4, 9)
}
SHAPENET, SHAPENET_VIEWS = 51_300, 12  # models, and views of each
Arrays = dict[str, np.ndarray]
Read = Callable[[Path, int, int, tuple[str, ...]], Arrays]


def stored(root: Path, count: int) -> Iterator[Sample]:
    """Up to `count` models of the shards below `root`, from all over them."""
    rows = []
    for path in sorted(root.glob("*/*.h5")):
        with layout.open_shard(path) as file:
            rows += [(path, row) for row in range(len(file["model_id"]))]
    for n, (path, row) in enumerate(rows[:: max(1, len(rows) // count)][:count]):
        with layout.open_shard(path) as file:
            yield _sample(n, {name: file[name][row] for name in file if file[name].ndim > 1})


def built(count: int) -> Iterator[Sample]:
    """Models of the embedded families, through the functions of the stages."""
    models, views = load("synthesize", synthesize.Params), load("render", render.Params)
    grids = load("voxelize", voxelize.Params)
    for n in range(count):
        model = synthesize.build(sorted(FAMILIES)[n % len(FAMILIES)], n // len(FAMILIES), models)
        mesh, affine = meshes.normalise(meshes.read(synthesize.obj_text(model).encode(), "obj"))
        record = render.compute(model.model_id, mesh, affine, views)
        yield _sample(n, record | voxelize.compute(model.model_id, mesh, affine, grids))


def _sample(number: int, record: Arrays) -> Sample:
    side, width = round((8 * len(record["occupancy"])) ** (1 / 3)), record["views"].shape[-1]
    grid = np.unpackbits(record["occupancy"])[: side**3].reshape(side, side, side).astype(bool)
    masks = np.unpackbits(record["masks"], axis=-1)[..., :width].astype(bool)
    rest = {name: record[name] for name in ("views", "cameras", "world_to_view", "points", "affine", "notes")}
    return Sample(f"{number:05}", "0" * 64, masks=masks, occupancy=grid, **rest)


def write_files(root: Path, model: int, sample: Sample) -> None:
    """One model as each kind of files."""
    folder = root / "png+binvox" / f"{model:05}"
    for kind in ("png+binvox", "npz a model", "npz a sample", "npz a sample, uncompressed"):
        (root / kind / f"{model:05}").mkdir(parents=True)
    rows: dict[str, Any] = {n: row for n, row in sample.rows().items() if n in (*STORED, "points")}
    (folder / "model.binvox").write_bytes(binvox(sample.occupancy))
    np.save(folder / "points.npy", sample.points)
    np.savez_compressed(root / "npz a model" / f"{model:05}" / "model.npz", **rows)
    for view, (gray, mask) in enumerate(zip(sample.views, sample.masks, strict=True)):
        alpha = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))
        Image.merge("LA", [Image.fromarray(gray), alpha]).save(folder / f"{view:02}.png")
        own = rows | {name: rows[name][view] for name in ("views", "masks")}
        np.savez_compressed(root / "npz a sample" / f"{model:05}" / f"{view:02}.npz", **own)
        np.savez(root / "npz a sample, uncompressed" / f"{model:05}" / f"{view:02}.npz", **own)


def binvox(grid: np.ndarray) -> bytes:
    """A bool grid [x, y, z] in Min's binvox format: runs of at most 255 cells, y fastest, then z."""
    cells = grid.transpose(0, 2, 1).ravel()
    starts = np.flatnonzero(np.diff(cells, prepend=~cells[:1]))
    lengths = np.diff(starts, append=cells.size)
    pieces = -(-lengths // 255)
    counts = np.full(pieces.sum(), 255)
    counts[np.cumsum(pieces) - 1] = (lengths - 1) % 255 + 1
    runs = np.stack([np.repeat(cells[starts], pieces), counts], axis=1).astype(np.uint8)
    dim = " ".join(map(str, grid.shape))
    return f"#binvox 1\ndim {dim}\ntranslate 0 0 0\nscale 1\ndata\n".encode() + runs.tobytes()


def read_png_binvox(folder: Path, model: int, view: int, targets: tuple[str, ...]) -> Arrays:
    with Image.open(folder / f"{model:05}" / f"{view:02}.png") as image:
        pixels = np.asarray(image)
    found = {"views": pixels[None, ..., 0].copy(), "masks": np.packbits(pixels[None, ..., 1], axis=-1)}
    if "occupancy" in targets:
        header, runs = (folder / f"{model:05}" / "model.binvox").read_bytes().split(b"data\n", 1)
        side = int(header.split(b"dim ", 1)[1].split(maxsplit=1)[0])
        values, counts = np.frombuffer(runs, np.uint8).reshape(-1, 2).T
        cells = np.repeat(values, counts).reshape(side, side, side)
        found["occupancy"] = np.packbits(cells.transpose(0, 2, 1))
    if "points" in targets:
        found["points"] = np.load(folder / f"{model:05}" / "points.npy")
    return found


def read_npz_model(folder: Path, model: int, view: int, targets: tuple[str, ...]) -> Arrays:
    with np.load(folder / f"{model:05}" / "model.npz") as file:
        found = {name: file[name][view : view + 1] for name in ("views", "masks")}
        return found | {name: file[name] for name in targets}


def read_npz_sample(folder: Path, model: int, view: int, targets: tuple[str, ...]) -> Arrays:
    with np.load(folder / f"{model:05}" / f"{view:02}.npz") as file:
        return {name: file[name][None] for name in ("views", "masks")} | {name: file[name] for name in targets}


READERS: dict[str, Read] = {
    "png+binvox": read_png_binvox,
    "npz a model": read_npz_model,
    "npz a sample": read_npz_sample,
    "npz a sample, uncompressed": read_npz_sample,
}


class Files(Dataset):
    """The items of a ShardDataset from files of a kind; `views` a model."""

    def __init__(self, root: Path, kind: str, views: int, targets: tuple[str, ...]):
        self.folder, self.read, self.views, self.targets = root / kind, READERS[kind], views, targets

    def __getitem__(self, item: int) -> dict[str, Any]:
        return {"item": item} | self.read(self.folder, *divmod(item, self.views), self.targets)


class Still(Dataset):
    """The same sample at every item."""

    def __init__(self, sample: dict[str, Any]):
        self.sample = sample

    def __getitem__(self, item: int) -> dict[str, Any]:
        return self.sample


def loaders(root: Path, targets: tuple[str, ...], workers: int, count: int) -> dict[str, DataLoader]:
    """A loader of each kind over the same `count` items in one random order; asserts that they give the same."""
    data = ShardDataset(root / "shards", ["all"], "train", targets=targets)
    kinds: dict[str, Any] = {"shards": data} | {kind: Files(root, kind, data.groups, targets) for kind in READERS}
    kinds["no reading"] = Still(data[0])
    order = np.random.default_rng(0).permutation(len(data))[:count].tolist()
    given = {kind: _loader(dataset, order, workers) for kind, dataset in kinds.items()}
    for first, *others, _ in zip(*given.values(), strict=True):
        for other in others:
            assert other.keys() == first.keys() and all(torch.equal(other[name], first[name]) for name in first)
    return given


def _loader(dataset: Any, order: list[int], workers: int) -> DataLoader:
    return DataLoader(dataset, BATCH, sampler=order, num_workers=workers, persistent_workers=workers > 0)


def in_turn(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """Seconds of each function in each round; a round runs each once."""
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            taken[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in taken.items()}


def compared(root: Path, rounds: int, count: int) -> dict[str, Any]:
    """Samples a second of each kind, and how many times as many the shards give; medians over the rounds."""
    table: dict[str, Any] = {}
    for targets in TARGETS:
        for workers in WORKERS:
            given = loaders(root, targets, workers, count)
            seconds = in_turn({kind: partial(_epoch, loader) for kind, loader in given.items()}, rounds)
            table[f"views, masks, {', '.join(targets)}; {workers} workers"] = {
                kind: {
                    "samples_per_s": round(count / float(np.median(taken))),
                    "shards_times_as_many": round(float(np.median(taken / seconds["shards"])), 2),
                }
                for kind, taken in seconds.items()
            }
    return table


def at_best(table: dict[str, Any]) -> dict[str, dict[str, float]]:
    """How many times as many samples the shards give where each kind has the number of workers that suits it most."""
    found = {}
    for targets in {title.split(";")[0]: None for title in table}:
        settings = [kinds for title, kinds in table.items() if title.startswith(f"{targets};")]
        best = {kind: max(kinds[kind]["samples_per_s"] for kinds in settings) for kind in ("shards", *READERS)}
        found[targets] = {kind: round(best["shards"] / best[kind], 2) for kind in READERS}
    return found


def _epoch(loader: DataLoader) -> None:
    for _ in loader:
        pass


def storage(root: Path, rounds: int, count: int) -> dict[str, Any]:
    """What STORED costs by compression: microseconds a sample with Chunks and with h5py alone, and bytes."""
    source = h5py.File(next(root.glob("shards/*/*.h5")), "r", locking=False)
    models, views = source["views"].shape[:2]
    places = [divmod(n, views) for n in np.random.default_rng(0).permutation(models * views)[:count].tolist()]
    readers: dict[str, Callable[[], object]] = {}
    sizes = {}
    for option, arguments in STORAGE.items():
        with h5py.File(root / f"{option}.h5", "w") as file:
            for name in STORED:
                file.create_dataset(name, data=source[name][:], chunks=source[name].chunks, **arguments)
        file = h5py.File(root / f"{option}.h5", "r", locking=False, rdcc_nbytes=0)
        stream = (root / f"{option}.h5").open("rb", buffering=0)
        sizes[option] = {name: file[name].id.get_storage_size() for name in STORED}
        readers[f"{option}, h5py"] = partial(_read_h5py, [file[name] for name in STORED], places)
        if option != "lzf":
            readers[f"{option}, Chunks"] = partial(
                _read_chunks, [Chunks(file[name], source[CHECKSUMS][name][:], stream) for name in STORED], places
            )
    seconds = in_turn(readers, rounds + 1)  # the first warms up
    table: dict[str, Any] = {}
    for option, size in sizes.items():
        a_model = (size["views"] + size["masks"]) / views * SHAPENET_VIEWS + size["occupancy"]
        table[option] = {
            "us_a_sample": {
                name.split(", ")[1]: round(float(np.median(taken[1:])) / len(places) * 1e6, 1)
                for name, taken in seconds.items()
                if name.startswith(option + ",")
            },
            "bytes_a_view": round((size["views"] + size["masks"]) / models / views),
            "bytes_a_grid": round(size["occupancy"] / models),
            "shapenet_gb": round(a_model / models * SHAPENET / 1e9, 2),
        }
    return table


def _read_h5py(datasets: list[h5py.Dataset], places: list[tuple[int, int]]) -> None:
    views, masks, occupancy = datasets
    for row, view in places:
        _ = views[row, view], masks[row, view], occupancy[row]


def _read_chunks(datasets: list[Chunks], places: list[tuple[int, int]]) -> None:
    views, masks, occupancy = datasets
    for row, view in places:
        _ = views.read([(row, view)]), masks.read([(row, view)]), occupancy.read([(row,)])


def disk(root: Path, models: int) -> dict[str, int]:
    """Bytes a model takes on disk as each kind, whole blocks."""
    return {
        kind: sum(path.stat().st_blocks for path in (root / kind).rglob("*.*")) * 512 // models
        for kind in ("shards", *READERS)
    }


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.loader", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shards", type=Path, default=layout.SHARDS, help="models come from here, or are made")
    parser.add_argument("--models", type=int, default=64, help="in the shards that are read")
    parser.add_argument("--samples", type=int, default=768, help="read in a round")
    parser.add_argument("--rounds", type=int, default=9, help="of which the median counts")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        found = any(args.shards.glob("*/*.h5"))
        samples = list(stored(args.shards, args.models) if found else built(args.models))
        for number, sample in enumerate(samples):
            write_files(root, number, sample)
        layout.write(root / "shards/all/train-000.h5", iter(samples), len(samples), "all", "train", "")
        count = min(args.samples, len(samples) * len(samples[0].views)) // BATCH * BATCH
        result = {
            "models": len(samples),
            "from": "shards" if found else "the embedded families",
            "shapes": {name: list(row.shape) for name, row in samples[0].rows().items() if name in (*STORED, "points")},
            "batch": BATCH,
            "samples": count,
            "rounds": args.rounds,
            "loader": (loader := compared(root, args.rounds, count)),
            "shards_times_as_many_each_at_its_best": at_best(loader),
            "disk_bytes_a_model": disk(root, len(samples)),
            "storage": storage(root, args.rounds, count),
        }
    common.write("loader", ("h5py", "numpy", "pillow", "torch"), result)
    print_tables(result)


def print_tables(result: dict[str, Any]) -> None:
    for title, kinds in result["loader"].items():
        print(f"\n{title:44} samples/s   shards are    bytes a model")
        for kind, row in kinds.items():
            size = result["disk_bytes_a_model"].get(kind, 0)
            print(f"  {kind:42} {row['samples_per_s']:9} {row['shards_times_as_many']:9.2f} x {size:14,}")
    for targets, kinds in result["shards_times_as_many_each_at_its_best"].items():
        print(f"\n{targets}, each at its best: " + ", ".join(f"{kind} {times:.2f} x" for kind, times in kinds.items()))
    print("\nstorage     us a sample: Chunks    h5py   bytes a view   a grid   ShapeNet, GB")
    for option, row in result["storage"].items():
        chunks, alone = row["us_a_sample"].get("Chunks", "-"), row["us_a_sample"]["h5py"]
        sizes = f"{row['bytes_a_view']:14,} {row['bytes_a_grid']:8,} {row['shapenet_gb']:14}"
        print(f"{option:23} {chunks:>7} {alone:>7} {sizes}")


if __name__ == "__main__":
    main()
