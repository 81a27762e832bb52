from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.shards.batches import grids, make_batch, nearness, unpack_bits


def test_unpacking_undoes_numpy() -> None:
    bits = np.random.default_rng(0).random((3, 5, 21)) < 0.5
    packed = torch.from_numpy(np.packbits(bits, axis=-1))
    assert np.array_equal(unpack_bits(packed, 21).numpy(), bits)


def test_a_coarser_cell_is_full_where_any_part_is() -> None:
    grid = np.zeros((8, 8, 8), bool)
    grid[7, 0, 2] = grid[6, 1, 3] = grid[0, 0, 0] = True
    coarse = grids(torch.from_numpy(np.packbits(grid))[None], 4)[0]
    assert [tuple(index) for index in coarse.nonzero().tolist()] == [(0, 0, 0), (3, 0, 1)]


def test_refuses_a_resolution_that_does_not_divide() -> None:
    with pytest.raises(ValueError, match="resolution: expected a divisor of the shards' 8, got 3"):
        grids(torch.zeros(1, 64, dtype=torch.uint8), 3)


def test_batch_has_what_was_asked_for() -> None:
    raw = {
        "views": torch.zeros(2, 3, 6, 10, dtype=torch.uint8),
        "masks": torch.zeros(2, 3, 6, 2, dtype=torch.uint8),
    }
    assert make_batch(raw, (4, 4), 8).keys() == {"images"}
    raw |= {"occupancy": torch.full((2, 64), 255, dtype=torch.uint8), "points": torch.zeros(2, 9, 3)}
    batch = make_batch(raw, (4, 5), 8)
    assert batch["images"].shape == (2, 3, 1, 4, 5) and batch["points"].shape == (2, 9, 3)
    assert batch["occupancy"].shape == (2, 8, 8, 8) and batch["occupancy"].dtype == torch.float32
    assert batch["occupancy"].min() == 1


def test_cover_is_the_share_of_a_pixel_that_the_object_has_be_it_black() -> None:
    mask = np.zeros((1, 1, 80, 80), bool)
    mask[..., 20:60, 20:60] = True
    raw = {"views": torch.zeros(1, 1, 80, 80, dtype=torch.uint8), "masks": torch.from_numpy(np.packbits(mask, axis=-1))}
    batch = make_batch(raw, (22, 22), 8, cover=True)
    assert not batch["images"].any() and batch["cover"].shape == batch["images"].shape
    cover = batch["cover"][0, 0, 0]
    assert cover.sum().item() == pytest.approx(20**2, rel=0.005)  # the crop is 1.1 times as large as the object
    assert (cover[3:19, 3:19] == 1).all() and cover[0].max() < 0.1


def test_depth_is_a_second_channel_relative_to_the_nearest_point() -> None:
    depth = torch.tensor([[[0.0, 2.0], [2.0 + 3**0.5 * 0.4, 0.0]]], dtype=torch.float64)
    assert nearness(depth).tolist() == [[[0, 255], [153, 0]]]
    assert nearness(depth + 1 * (depth > 0)).tolist() == [[[0, 255], [153, 0]]]  # whatever the camera's distance
    assert nearness(torch.zeros(1, 2, 2)).tolist() == [[[0, 0], [0, 0]]]
    raw = {
        "views": torch.full((1, 2, 6, 8), 51, dtype=torch.uint8),
        "masks": torch.full((1, 2, 6, 1), 255, dtype=torch.uint8),
        "depth": torch.full((1, 2, 6, 8), 3.0, dtype=torch.float16),
    }
    images = make_batch(raw, (6, 8), 8)["images"]
    assert images.shape == (1, 2, 2, 6, 8)
    assert images[0, 0, :, 3, 4].tolist() == pytest.approx([0.2, 1.0])
    raw["color"] = torch.tensor([102, 153, 204], dtype=torch.uint8).expand(1, 2, 6, 8, 3)  # which takes gray's place
    assert make_batch(raw, (6, 8), 8)["images"][0, 1, :, 3, 4].tolist() == pytest.approx([0.4, 0.6, 0.8, 1.0])
