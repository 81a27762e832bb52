"""Several processes against one: the script below runs as two of them, here is the one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.training.launch import launch
from pipeline.training.params import Params
from pipeline.training.together import added, alike, average, processes
from pipeline.training.updates import Updates
from tests.imports import ROOT
from tests.pipeline.training.test_params import PARAMS
from tests.systems import CONFIGS, batch, created, quiet

pytestmark = pytest.mark.long

STEPS, SIZE = 3, 8
CHANGES: dict[str, Any] = {"lr": 0.001, "clip_norm": 0.5}


def trained(name: str, precision: str, rank: int, count: int) -> dict[str, Any]:
    """What a system says of STEPS steps, in one of `count` processes that share each batch."""
    fabric = launch(precision)
    torch.manual_seed(0)
    updates = Updates(fabric, created(name), Params(**(PARAMS | CHANGES | {"precision": precision})))
    losses, norms = [], []
    for number in range(STEPS):
        whole = batch(CONFIGS[name], SIZE, seed=number)
        mine = {key: value[rank::count] if isinstance(value, torch.Tensor) else value for key, value in whole.items()}
        losses.append({key: value.item() for key, value in updates.step(mine, number, 1.0).items()})
        norms.append({key: value.item() for key, value in updates.norms.items()})
    buffers = {key: value for key, value in updates.network.named_buffers() if value.is_floating_point()}
    return {"losses": losses, "norms": norms, "buffers": buffers, "weights": updates.network.state_dict()}


def main(folder: Path) -> None:
    quiet(setattr)
    fabric = launch("32-true")
    rank, count = fabric.global_rank, fabric.world_size
    mean, total, first = torch.tensor([1.0, 2.0 * rank]), torch.tensor(rank + 1), torch.tensor(float(rank))
    average([mean[:1], mean[1:]])
    alike([first])
    found: dict[str, Any] = {"processes": processes(), "mean": mean, "sum": added(total), "first": first}
    found |= {name: trained(name, "32-true", rank, count) for name in CONFIGS}
    found["bf16"] = trained("view2voxel", "bf16-true", rank, count)
    torch.save(found, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What either of two processes found."""
    folder = tmp_path_factory.mktemp("two")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "ONEVIEW_DEVICE": "cpu", "ONEVIEW_DEVICES": "2"}
    environment["OMP_NUM_THREADS"] = "1"
    command = [sys.executable, "-m", "tests.pipeline.training.test_together", str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_values_are_shared(two: list[dict[str, Any]]) -> None:
    for found in two:
        assert (found["processes"], found["sum"], found["first"]) == (2, 3, 0)
        assert found["mean"].tolist() == [1, 1]
    assert processes() == 1 and added(torch.tensor(2)) == 2


@pytest.mark.parametrize("name", CONFIGS)
def test_two_processes_have_the_losses_of_one_with_the_doubled_batch(
    name: str, two: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    torch.set_num_threads(1)
    quiet(monkeypatch.setattr)
    one = trained(name, "32-true", 0, 1)
    for found in (rank[name] for rank in two):
        for what in ("losses", "norms"):
            for step in range(STEPS):  # roundings grow, as AdamW makes as much of the smallest gradients
                assert found[what][step] == pytest.approx(one[what][step], rel=2e-3 if step else 1e-4)
        for key, value in one["buffers"].items():
            assert torch.allclose(found["buffers"][key], value, rtol=1e-2, atol=1e-3), key
    a, b = (rank[name]["weights"] for rank in two)
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_two_processes_share_half_precision_too(two: list[dict[str, Any]]) -> None:
    a, b = (rank["bf16"]["weights"] for rank in two)
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert {value.dtype for value in a.values() if value.is_floating_point()} == {torch.bfloat16}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
