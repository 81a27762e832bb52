"""Every system in colour."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import model
from tests.systems import CONFIGS, batch


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_a_system_in_colour_sees_and_learns_from_each_channel(name: str) -> None:
    config = replace(CONFIGS[name], color=True)
    assert model.maps(config) == ("color",) and model.channels(config) == 3 and model.unseen(config) == ()
    assert model.maps(CONFIGS[name]) == () and model.channels(CONFIGS[name]) == 1
    torch.manual_seed(0)
    network, given = model.create(name, config), batch(config, 8)
    assert given["images"].shape[2] == 3
    if remember := getattr(network, "remember", None):
        remember([given])
    losses = [loss for part in network.parts() for loss in network.losses(given, part).values()]  # type: ignore[operator]
    sum(losses).backward()
    first = next(weight for weight in network.parameters() if weight.ndim == 4)
    assert first.shape[1] == 3 and first.grad is not None and (first.grad.abs().sum(dim=(0, 2, 3)) > 0).all()
    network.eval()
    with torch.inference_mode():
        for channel in range(3):
            other = given["images"].clone()
            other[:, :, channel] = 0
            assert not torch.equal(network.features(given["images"]), network.features(other)), channel  # type: ignore[operator]


def test_depth_comes_behind_colour() -> None:
    config = replace(CONFIGS["r3d"], color=True, depth=True)
    assert model.maps(config) == ("color", "depth") and model.channels(config) == 4
    assert model.unseen(config) == ("depth",)
    network = model.create("r3d", config)
    assert network.predict(torch.rand(2, 1, 4, 32, 32)).shape == (2, 16, 16, 16)  # type: ignore[operator]
