from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from model.recall import Config, Model, agreement, packed, principal, unpacked
from pipeline.scoring.distances import iou
from tests.model.boxes import ENCODER, boxes, overfit

SMALL = {**ENCODER, "resolution": 16, "side": 16, "grid_channels": (16, 8), "refine_channels": 8, "key_width": 8}


def remembered(batch: dict[str, Any], **given: Any) -> Model:
    torch.manual_seed(0)
    model = Model(Config(**SMALL, **given))
    model.remember([batch])
    return model


def sixteen() -> dict[str, Any]:
    return boxes(16) | {name: torch.arange(16) for name in ("model", "origin")}


@pytest.mark.parametrize("keys", ["gradients", "learned", "both"])
def test_a_view_finds_its_own_shape_first_and_in_training_another(keys: str) -> None:
    batch = sixteen()
    model = remembered(batch, keys=keys).eval()
    asked = model.features(batch["images"])
    assert torch.equal(model.look_up(asked)[:, 0], batch["occupancy"])
    others = model.look_up(asked, own=batch["model"])
    assert not (others == batch["occupancy"][:, None]).flatten(2).all(2).any()


def test_shapes_come_nearest_first_and_free_grids_where_there_are_no_more() -> None:
    batch = boxes(3) | {name: torch.arange(3) for name in ("model", "origin")}
    model = remembered(batch, keys="gradients", neighbours=4).eval()
    model.keys, model.shape_of = torch.tensor([[1.0], [3.0], [8.0], [2.5]]), torch.tensor([0, 1, 2, 0])
    found = model.look_up(torch.tensor([[4.1]]))[0]
    assert [torch.equal(a, batch["occupancy"][b]) for a, b in zip(found, (1, 0, 2), strict=False)] == [True] * 3
    assert not found[3].any()


def test_variants_of_a_model_do_not_find_each_other() -> None:
    batch = sixteen() | {"origin": torch.arange(16) // 2}
    model = remembered(batch).eval()
    others = model.look_up(model.features(batch["images"]), own=batch["origin"])
    pair = batch["occupancy"].view(8, 1, 2, 16, 16, 16).repeat_interleave(2, 0)
    assert not (others[:, :, None] == pair).flatten(3).all(3).any()


def test_what_is_remembered_travels_with_the_weights() -> None:
    batch = sixteen()
    model, other = remembered(batch).eval(), Model(Config(**SMALL)).eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(model.predict(batch["images"]), other.predict(batch["images"]))
    half = {name: v.half() if v.is_floating_point() else v for name, v in model.state_dict().items()}
    other.load_state_dict(half)
    assert other.keys.dtype == torch.float32
    assert torch.allclose(other.predict(batch["images"]), model.predict(batch["images"]), atol=0.1)
    with pytest.raises(ValueError, match="^recall: expected remembered shapes, found none"):
        Model(Config(**SMALL)).eval().predict(batch["images"])


def test_no_more_than_memory_is_remembered() -> None:
    model = remembered(sixteen(), memory=4)
    assert len(model.grids) == 4
    assert model.model_of.tolist() == [0, 4, 8, 12]
    assert model.shape_of.tolist() == [0, 1, 2, 3]


def test_twice_the_resolution_of_what_is_remembered() -> None:
    torch.manual_seed(0)
    batch = boxes(4) | {name: torch.arange(4) for name in ("model", "origin")}
    model = Model(Config(**SMALL | {"side": 8}))
    model.remember([batch])
    assert model.eval().predict(batch["images"]).shape == (4, 16, 16, 16)
    assert len(model.grids[0]) == 8**3 // 8


def test_every_weight_learns() -> None:
    batch = sixteen()
    model = remembered(batch, keys="both", dice_weight=0.5, surface_weight=1.0)
    losses = model.losses(batch, "reconstruction")
    assert sorted(losses) == ["dice", "lookup", "voxels"]
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.long
def test_sixteen_samples_are_learnt_by_heart() -> None:
    batch = sixteen()
    model = remembered(batch, keys="gradients", dice_weight=0.5)
    overfit(model, batch, steps=60, lr=1e-2)
    with torch.no_grad():  # beside the shapes with which it was trained, not its own
        features = model.encoded(batch["images"])
        found = model.look_up(model.keys_of(batch["images"], features), own=batch["model"])
        rebuilt = iou(model.decode(features, found) > 0, batch["occupancy"].bool())
    assert rebuilt.mean() >= 0.9


def test_agreement_by_hand() -> None:
    keys = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    grids = torch.zeros(3, 16, 16, 16)
    grids[0, :8], grids[1, :8], grids[2, 8:] = 1, 1, 1
    good = agreement(keys, grids, torch.arange(3))
    # The first two ask for each other: IoU 1 against 0, cosine 1 against 0. The third has no one, half of each.
    near, far = torch.tensor([10.0, 0.0]).log_softmax(0).tolist()
    wanted = torch.tensor([20.0, 0.0]).softmax(0).tolist()
    pair = -(wanted[0] * near + wanted[1] * far)
    none = -torch.tensor([0.0, 0.0]).log_softmax(0).mean().item()
    assert good.item() == pytest.approx((2 * pair + none) / 3, 1e-5)
    assert agreement(keys, grids, torch.zeros(3)).item() == 0


def test_principal_axes_keep_distances_where_they_are_enough() -> None:
    rng = torch.Generator().manual_seed(0)
    values = torch.randn(50, 3, generator=rng) @ torch.randn(3, 20, generator=rng) + 4
    centre, axes = principal(values, 3)
    found = (values - centre) @ axes
    assert found.square().sum(1).mean().item() == pytest.approx(1, 1e-4)
    ratio = torch.cdist(found, found)[0, 1:] / torch.cdist(values, values)[0, 1:]
    assert ratio.max().item() == pytest.approx(ratio.min().item(), 1e-3)


def test_bits_are_packed_as_numpy_does() -> None:
    cells = (torch.rand(2, 64, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    octets = packed(cells)
    assert octets.numpy().tolist() == np.packbits(cells.numpy().astype(bool), axis=1).tolist()
    assert torch.equal(unpacked(octets), cells)


def test_a_configuration_that_does_not_fit_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"^keys: expected one of gradients, learned, both, got hog$"):
        Config(keys="hog")
    with pytest.raises(ValueError, match=r"^resolution: expected 32 or 64, got 128$"):
        Config(resolution=128)
    with pytest.raises(ValueError, match=r"^side: expected a multiple of 8, and of 8, got 20$"):
        Config(side=20)
