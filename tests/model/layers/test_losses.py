from __future__ import annotations

from math import log

import pytest
import torch

from model.layers.losses import dice, near_surface, occupancy_losses


def test_dice_by_hand() -> None:
    truth, logits = torch.zeros(2, 2, 2, 2), torch.full((2, 2, 2, 2), -100.0)
    truth[0, 0] = 1  # four cells
    logits[0, 0, 0] = 100.0  # two of them, for sure
    assert dice(logits, truth).item() == pytest.approx((1 - (2 * 2 + 1) / (2 + 4 + 1) + 0) / 2)  # both empty: 0


def test_dice_falls_as_the_overlap_grows_and_is_0_of_the_shape_itself() -> None:
    truth = (torch.rand(3, 8, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.2).float()
    values = [dice((2 * truth - 1) * sharpness, truth).item() for sharpness in (-1, 0, 1, 4, 100)]
    assert values == sorted(values, reverse=True)
    assert values[-1] == 0


def test_cells_near_the_surface_have_a_neighbour_of_the_other_kind() -> None:
    truth = torch.zeros(1, 7, 7, 7)
    truth[0, 2:5, 2:5, 2:5] = 1
    found = near_surface(truth)[0]
    assert found.sum() == 5**3 - 1
    assert found[3, 3, 3] == 0
    assert found[1, 1, 1] == 1
    assert torch.equal(near_surface(1 - truth), near_surface(truth))


def test_losses_by_hand() -> None:
    truth, logits = torch.zeros(1, 5, 5, 5), torch.zeros(1, 5, 5, 5)
    truth[0, 0] = 1
    logits[0, 4] = -100.0
    plain = occupancy_losses(logits, truth)
    assert list(plain) == ["voxels"]
    assert plain["voxels"].item() == pytest.approx(4 / 5 * log(2))
    # Layers 0 and 1 are near the surface and weigh 3, the others 1.
    weighted = occupancy_losses(logits, truth, dice_weight=0.5, surface_weight=2.0)
    assert weighted["voxels"].item() == pytest.approx((3 + 3 + 1 + 1) / (3 + 3 + 1 + 1 + 1) * log(2))
    assert weighted["dice"].item() == pytest.approx(0.5 * dice(logits, truth).item())
