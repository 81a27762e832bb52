from __future__ import annotations

import contextlib
import io
import time
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from tqdm import tqdm

import model
from pipeline.training import watch
from pipeline.training.params import Params
from pipeline.training.state import State
from pipeline.training.updates import Updates
from pipeline.training.watch import Watch, told
from tests.pipeline.training.test_params import PARAMS
from tests.systems import CONFIGS, batch


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(watch, "LOG_SECONDS", 0)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = model.create("r3d", CONFIGS["r3d"])
    params = Params(**PARAMS)
    return Watch(Updates(Fabric(accelerator="cpu", devices=1), network, params), params)


def look(watched: Any, state: State) -> tuple[dict[str, float], list[str]]:
    """What is logged: figures and lines."""
    output = io.StringIO()
    bar = tqdm(total=1000, file=io.StringIO())
    with contextlib.redirect_stdout(output):
        figures = watched.look(bar, state)
    assert bar.n == state.step * 8
    bar.close()
    return figures, output.getvalue().splitlines()


def test_the_log_says_how_fast_it_goes_and_what_it_waits_for(watched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def slow() -> Any:
        for number in range(2):
            clock[0] += 1.0
            yield batch(CONFIGS["r3d"], 8, seed=number)

    state = State()
    watched.begin(0)
    for given in watched.over(slow()):
        clock[0] += 3.0
        state.add(watched.updates.step(given, state.step, 1.0))
    figures, lines = look(watched, state)
    assert figures["samples_a_second"] == 2 and figures["waiting"] == 0.25 and figures["skipped"] == 0
    assert figures["lr"] == pytest.approx(Params(**PARAMS).rate(1) * 0.01)
    norms = {f"gradient_{part}": norm.item() for part, norm in watched.updates.norms.items()}
    assert set(norms) == {"gradient_reconstruction", "gradient_discriminator"} and norms.items() <= figures.items()
    assert lines == [f"16 samples: {told(figures)}"]
    assert "2/s, 25% of the time waiting for data, lr 0.01, gradients " in lines[0] and "0 steps skipped" in lines[0]
    assert "GPU" not in lines[0] and "12.3 GB of GPU memory" in told(figures | {"gpu_gb": 12.34})


def test_it_is_logged_every_so_often_and_looked_at_more_often(watched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOG_SECONDS", 3600)
    watched.begin(0)
    assert watched.due(1)
    assert look(watched, State(step=1)) == ({}, [])
    assert not watched.due(2)
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0)
    assert watched.due(2)


def test_processes_look_after_the_same_steps(watched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "processes", lambda: 2)
    assert [step for step in range(1, 50) if watched.due(step)] == [20, 40]


def test_a_discriminator_that_wins_is_told_once_until_it_errs(watched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOG_SECONDS", 3600)
    watched.begin(0)
    accuracy, said = watched.updates.network.accuracy, []
    for step, value in enumerate([0.7, *8 * [1.0], 0.8, *7 * [1.0]]):
        accuracy.fill_(value)
        said += [(step, line) for line in look(watched, State(step=100 * step))[1]]
    assert [step for step, _ in said] == [3, 12]
    assert "the discriminator has told all grids apart for 300 steps" in said[0][1]
    assert "a lower discriminator_lr or discriminator_gate may help" in said[0][1]


def test_a_system_without_a_discriminator_has_no_such_warning() -> None:
    params = Params(**PARAMS)
    network = model.create("view2voxel", CONFIGS["view2voxel"])
    watched = Watch(Updates(Fabric(accelerator="cpu", devices=1), network, params), params)
    watched.begin(0)
    for step in (1, 1000):
        assert look(watched, State(step=step))[1] == []
