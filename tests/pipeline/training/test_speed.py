from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

import model
from model import r2n2, view2voxel
from pipeline.training import speed
from pipeline.training.params import Params
from pipeline.training.speed import LONG, WARM_STEPS, Choices, Recorded, choose, hasten, precision, prepare, repeat
from pipeline.training.updates import Updates
from tests.pipeline.training.test_params import PARAMS
from tests.systems import CONFIGS, batch

GB = 10**9


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    """PyTorch's own, before and after."""
    switches = [(torch.backends.cuda.matmul, "allow_tf32"), (torch.backends.cudnn, "benchmark")]
    before = [getattr(place, name) for place, name in switches]
    yield
    for (place, name), value in zip(switches, before, strict=True):
        setattr(place, name, value)


def params(steps: int, **changes: Any) -> Params:
    return Params(**(PARAMS | {"samples": steps * PARAMS["batch_size"]} | changes))


def chosen(name: str = "view2voxel", processes: int = 1, gb: int = 10, **changes: Any) -> tuple[Choices, str]:
    network = model.create(name, CONFIGS[name])
    return choose(network, params(changes.pop("steps", LONG), **changes), processes, gb * GB, 40 * GB)


def test_a_long_training_gets_all_that_is_fast() -> None:
    choices, words = chosen()
    assert choices == Choices(tf32=True, tried=True, channels_last=True, recorded=True, resident=True)
    assert words == (
        "train.speed auto: 32-true, TF32 where it is float32, channels last; convolutions tried out; data in "
        "the device's memory: 10.0 GB of 40.0 free; steps from a CUDA graph"
    )


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"steps": LONG - 1}, "no CUDA graph: fewer than 500 steps"),
        ({"processes": 2}, "no CUDA graph: 2 processes"),
        ({"precision": "16-mixed"}, "no CUDA graph: the loss is scaled"),
        ({"name": "r2n2"}, "no CUDA graph: steps of this system are not all alike"),
    ],
)
def test_what_keeps_steps_from_being_recorded_is_said(given: dict[str, Any], reason: str) -> None:
    choices, words = chosen(**given)
    assert not choices.recorded and choices.tried == ("steps" not in given) and choices.resident
    assert words.endswith(reason)


def test_data_that_leaves_too_little_to_the_network_stays_on_the_disk() -> None:
    for gb, resident in ((20, True), (21, False)):
        choices, words = chosen(gb=gb)
        assert choices.resident == resident
        assert ("data from the disk: 21.0 GB of 40.0 free, at most half is taken" in words) != resident


def test_one_parameter_turns_it_off() -> None:
    assert chosen(speed="plain") == (Choices(), "train.speed plain: nothing but what PyTorch does by itself")


@pytest.mark.parametrize(
    ("device", "has", "changes", "expected"),
    [
        ("cuda", True, {}, "bf16-mixed"),
        ("cuda", False, {}, "32-true"),
        ("cpu", True, {}, "32-true"),
        ("cuda", True, {"speed": "plain"}, "32-true"),
        ("cuda", True, {"precision": "16-mixed"}, "16-mixed"),
    ],
)
def test_the_precision_that_auto_stands_for(
    device: str, has: bool, changes: dict[str, Any], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "device", lambda: device)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: has)
    given = params(1, **({"precision": "auto"} | changes))
    assert precision(given, nn.Linear) == expected
    assert precision(given, r2n2.Model) == ("32-true" if given.precision == "auto" else expected)


def test_on_a_cpu_nothing_is_chosen_and_nothing_said(capsys: pytest.CaptureFixture[str]) -> None:
    fabric = Fabric(accelerator="cpu", devices=1)
    assert hasten(fabric, nn.Linear(1, 1), params(LONG), 0) == Choices()
    assert capsys.readouterr().out == ""


def test_a_prepared_network_is_the_same_function_of_the_same_weights() -> None:
    torch.manual_seed(0)
    network = view2voxel.Model(CONFIGS["view2voxel"]).eval()
    weights = dict(network.named_parameters())
    images = batch(CONFIGS["view2voxel"], 2)["images"]
    with torch.no_grad():
        expected = network.predict(images)
        prepared = prepare(network, Choices(tf32=True, tried=True, channels_last=True))
        torch.testing.assert_close(network.predict(images), expected)
    assert prepared is network and all(weight is weights[name] for name, weight in network.named_parameters())
    kernels = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert kernels and all(weight.is_contiguous(memory_format=torch.channels_last) for weight in kernels)
    assert torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.benchmark
    prepare(network, Choices())
    assert not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.benchmark


class Graph:
    """Stands in for a CUDA graph, and says what is done with it."""

    def __init__(self, recorded: Recorded, done: list[str]):
        self.recorded, self.done = recorded, done

    def replay(self) -> None:
        self.done.append("replayed")
        self.recorded.results["y"].copy_(2 * self.recorded.batch["x"])


def test_each_kind_of_step_is_run_then_recorded_then_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def record(self: Recorded, given: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        done.append("recorded")
        self.batch = given | {name: value.clone() for name, value in tensors.items()}
        self.results, self.graph = {"y": torch.zeros_like(given["x"])}, Graph(self, done)  # type: ignore[assignment]

    def beside(self: Recorded, given: dict[str, Any]) -> dict[str, torch.Tensor]:
        done.append("run")
        return self.function(given)

    monkeypatch.setattr(Recorded, "_record", record)
    monkeypatch.setattr(Recorded, "_beside", beside)
    monkeypatch.setattr("torch.cuda.synchronize", lambda: None)
    doubled = Recorded(lambda given: {"y": 2 * given["x"]}, (0.5,))
    results = []
    for progress, length in [(0.1, 2)] * (WARM_STEPS + 2) + [(0.5, 2)] * (WARM_STEPS + 1) + [(0.6, 3)]:
        x = torch.randn(length)
        results.append((doubled({"x": x, "progress": progress})["y"], 2 * x))
    assert done == ["run"] * WARM_STEPS + ["recorded"] + ["replayed"] * 2 + ["run"] * WARM_STEPS + [
        "recorded",
        "replayed",
        "run",
    ]
    for found, expected in results:  # also after later steps: what was given out is a copy
        assert torch.equal(found, expected)


@pytest.mark.cuda
@pytest.mark.parametrize("kind", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "r2n2"])
def test_a_recorded_training_is_the_same_training(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a change of phase, of the learning rate, and a step that is not finite."""
    config = CONFIGS[name]
    if hasattr(config, "adversarial_warmup"):
        config = dataclasses.replace(config, adversarial_warmup=0.5)
    given = {key: value.cuda() if key != "progress" else value for key, value in batch(config, 4).items()}
    bad = given | {"images": given["images"] * torch.nan}
    monkeypatch.setattr(speed, "WARM_STEPS", 2)
    settings: Any = {"accelerator": "cuda", "devices": 1, "precision": kind}
    found = []
    for recorded in (False, True):
        torch.manual_seed(0)
        network: Any = model.create(name, config)
        updates = Updates(Fabric(**settings), network, params(12, precision=kind, clip_norm=1.0))
        if recorded:
            repeat(updates, network.phases)
        losses = []
        for number in range(12):
            batch_now = (bad if number == 9 else given) | {"progress": number / 12}
            losses.append(updates.step(batch_now, number, 1 - number / 12))
        if recorded:
            assert isinstance(updates.run, Recorded) and updates.run.graph is not None
        assert updates.skipped == 1 and updates.in_a_row == 0
        found.append((losses, network.state_dict()))
    (losses, weights), (same_losses, same_weights) = found
    for step, same in zip(losses, same_losses, strict=True):
        torch.testing.assert_close(step, same, rtol=2e-2, atol=1e-3, equal_nan=True)
    assert weights["accuracy"] == same_weights["accuracy"] if "accuracy" in weights else True
    for weight, value in weights.items():
        torch.testing.assert_close(value, same_weights[weight], rtol=0.05, atol=5e-3)


@pytest.mark.cuda
def test_what_cannot_be_recorded_is_said_once_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    looked = Recorded(lambda given: {"y": given["x"] * given["x"].sum().item()}, ())
    for number in range(1, WARM_STEPS + 4):
        x = torch.full((2,), float(number), device="cuda")
        assert looked({"x": x, "progress": 0.0})["y"].tolist() == [2.0 * number**2] * 2
    assert capsys.readouterr().out.count("train.speed auto: no CUDA graph after all: ") == 1
    assert torch.rand(3, device="cuda").isfinite().all()
