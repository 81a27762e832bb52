from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.layers import blocks
from model.layers.blocks import Doubling, Halving, judging


@pytest.mark.parametrize("after", [1, 3])
def test_doubling_is_a_transposed_convolution(after: int) -> None:
    torch.manual_seed(0)
    layer = Doubling(5, after).double()
    x = torch.randn(2, 5, 3, 4, 6, dtype=torch.double, requires_grad=True)
    found, expected = layer(x), F.conv_transpose3d(x, layer.weight, layer.bias, stride=2, padding=1)
    torch.testing.assert_close(found, expected)
    change, inputs = torch.randn_like(expected), [x, *layer.parameters()]
    for gradients in zip(*(torch.autograd.grad(y, inputs, change) for y in (found, expected)), strict=True):
        torch.testing.assert_close(*gradients)


def test_doubling_has_the_weights_of_a_transposed_convolution_and_no_more() -> None:
    expected = nn.ConvTranspose3d(3, 1, 4, 2, 1).state_dict()
    assert {name: value.shape for name, value in Doubling(3, 1).state_dict().items()} == {
        name: value.shape for name, value in expected.items()
    }


@pytest.mark.parametrize("before", [1, 3])
def test_halving_is_a_strided_convolution(before: int) -> None:
    torch.manual_seed(0)
    layer = Halving(before, 5).double()
    x = torch.randn(2, before, 6, 8, 10, dtype=torch.double, requires_grad=True)
    found, expected = layer.of_cubes(x), F.conv3d(x, layer.weight, stride=2, padding=1)
    assert torch.equal(layer(x), expected)  # on a CPU
    torch.testing.assert_close(found, expected)
    change, inputs = torch.randn_like(expected), [x, layer.weight]
    for gradients in zip(*(torch.autograd.grad(y, inputs, change) for y in (found, expected)), strict=True):
        torch.testing.assert_close(*gradients)
    assert list(layer.state_dict()) == ["weight"]


@pytest.mark.cuda
@pytest.mark.parametrize(("kind", "channels"), [(Doubling, (8, 1)), (Halving, (1, 8))])
def test_a_gpu_gives_what_a_cpu_gives(
    kind: type[nn.Module], channels: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # which PyTorch allows convolutions by default
    torch.manual_seed(0)
    layer, x = kind(*channels), torch.randn(2, channels[0], 8, 8, 8)
    expected = layer(x)
    torch.testing.assert_close(layer.cuda()(x.cuda()).cpu(), expected)


def judged(last_accuracy: float) -> tuple[Tensor, Tensor | None, Tensor]:
    """The loss, the discriminator's gradient (None where there is no graph) and the accuracy after it."""
    torch.manual_seed(0)
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(8, 1))
    accuracy = torch.tensor(last_accuracy)
    loss = judging(discriminator, torch.ones(4, 2, 2, 2), torch.randn(4, 1, 2, 2, 2), accuracy, 0.8)
    if loss.requires_grad:
        loss.backward()
    gradient = discriminator.get_parameter("1.weight").grad
    return loss.detach(), gradient, accuracy


@pytest.mark.parametrize("last_accuracy", [0.5, 0.8])
def test_a_discriminator_learns_up_to_its_gate(last_accuracy: float, monkeypatch: pytest.MonkeyPatch) -> None:
    here = judged(last_accuracy)
    monkeypatch.setattr(blocks, "waits", lambda value: True)
    there = judged(last_accuracy)
    for a, b in zip(here, there, strict=True):
        assert a is not None and b is not None and torch.equal(a, b) and a.abs().sum() > 0


def test_past_its_gate_it_rests_without_a_look_at_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    loss, nothing, accuracy = judged(0.9)
    assert nothing is None
    monkeypatch.setattr(blocks, "waits", lambda value: True)
    monkeypatch.setattr(Tensor, "__bool__", lambda value: pytest.fail("looked at a tensor"))
    same_loss, zeros, same_accuracy = judged(0.9)
    monkeypatch.undo()
    assert torch.equal(loss, same_loss) and torch.equal(accuracy, same_accuracy)
    assert zeros is not None and not zeros.any()
