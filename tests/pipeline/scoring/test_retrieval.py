from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from pipeline.scoring.neighbours import packed_grids
from pipeline.scoring.retrieval import lookups, nearest_models
from pipeline.shards.batches import make_batch
from pipeline.shards.layout import ShardDataset
from tests.samples import SYNSETS, opened, write_boxes

SIZE, R, VIEWS = (12, 16), 16, 3


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    return write_boxes(tmp_path, R, {"train": 4, "test": 2})


def pixels(images: torch.Tensor) -> torch.Tensor:
    return images.flatten(1)


def splits(root: Path) -> tuple[ShardDataset, ShardDataset]:
    return ShardDataset(root, SYNSETS, "train"), ShardDataset(root, SYNSETS, "test")


def draw(path: Path, model: int, view: int, seed: int) -> None:
    """Noise in the place of a view."""
    with opened(path) as file:
        file["views"][model, view] = np.random.default_rng(seed).integers(0, 256, file["views"].shape[2:])
        file["masks"][model, view] = 255


def pictures(data: ShardDataset) -> np.ndarray:
    rows = [{name: torch.from_numpy(data[i][name])[None] for name in ("views", "masks")} for i in range(len(data))]
    return np.stack([make_batch(row, SIZE, 1)["images"].flatten().numpy() for row in rows])


def test_the_same_view_is_the_nearest(root):
    """Of all training views one of another category is the same picture, which tells the model apart."""
    draw(root / SYNSETS[1] / "train-000.h5", 2, 1, seed=7)
    draw(root / SYNSETS[0] / "test-000.h5", 1, 2, seed=7)
    train, test = splits(root)
    item = 1 * VIEWS + 2
    found = nearest_models(pixels, SIZE, train, test, [item], 5, "")
    assert found == {item: 4 + 2}
    assert train.models[found[item]] == (SYNSETS[1], "train0300002")


def test_agrees_with_all_distances(root):
    drawn = itertools.product(SYNSETS, ("train", "test"), (0, 1), range(VIEWS))
    for seed, (synset, split, model, view) in enumerate(drawn):
        draw(root / synset / f"{split}-000.h5", model, view, seed)
    train, test = splits(root)
    items = [0, 2, 7, 8, 11]
    expected = cdist(pictures(test)[items], pictures(train)).argmin(1) // VIEWS
    found = nearest_models(pixels, SIZE, train, test, items, 4, "")
    assert found == dict(zip(items, expected.tolist(), strict=True))


def test_the_description_decides(root):
    train, test = splits(root)
    found = nearest_models(lambda images: torch.zeros(len(images), 3), SIZE, train, test, [0, 5], 4, "")
    assert found == {0: 0, 5: 0}  # all are alike: the first one


def test_lookups_answer_with_training_shapes(root):
    train, test = splits(root)
    found = {4: 3, 0: 1, 2: 1, 1: 6, 5: 3, 11: 0}
    answers = list(lookups(test, found, packed_grids(train, R), R, ""))
    # Items of model 0 with one answer come together, in one entry; models in their order.
    assert [list(items) for items, _ in answers] == [[0, 2], [1], [4, 5], [11]]
    for items, prediction in answers:
        stored = np.unpackbits(train[found[items[0]] * VIEWS]["occupancy"]).reshape(R, R, R)
        assert prediction.field is not None and prediction.field.dtype == np.float32
        np.testing.assert_array_equal(prediction.field, stored)


def test_models_with_the_same_answer_stay_apart(root):
    train, test = splits(root)
    answers = lookups(test, {0: 5, 3: 5, 6: 5}, packed_grids(train, R), R, "")
    assert [list(items) for items, _ in answers] == [[0], [3], [6]]


def test_lookups_at_a_coarser_resolution(root):
    train, test = splits(root)
    [(_, prediction)] = lookups(test, {0: 2}, packed_grids(train, 8), 8, "")
    stored = np.unpackbits(train[2 * VIEWS]["occupancy"]).reshape(8, 2, 8, 2, 8, 2)
    np.testing.assert_array_equal(prediction.field, stored.max(axis=(1, 3, 5)))
