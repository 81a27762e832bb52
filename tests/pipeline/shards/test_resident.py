from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from pipeline.shards import resident
from pipeline.shards.layout import ShardDataset
from pipeline.shards.resident import Resident, stored_bytes
from pipeline.training.order import Batches
from tests.samples import SYNSETS, write_boxes

CPU = torch.device("cpu")


@pytest.mark.parametrize("together", [1, 2])
def test_it_gives_what_a_loader_gives_in_the_same_order(
    together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ShardDataset(write_boxes(tmp_path), SYNSETS, "train", together, ("occupancy", "points"))
    monkeypatch.setattr(resident, "AHEAD", 3)
    monkeypatch.setattr(resident, "MODELS", 5)
    order = Batches(len(data), 5, range(7), seed=1)
    loader: DataLoader = DataLoader(data, batch_sampler=order)  # type: ignore[arg-type]
    found = list(Resident(data, CPU, workers=2).batches(order))
    assert len(found) == 7
    for ours, expected in zip(found, loader, strict=True):
        assert ours.keys() == expected.keys()
        for name, value in expected.items():
            assert ours[name].dtype == value.dtype and torch.equal(ours[name], value), name


def test_batches_of_different_sizes(tmp_path: Path) -> None:
    data = ShardDataset(write_boxes(tmp_path), SYNSETS, "val")
    found = list(Resident(data, CPU, workers=1).batches([[3, 0, 1], [2]]))
    assert [batch["item"].tolist() for batch in found] == [[3, 0, 1], [2]]
    assert torch.equal(found[1]["views"][0], torch.from_numpy(data[2]["views"]))


def test_stored_bytes_are_what_it_takes(tmp_path: Path) -> None:
    data = ShardDataset(write_boxes(tmp_path), SYNSETS, "train", 1, ("occupancy", "points"))
    arrays = Resident(data, CPU, workers=1).arrays.values()
    assert stored_bytes(data) == sum(array.nbytes for array in arrays)


def test_a_shard_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    root = write_boxes(tmp_path)
    data = ShardDataset(root, SYNSETS, "train", 1, ("normals",))
    with pytest.raises(ValueError, match="expected normals, found only"):
        Resident(data, CPU, workers=2)
