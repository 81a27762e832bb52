from __future__ import annotations

import hashlib
import multiprocessing
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from torch.utils.data import DataLoader

from pipeline import shards
from pipeline.shards import ShardDataset
from tests.samples import SPLITS, SYNSETS, box_sample, write_boxes


def sample(name: str, resolution: int = 8) -> shards.Sample:
    return box_sample(name, np.array([0.2, 0.3, 0.1]), resolution)


def test_items_give_back_what_was_written(tmp_path: Path) -> None:
    written = [sample("a"), sample("b")]
    shards.write(tmp_path / "s" / "val-000.h5", iter(written), 2, "s", "val", "f")
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
    shards.write(tmp_path / "s" / "val-000.h5", iter([sample("a")]), 1, "s", "val", "f")
    assert len(ShardDataset(tmp_path, ["s"], "val", views_per_sample=2)) == 1
    with pytest.raises(ValueError, match="expected 1 to 3 views a sample, got 4"):
        ShardDataset(tmp_path, ["s"], "val", views_per_sample=4)


def test_same_samples_same_bytes_and_several_files_are_one_split(tmp_path: Path) -> None:
    for name in ("train-000", "train-001"):
        shards.write(tmp_path / "s" / f"{name}.h5", iter([sample("a")]), 1, "s", "train", "f")
    one, two = ((tmp_path / "s" / f"train-00{n}.h5").read_bytes() for n in (0, 1))
    assert one == two
    assert len(ShardDataset(tmp_path, ["s"], "train").models) == 2


def test_nothing_is_left_of_a_shard_that_failed(tmp_path: Path) -> None:
    path = tmp_path / "s" / "train-000.h5"
    with pytest.raises(ValueError, match="model b: expected occupancy of shape .64,., got .512,."):
        shards.write(path, iter([sample("a"), sample("b", 16)]), 2, "s", "train", "f")
    with pytest.raises(ValueError, match="expected 2 samples, got 1"):
        shards.write(path, iter([sample("a")]), 2, "s", "train", "f")
    assert list((tmp_path / "s").iterdir()) == []


def test_refuses_what_is_no_shard_of_this_version(tmp_path: Path) -> None:
    path = tmp_path / "s" / "train-000.h5"
    shards.write(path, iter([sample("a")]), 1, "s", "train", "f")
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 0
    with pytest.raises(ValueError, match="train-000.h5: expected oneview-shard version 1, got oneview-shard version 0"):
        ShardDataset(tmp_path, ["s"], "train")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="train-000.h5: expected an HDF5 shard"):
        ShardDataset(tmp_path, ["s"], "train")
    with pytest.raises(ValueError, match="expected shards of the test split, found none for s"):
        ShardDataset(tmp_path, ["s"], "test")


def test_split_hash_knows_models_and_nothing_else(tmp_path: Path) -> None:
    first = ShardDataset(write_boxes(tmp_path / "a"), SYNSETS, "test")
    second = ShardDataset(write_boxes(tmp_path / "b", seed=1), SYNSETS, "test")
    fewer = ShardDataset(write_boxes(tmp_path / "c", counts=SPLITS | {"test": 2}), SYNSETS, "test")
    hashes = [shards.split_sha256(dataset.models) for dataset in (first, second, fewer)]
    assert hashes[0] == hashes[1] != hashes[2]
    lines = sorted(f"{synset}/{model_id}" for synset, model_id in first.models)
    assert hashes[0] == hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert hashes[0] == shards.split_sha256(reversed(first.models * 2))
    assert first.fingerprint != second.fingerprint


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_the_same(tmp_path: Path, method: str) -> None:
    dataset = ShardDataset(write_boxes(tmp_path), SYNSETS, "train")
    here = [dataset[i]["occupancy"] for i in range(len(dataset))]  # opened before the fork
    context = multiprocessing.get_context(method)
    loader: DataLoader = DataLoader(dataset, 6, num_workers=2, multiprocessing_context=context)  # type: ignore[arg-type]
    there = np.concatenate([batch["occupancy"].numpy() for batch in loader])
    assert np.array_equal(there, np.stack(here))


def test_open_files_are_not_pickled(tmp_path: Path) -> None:
    dataset = ShardDataset(write_boxes(tmp_path), SYNSETS, "val")
    dataset[0]
    assert np.array_equal(pickle.loads(pickle.dumps(dataset))[0]["views"], dataset[0]["views"])
