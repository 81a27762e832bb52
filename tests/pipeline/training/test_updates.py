from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import Tensor, nn

from pipeline.training.params import PRECISIONS, Params
from pipeline.training.updates import Updates
from pipeline.training.validation import validate
from tests.pipeline.training.test_params import PARAMS
from tests.systems import CONFIGS, batch, created, quiet, without_batch_norm

WEIGHTS = {"bf16-true": torch.bfloat16, "64-true": torch.float64}
INSIDE = {"bf16-mixed": torch.bfloat16, **WEIGHTS}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def updates(name: str, fabric: Fabric | None = None, **changes: Any) -> Any:
    params = Params(**(PARAMS | changes))
    chosen: Any = params.precision
    torch.manual_seed(0)
    return Updates(fabric or Fabric(accelerator="cpu", devices=1, precision=chosen), created(name), params)


def watch(network: nn.Module) -> dict[str, set[torch.dtype]]:
    """The types that come out of each kind of layer from now on."""
    found: dict[str, set[torch.dtype]] = {}

    def note(layer: nn.Module, given: Any, made: Any) -> None:
        found.setdefault(type(layer).__name__, set()).add(made.dtype)

    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.Conv3d | nn.ConvTranspose3d):
            layer.register_forward_hook(note)
    return found


@pytest.mark.parametrize("precision", [p for p in PRECISIONS if p != "16-mixed"])
@pytest.mark.parametrize("name", CONFIGS)
def test_networks_compute_in_the_precision_that_is_asked_for(name: str, precision: str) -> None:
    """Layers in training and in validation, weights and gradients in the type of the precision; losses never in less
    than float32."""
    trained = updates(name, precision=precision)
    network: Any = trained.network
    config = CONFIGS[name]
    inside = watch(network)
    given = batch(config, 4)
    before = {part: [p.clone() for p in group["params"]] for part, group in network.parts().items()}
    losses: set[torch.dtype] = set()
    whole = trained.losses

    def noted(given: dict[str, Any], part: str) -> dict[str, Tensor]:
        found = whole(given, part)
        losses.update(loss.dtype for loss in found.values())
        return found

    trained.losses = noted
    values = trained.step(given, 0, 1.0)
    assert inside and all(types == {INSIDE.get(precision, torch.float32)} for types in inside.values()), inside
    assert losses == {torch.float64 if precision == "64-true" else torch.float32}
    assert all(value.isfinite() for value in values.values()) and trained.skipped == 0
    assert {weight.dtype for weight in network.parameters()} == {WEIGHTS.get(precision, torch.float32)}
    for part, group in network.parts().items():
        assert not all(torch.equal(a, b) for a, b in zip(group["params"], before[part], strict=True)), part
    inside.clear()
    scores = validate(trained.fabric, network, [given], 0.5, config.resolution)
    assert inside and all(types == {INSIDE.get(precision, torch.float32)} for types in inside.values()), inside
    assert torch.tensor(list(scores.values())).isfinite().all()


@pytest.mark.parametrize(
    ("name", "precision", "within"),
    [("r3d", "bf16-mixed", 0.05), ("view2mesh", "bf16-mixed", 0.05), ("view2voxel", "64-true", 1e-5)],
)
def test_losses_are_those_of_float32_up_to_the_precision(name: str, precision: str, within: float) -> None:
    exact, other = (
        {k: v.item() for k, v in updates(name, precision=p).step(batch(CONFIGS[name], 8), 0, 1.0).items()}
        for p in ("32-true", precision)
    )
    assert other == pytest.approx(exact, rel=within)
    assert other != exact


def test_half_precision_with_a_scaled_loss_learns() -> None:
    """What 16-mixed is made of, which CPUs have for matrices too: of the scale nothing is left in the gradient."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    half = Fabric(accelerator="cpu", devices=1, plugins=MixedPrecision("16-mixed", "cpu", scaler))
    given, norms = batch(CONFIGS["view2voxel"], 4), []
    for trained in (updates("view2voxel"), updates("view2voxel", half)):
        inside = watch(trained.network)
        trained.step(given, 0, 1.0)
        norms.append(trained.norms["reconstruction"].item())
    assert all(types == {torch.float16} for types in inside.values())
    assert norms[1] == pytest.approx(norms[0], rel=0.05) and trained.skipped == 0
    scaler.load_state_dict(scaler.state_dict() | {"scale": 2.0**40})
    for number in range(1, 3):
        trained.step(given, number, 1.0)
    assert trained.skipped == 2 and scaler.get_scale() == 2.0**38  # and halved with every step that overflows


@pytest.mark.parametrize("name", CONFIGS)
def test_a_batch_in_pieces_has_the_losses_and_gradients_of_the_whole(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet(monkeypatch.setattr)
    given, found = batch(CONFIGS[name], 8), []
    for pieces in (1, 4):
        torch.manual_seed(0)
        network = without_batch_norm(created(name))
        trained = Updates(Fabric(accelerator="cpu", devices=1), network, Params(**PARAMS, accumulate=pieces))
        losses = trained.step(given, 0, 0.0)
        gradients = [weight.grad.flatten() for weight in network.parameters() if weight.grad is not None]
        found.append((losses, torch.cat(gradients), trained.norms))
    (whole, gradient, norms), (pieces_losses, pieces_gradient, pieces_norms) = found
    assert len(norms) == len(trained.optimizers)
    assert {k: v.item() for k, v in pieces_losses.items()} == pytest.approx({k: v.item() for k, v in whole.items()})
    assert (pieces_gradient - gradient).norm() < 1e-5 * gradient.norm()
    for part, norm in norms.items():
        assert pieces_norms[part].item() == pytest.approx(norm.item(), rel=1e-5)


def test_the_discriminators_gate_is_the_same_for_all_pieces_of_a_batch() -> None:
    trained = updates("r3d", accumulate=4)
    trained.network.config = replace(CONFIGS["r3d"], discriminator_gate=0.5)
    seen = []
    whole = trained.losses

    def noted(given: dict[str, Any], part: str) -> dict[str, Tensor]:
        seen.append(trained.network.accuracy.item())
        return whole(given, part)

    trained.losses = noted
    for number in range(3):
        seen.clear()
        trained.step(batch(CONFIGS["r3d"], 8, seed=number), number, 1.0)
        assert len(seen) == 8 and len(set(seen)) == 1
    assert 0 < seen[0] <= 1


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed", "bf16-true"])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_step_on_a_gpu_waits_for_nothing_and_has_its_precision(name: str, precision: str) -> None:
    chosen: Any = precision
    trained = updates(name, Fabric(accelerator="cuda", devices=1, precision=chosen), precision=precision)
    inside = watch(trained.network)
    host = batch(CONFIGS[name], 8)
    given = {key: value.cuda() if isinstance(value, Tensor) else value for key, value in host.items()}
    for number in range(2):
        trained.step(given, number, 1.0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        values = trained.step(given, 2, 1.0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(value.isfinite() for value in values.values())
    expected = torch.float16 if precision == "16-mixed" else INSIDE.get(precision, torch.float32)
    assert inside and all(types == {expected} for types in inside.values()), inside


class Line(nn.Module):
    """Two parts of a weight each, whose gradients are what the images and the points say."""

    targets, output = ("points",), "points"
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(()))
        self.register_buffer("seen", torch.zeros(()))

    def parts(self) -> dict[str, dict[str, Any]]:
        return {"a": {"params": [self.a]}, "b": {"params": [self.b]}}

    def losses(self, given: dict[str, Any], part: str) -> dict[str, Tensor]:
        if part == "b":
            return {"b": self.b * given["points"].mean()}
        self.seen.copy_(given["images"].mean())
        return {"a": self.a * given["images"].mean()}


def line(**changes: Any) -> Updates:
    return Updates(Fabric(accelerator="cpu", devices=1), Line(), Params(**(PARAMS | changes)))


def given(a: float, b: float = 1.0) -> dict[str, Any]:
    return {"images": torch.full((1, 1), a), "points": torch.full((1, 1), b)}


def snapshot(trained: Updates) -> dict[str, Any]:
    optimizers = {p: [s.copy() for s in o.state_dict()["state"].values()] for p, o in trained.optimizers.items()}
    return {k: v.clone() for k, v in trained.network.state_dict().items()} | {
        f"{part} {key}": value.clone()
        for part, states in optimizers.items()
        for s in states
        for key, value in s.items()
    }


def test_an_average_of_the_weights_forgets_its_beginning_and_then_keeps_its_share() -> None:
    trained = line(ema=0.5, weight_decay=0.0)
    expected = 1.0
    for number, kept in enumerate([1 / 10, 2 / 11, 3 / 12, 4 / 13, 5 / 14]):
        trained.step(given(1.0), number, 1.0)
        expected = kept * expected + (1 - kept) * snapshot(trained)["a"].item()
        assert trained.averaged.state_dict()["a"].item() == pytest.approx(expected)
    for number in range(30, 40):
        trained.step(given(1.0), number, 1.0)
        expected = 0.5 * expected + 0.5 * snapshot(trained)["a"].item()
    assert trained.averaged.state_dict()["a"].item() == pytest.approx(expected)
    assert trained.averaged.state_dict()["seen"].item() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(bad: float) -> None:
    trained = line()
    trained.step(given(1.0), 0, 1.0)
    before = snapshot(trained)
    for _ in range(3):
        trained.step(given(bad, bad), 1, 1.0)
    assert snapshot(trained) == before
    assert (trained.skipped, trained.in_a_row) == (3, 3)
    trained.step(given(2.0), 2, 1.0)
    assert (trained.skipped, trained.in_a_row) == (3, 0)
    after = snapshot(trained)
    assert after["seen"] == 2 and after["a"] < before["a"]


def test_a_part_goes_on_while_another_is_not_finite() -> None:
    trained = line()
    trained.step(given(float("nan")), 0, 1.0)
    after = snapshot(trained)
    assert after["a"] == 1 and after["b"] < 1 and trained.skipped == 1


def test_a_part_whose_gradient_is_all_zeros_rests() -> None:
    trained = line()
    trained.step(given(1.0), 0, 1.0)
    before = snapshot(trained)
    trained.step(given(0.0), 1, 1.0)
    after = snapshot(trained)
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {"seen", "b", "b step", "b exp_avg", "b exp_avg_sq"} and trained.skipped == 0


def test_gradients_are_clipped_by_part() -> None:
    """AdamW's first moment is a tenth of what it is given."""
    trained = line(clip_norm=0.5)
    trained.step(given(3.0, 0.25), 0, 1.0)
    moments = [optimizer.state_dict()["state"][0]["exp_avg"].item() for optimizer in trained.optimizers.values()]
    assert moments == pytest.approx([0.05, 0.025])
    assert {part: norm.item() for part, norm in trained.norms.items()} == {"a": 3.0, "b": 0.25}


def test_what_is_loaded_goes_on_as_what_was_saved() -> None:
    first, second = updates("r3d"), updates("r3d", seed=1)
    first.step(batch(CONFIGS["r3d"], 4), 0, 1.0)
    saved = io.BytesIO()
    torch.save(first.state_dict(), saved)
    saved.seek(0)
    second.load_state_dict(torch.load(saved, weights_only=True))
    second.params = first.params
    for trained in (first, second):
        trained.step(batch(CONFIGS["r3d"], 4, seed=1), 1, 1.0)
    assert all(
        torch.equal(a, b) for a, b in zip(*(t.network.state_dict().values() for t in (first, second)), strict=True)
    )
