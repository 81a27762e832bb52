from __future__ import annotations

import fcntl
import hashlib
import multiprocessing
import os
import pickle
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from pipeline.shards import layout
from pipeline.shards.layout import ShardDataset
from tests.samples import SPLITS, SYNSETS, box_sample, write_boxes


def sample(name: str, resolution: int = 8) -> layout.Sample:
    return box_sample(name, np.array([0.2, 0.3, 0.1]), resolution)


def test_items_give_back_what_was_written(tmp_path: Path) -> None:
    written = [sample("a"), sample("b")]
    layout.write(tmp_path / "s" / "val-000.h5", iter(written), 2, "s", "val", "f")
    dataset = ShardDataset(tmp_path, ["s"], "val", targets=("occupancy", "points"))
    assert len(dataset) == 6 and dataset.models == [("s", "a"), ("s", "b")] and dataset.resolution == 8
    for item in range(6):
        expected, got = written[item // 3], dataset[item]
        assert np.array_equal(got["views"], expected.views[item % 3][None])
        assert np.array_equal(np.unpackbits(got["masks"], axis=-1)[0, :, :64], expected.masks[item % 3])
        assert np.array_equal(np.unpackbits(got["occupancy"]).reshape(8, 8, 8), expected.occupancy)
        assert np.array_equal(got["points"], expected.points) and got["item"] == item
    with pytest.raises(IndexError):
        dataset[6]


def test_views_come_in_groups(tmp_path: Path) -> None:
    layout.write(tmp_path / "s" / "val-000.h5", iter([sample("a")]), 1, "s", "val", "f")
    assert len(ShardDataset(tmp_path, ["s"], "val", views_per_sample=2)) == 1
    with pytest.raises(ValueError, match="expected 1 to 3 views a sample, got 4"):
        ShardDataset(tmp_path, ["s"], "val", views_per_sample=4)


def test_maps_come_with_the_views_they_are_of(tmp_path: Path) -> None:
    mapped, plain = (box_sample("a", np.array([0.2, 0.3, 0.1]), 8, maps=maps) for maps in (True, False))
    layout.write(tmp_path / "s" / "val-000.h5", iter([mapped]), 1, "s", "val", "f")
    dataset = ShardDataset(tmp_path, ["s"], "val", targets=("depth", "normals", "color"))
    for view in range(3):
        got = dataset[view]
        assert got["depth"].shape == (1, 48, 64) and got["depth"].dtype == np.float16
        assert got["normals"].shape == (1, 48, 64, 3) and got["normals"].dtype == np.int8
        assert np.array_equal(got["depth"][0], mapped.masks[view] * 2.0)
        assert np.array_equal(got["normals"][0, ..., 2], mapped.masks[view] * -127)
        assert got["color"].shape == (1, 48, 64, 3) and got["color"].dtype == np.uint8
        assert np.array_equal(got["color"][0], np.where(mapped.masks[view][..., None], [30, 90, 200], 255))
    assert ShardDataset(tmp_path, ["s"], "val", 2, targets=("depth",))[0]["depth"].shape == (2, 48, 64)
    layout.write(tmp_path / "p" / "val-000.h5", iter([plain]), 1, "p", "val", "f")
    with pytest.raises(ValueError, match="val-000.h5: expected depth, found only affine"):
        ShardDataset(tmp_path, ["p"], "val", targets=("depth",))[0]
    with pytest.raises(ValueError, match="val-001.h5: model a: expected .*'depth'"):
        layout.write(tmp_path / "s" / "val-001.h5", iter([mapped, plain]), 2, "s", "val", "f")


def test_same_samples_same_bytes_and_several_files_are_one_split(tmp_path: Path) -> None:
    for name in ("train-000", "train-001"):
        layout.write(tmp_path / "s" / f"{name}.h5", iter([sample("a")]), 1, "s", "train", "f")
    one, two = ((tmp_path / "s" / f"train-00{n}.h5").read_bytes() for n in (0, 1))
    assert one == two
    assert len(ShardDataset(tmp_path, ["s"], "train").models) == 2


def test_nothing_is_left_of_a_shard_that_failed(tmp_path: Path) -> None:
    path = tmp_path / "s" / "train-000.h5"
    with pytest.raises(ValueError, match="model b: expected occupancy of shape .64,., got .512,."):
        layout.write(path, iter([sample("a"), sample("b", 16)]), 2, "s", "train", "f")
    with pytest.raises(ValueError, match="expected 2 samples, got 1"):
        layout.write(path, iter([sample("a")]), 2, "s", "train", "f")
    assert list((tmp_path / "s").iterdir()) == []


def test_refuses_what_is_no_shard_of_this_version(tmp_path: Path) -> None:
    path = tmp_path / "s" / "train-000.h5"
    layout.write(path, iter([sample("a")]), 1, "s", "train", "f")
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 0
    with pytest.raises(ValueError, match="train-000.h5: expected oneview-shard version 4, got oneview-shard version 0"):
        ShardDataset(tmp_path, ["s"], "train")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="train-000.h5: expected an HDF5 shard"):
        ShardDataset(tmp_path, ["s"], "train")
    with pytest.raises(ValueError, match="expected shards of the test split, found none for s"):
        ShardDataset(tmp_path, ["s"], "test")


def test_variants_come_behind_the_models_that_they_are_of(tmp_path: Path) -> None:
    write_boxes(tmp_path)
    plain = ShardDataset(tmp_path, SYNSETS, "train")
    synset, name = plain.models[8]
    path = tmp_path / synset / "variants-000.h5"
    layout.write(path, iter([sample(f"{name}~1", 16), sample(f"{name}~2", 16)]), 2, synset, "variants", "f")
    both = ShardDataset(tmp_path, SYNSETS, "train", variants=True)
    assert both.models == [*plain.models, (synset, f"{name}~1"), (synset, f"{name}~2")]
    assert both.origins == [*range(12), 8, 8] and plain.origins == [*range(12)]
    items = [both[item] for item in range(len(both) - 4, len(both))]
    assert [(item["model"], item["origin"]) for item in items] == [(12, 8), (13, 8), (13, 8), (13, 8)]
    assert np.array_equal(np.unpackbits(items[0]["occupancy"]).reshape(16, 16, 16), sample("", 16).occupancy)
    assert both.fingerprint != plain.fingerprint == ShardDataset(tmp_path, SYNSETS, "train").fingerprint
    layout.write(path, iter([sample("gone~1", 16)]), 1, synset, "variants", "f")
    with pytest.raises(ValueError, match=f"expected model gone of {synset}, of which gone~1 is a variant"):
        ShardDataset(tmp_path, SYNSETS, "train", variants=True)


def test_split_hash_knows_models_and_nothing_else(tmp_path: Path) -> None:
    first = ShardDataset(write_boxes(tmp_path / "a"), SYNSETS, "test")
    second = ShardDataset(write_boxes(tmp_path / "b", seed=1), SYNSETS, "test")
    fewer = ShardDataset(write_boxes(tmp_path / "c", counts=SPLITS | {"test": 2}), SYNSETS, "test")
    hashes = [layout.split_sha256(dataset.models) for dataset in (first, second, fewer)]
    assert hashes[0] == hashes[1] != hashes[2]
    lines = sorted(f"{synset}/{model_id}" for synset, model_id in first.models)
    assert hashes[0] == hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert hashes[0] == layout.split_sha256(reversed(first.models * 2))
    assert first.fingerprint != second.fingerprint


@pytest.mark.long
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_the_same_and_deliver_it_packed(tmp_path: Path, method: str) -> None:
    dataset = ShardDataset(write_boxes(tmp_path), SYNSETS, "train", targets=("occupancy", "points"))
    here = [dataset[i] for i in range(len(dataset))]  # every file is open when the workers start
    context = multiprocessing.get_context(method)
    loader: DataLoader = DataLoader(dataset, 6, num_workers=2, multiprocessing_context=context)  # type: ignore[arg-type]
    batches = list(loader)
    for name, kind in {
        "views": torch.uint8,
        "masks": torch.uint8,
        "occupancy": torch.uint8,
        "item": torch.int64,
    }.items():
        assert {batch[name].dtype for batch in batches} == {kind}
    assert batches[0]["occupancy"].shape == (6, 16**3 // 8) and batches[0]["masks"].shape == (6, 1, 48, 64 // 8)
    for name in here[0]:
        assert np.array_equal(
            np.concatenate([batch[name] for batch in batches]), np.stack([item[name] for item in here])
        )


@pytest.mark.parametrize("level", [0, 1, 4, 9])
def test_reads_what_hdf5_reads_however_it_is_deflated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: int
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 48, 64)).astype(np.uint8)  # does not shrink: stored as it is
    written = [sample("a"), replace(sample("b"), views=noise), sample("c")]
    monkeypatch.setattr(layout, "DEFLATE", level)
    path = tmp_path / "s" / "val-000.h5"
    layout.write(path, iter(written), 3, "s", "val", "f")
    dataset = ShardDataset(tmp_path, ["s"], "val", 3, targets=("occupancy", "points", "cameras", "affine"))
    with h5py.File(path, "r", locking=False) as file:
        for row in range(3):
            got = dataset[row]
            assert got.pop("item") == got.pop("model") == got.pop("origin") == row and len(got) == 6
            for name, value in got.items():
                assert value.dtype == file[name].dtype and np.array_equal(value, file[name][row])
                assert value.flags.writeable


def test_files_are_open_from_the_first_item_on_and_locks_of_others_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "s" / "val-000.h5"
    layout.write(path, iter([sample("a"), sample("b")]), 2, "s", "val", "f")

    def handles() -> int:
        links = [link for link in Path("/proc/self/fd").iterdir() if link.exists()]
        return sum(link.resolve() == path for link in links)

    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="lock"):
            h5py.File(path, "r", locking=True)
        dataset = ShardDataset(tmp_path, ["s"], "val")
        assert handles() == 1
        dataset[0], dataset[5]
        assert handles() == 2


def test_refuses_damaged_chunks_and_other_storage(tmp_path: Path) -> None:
    path = tmp_path / "s" / "val-000.h5"
    layout.write(path, iter([sample("a"), sample("b")]), 2, "s", "val", "f")
    dataset = ShardDataset(tmp_path, ["s"], "val", targets=("points",))
    with h5py.File(path, "r+") as file:
        place = file["views"].id.get_chunk_info_by_coord((1, 2, 0, 0))
        end = file["points"].id.get_chunk_info_by_coord((1, 0, 0)).byte_offset + 100
    with path.open("r+b") as damaged:
        damaged.seek(place.byte_offset + 2)
        damaged.write(bytes([255] * (place.size - 2)))
    dataset[4]
    with pytest.raises(ValueError, match=r"val-000.h5: views\[1, 2\]: expected 3072 bytes, got Error -3"):
        dataset[5]
    os.truncate(path, end)
    with pytest.raises(ValueError, match=r"val-000.h5: points\[1\]: expected 6000 bytes, got 100 bytes"):
        dataset[3]
    layout.write(path, iter([sample("a")]), 1, "s", "val", "f")
    with h5py.File(path, "r+") as file:
        points = file["points"][:]
        del file["points"]
        file.create_dataset("points", data=points, chunks=(1, 500, 3), shuffle=True)
    with pytest.raises(ValueError, match=r"points: expected chunks .1, 500, 3., plain or deflated, got .1, 500, 3. wi"):
        ShardDataset(tmp_path, ["s"], "val", targets=("points",))[0]


def test_no_flipped_bit_changes_what_is_read_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "s" / "val-000.h5"
    layout.write(path, iter([sample("a"), sample("b")]), 2, "s", "val", "f")
    whole, rng = path.read_bytes(), np.random.default_rng(0)

    def content() -> tuple[list[tuple[str, str]], list[np.ndarray]]:
        dataset = ShardDataset(tmp_path, ["s"], "val", 3, targets=("occupancy", "points", "cameras", "affine"))
        return dataset.models, [value for item in (0, 1) for value in dataset.model(item).values()]

    models, arrays = content()
    with h5py.File(path, "r", locking=False) as file:
        chunks = [file[name].id.get_chunk_info(1) for name in ("views", "masks", "occupancy", "points", "cameras")]
        ids = file["model_id"].id.get_chunk_info(0)
    inside = [chunk.byte_offset + int(rng.integers(chunk.size)) for chunk in (*chunks, ids)]
    noticed = 0
    for place in [*inside, *rng.integers(0, len(whole), 40)]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << int(rng.integers(8))]) + whole[place + 1 :])
        try:
            found, others = content()
        except ValueError as error:
            assert "val-000.h5: " in str(error)
            noticed += 1
        else:  # in what is not read
            assert place not in inside and found == models
            assert all(np.array_equal(a, b) for a, b in zip(arrays, others, strict=True))
    assert noticed > len(inside)


def test_open_files_are_not_pickled(tmp_path: Path) -> None:
    dataset = ShardDataset(write_boxes(tmp_path), SYNSETS, "val")
    dataset[0]
    assert np.array_equal(pickle.loads(pickle.dumps(dataset))[0]["views"], dataset[0]["views"])
