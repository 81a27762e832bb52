from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from model import view2voxel
from model.layers.encoders import residual_encoder
from pipeline.training.pretrained import DEVIATION, MEAN, take_encoder
from tests.model.boxes import ENCODER

SIZES = {"image_size": (64, 64), "resolution": 16, "decoder_channels": (8, 4)}


@pytest.fixture
def theirs() -> Any:
    """torchvision's network with other weights and statistics everywhere than a new one has."""
    from torchvision.models import resnet18  # a second of every test run, were it on top

    torch.manual_seed(1)
    network = resnet18()
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif value.ndim == 1:
            value.uniform_(-0.2, 0.2).add_(name.endswith("weight"))
    return network.eval()


def test_the_encoder_sees_what_torchvisions_sees(theirs: Any, tmp_path: Path) -> None:
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    network = view2voxel.Model(view2voxel.Config(**SIZES))  # type: ignore[arg-type]
    take_encoder(tmp_path / "resnet18.pth", network)
    encoder = network.encoder.eval()
    gray = torch.rand(2, 1, 64, 64)
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
    with torch.inference_mode():
        seen = theirs.bn1(theirs.conv1((gray.expand(-1, 3, -1, -1) - mean) / deviation))
        got = encoder[1](encoder[0](gray))
        # Outside it is black here, gray there: the seven pixels' reach of the first layer apart, all is the same.
        assert torch.allclose(got[..., 2:-2, 2:-2], seen[..., 2:-2, 2:-2], atol=1e-4)
        assert not torch.allclose(got, seen, atol=1e-2)
        rest = nn.Sequential(theirs.relu, theirs.maxpool, theirs.layer1, theirs.layer2, theirs.layer3)
        expected = theirs.avgpool(theirs.layer4(rest(got))).flatten(1)
        assert torch.allclose(encoder(gray), expected, rtol=1e-4, atol=1e-5)
        assert (residual_encoder((64, 128, 256, 512), 2).eval()(gray) - expected).abs().max() > 0.1


def test_an_encoder_in_colour_sees_what_torchvisions_sees(theirs: Any, tmp_path: Path) -> None:
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    network = view2voxel.Model(view2voxel.Config(**SIZES, color=True))  # type: ignore[arg-type]
    take_encoder(tmp_path / "resnet18.pth", network)
    encoder, rgb = network.encoder.eval(), torch.rand(2, 3, 64, 64)
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
    with torch.inference_mode():
        seen = theirs.bn1(theirs.conv1((rgb - mean) / deviation))
        got = encoder[1](encoder[0](rgb))
    assert torch.allclose(got[..., 2:-2, 2:-2], seen[..., 2:-2, 2:-2], atol=1e-4)


def test_what_does_not_fit_is_refused_by_name(theirs: Any, tmp_path: Path) -> None:
    path = tmp_path / "resnet18.pth"
    network = view2voxel.Model(view2voxel.Config(**SIZES))  # type: ignore[arg-type]
    path.write_bytes(b"<html>")
    with pytest.raises(ValueError, match="expected torchvision's ResNet-18 in .*18.pth, got "):
        take_encoder(path, network)
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="expected torchvision's ResNet-18 in .*, found no 'conv1.weight'"):
        take_encoder(path, network)
    torch.save(theirs.state_dict(), path)
    small = view2voxel.Model(view2voxel.Config(**ENCODER, resolution=16, decoder_channels=(8, 4)))
    with pytest.raises(
        ValueError, match=r"expected an encoder of ResNet-18's .*, whose weights fit \d+ of \d+ tensors"
    ):
        take_encoder(path, small)
    with pytest.raises(ValueError, match="expected an encoder of ResNet-18's sizes"):
        take_encoder(path, nn.Linear(2, 2))
    torch.save({name: value for name, value in theirs.state_dict().items() if "layer4" not in name}, path)
    with pytest.raises(ValueError, match="expected an encoder of ResNet-18's sizes"):
        take_encoder(path, network)
