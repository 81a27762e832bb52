from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from model import r3d
from pipeline import train
from pipeline.scoring import scorer
from pipeline.scoring.distances import iou
from pipeline.shards import layout
from pipeline.shards.batches import make_batch
from pipeline.shards.layout import ShardDataset, split_sha256
from pipeline.training import resume, speed, watch
from pipeline.training.checkpoints import load_checkpoint
from pipeline.training.params import Params
from pipeline.training.updates import Updates
from tests.samples import SYNSETS, box_sample, write_boxes

ROOT = Path(__file__).parents[2]
SYSTEM = {
    "image_size": [16, 24],
    "resolution": 16,
    "encoder_channels": [8, 16, 32],
    "encoder_pools": [2, 2, 2],
    "attention_dropout": 0.0,
    "hidden": [64],
    "latent": 16,
    "generator_channels": [32, 16, 8],
    "discriminator_channels": [4, 8],
    "adversarial_warmup": 0.4,
}
TRAIN: dict[str, Any] = {
    "seed": 0,
    "samples": 160,
    "batch_size": 8,
    "lr": 0.003,
    "lr_warmup": 0.05,
    "weight_decay": 0.01,
    "precision": "32-true",
    "validations": 3,
    "validation_views": 3,
    "best_threshold": 0.5,
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with shards and parameters to train in; without DVCLive, which takes longer than the training."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    torch.set_num_threads(1)  # these networks are too small to share out: on a busy machine that takes far longer
    monkeypatch.setitem(sys.modules, "dvclive", None)
    write_boxes(tmp_path / "data/shards")
    configure()
    return tmp_path


def configure(system: dict[str, Any] | None = None, **changes: Any) -> None:
    sections = {
        "dataset": {"root": "data/embedded", "split": "auto", "categories": list(SYNSETS), "max_rejected": 0.1},
        "train": TRAIN | changes,
        "selected_systems": {"tiny": "r3d"},
        "systems": {"tiny": SYSTEM | (system or {})},
    }
    Path("params.yaml").write_text(json.dumps(sections))


def run(monkeypatch: pytest.MonkeyPatch, system: str = "tiny") -> dict[str, Any]:
    """Trains from the beginning; the checkpoint."""
    shutil.rmtree("data/cache", ignore_errors=True)
    return rerun(monkeypatch, system)


def rerun(monkeypatch: pytest.MonkeyPatch, system: str = "tiny") -> dict[str, Any]:
    """Trains from wherever the last run was."""
    train.main(system)
    return torch.load(f"data/checkpoints/{system}.pt", weights_only=True)


def curves() -> list[dict[str, str]]:
    with open("data/curves/tiny.csv", newline="") as file:
        return list(csv.DictReader(file))


def assert_same(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert {name: value for name, value in a.items() if name != "state"} == {k: v for k, v in b.items() if k != "state"}
    assert a["state"].keys() == b["state"].keys()
    for name, value in a["state"].items():
        assert torch.equal(value, b["state"][name]), name


def test_a_system_in_colour_and_depth_learns_from_shards_that_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    configure({"color": True, "depth": True}, samples=16, validations=1)
    with pytest.raises(ValueError, match="train-000.h5: expected color, depth, found only affine"):
        train.main("tiny")
    write_boxes(Path("data/shards"), maps=True)
    found = run(monkeypatch)
    assert found["config"]["color"] and found["state"]["encoder.features.0.weight"].shape[1] == 4
    network, config, _ = load_checkpoint(Path("data/checkpoints/tiny.pt"))
    data = ShardDataset(Path("data/shards"), SYNSETS, "val", 1, ("color", "depth", "occupancy"))
    for images, items in scorer.shown(data, [0, 1], config.image_size, 2, "val"):
        assert images.shape == (2, 1, 4, 16, 24) and items == [0, 1]
        assert images[0, 0, :3].amax(dim=(1, 2)).tolist() == pytest.approx([30 / 255, 90 / 255, 200 / 255], abs=1e-3)
        assert network.predict(images).shape == (2, 16, 16, 16)


def test_writes_checkpoint_and_curves(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(monkeypatch)
    rows = curves()
    assert list(rows[0]) == [
        "samples",
        "voxels",
        "kl",
        "adversarial",
        "discriminator",
        "val_iou",
        "val_bce",
        "val_chamfer",
        "lr",
    ]
    assert [row["samples"] for row in rows] == ["56", "112", "160"]
    assert rows[0]["adversarial"] == "" and float(rows[2]["discriminator"]) > 0
    assert float(rows[2]["voxels"]) < 0.8 * float(rows[0]["voxels"])
    best = max(rows, key=lambda row: float(row["val_iou"]))
    assert found["samples"] == int(best["samples"])
    assert found["val_iou"] == pytest.approx(float(best["val_iou"]), rel=1e-5)
    assert found["module"] == "r3d" and found["system"] == "tiny" and found["config"]["latent"] == 16
    output = capsys.readouterr().out
    assert "data/checkpoints/tiny.pt: val_iou" in output and "train tiny: 100%" in output


def test_variants_are_trained_on_and_no_models_of_the_split(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, seen = run(monkeypatch), list[tuple[int, int]]()
    synset = SYNSETS[1]
    names = [f"train{synset[:3]}0000~{n}" for n in (1, 2)]
    samples = (box_sample(name, np.array([0.4, 0.1, 0.1]), 16) for name in names)
    layout.write(project / f"data/shards/{synset}/variants-000.h5", samples, 2, synset, "variants", "f")
    whole = r3d.Model.losses

    def losses(self: r3d.Model, batch: dict[str, Any], part: str) -> dict[str, torch.Tensor]:
        seen.extend(zip(batch["model"].tolist(), batch["origin"].tolist(), strict=True))
        return whole(self, batch, part)

    monkeypatch.setattr(r3d.Model, "losses", losses)
    varied = run(monkeypatch)
    assert {(12, 6), (13, 6), (6, 6), (0, 0)} <= set(seen) and len(set(seen)) == 14
    assert varied["splits"] == plain["splits"]
    assert not torch.equal(*(next(iter(found["state"].values())) for found in (varied, plain)))


def test_a_system_of_several_views_learns_from_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    whole = r3d.Model.losses

    def losses(self: r3d.Model, batch: dict[str, Any], part: str) -> dict[str, torch.Tensor]:
        seen.add(batch["images"].shape[1:3])
        return whole(self, batch, part)

    monkeypatch.setattr(r3d.Model, "losses", losses)
    for asked, given in ((2, 2), (20, 3)):  # the shards have three
        configure({"views": asked}, samples=16, validations=1)
        run(monkeypatch)
        assert seen == {(given, 1)}
        seen.clear()


def test_the_checkpoint_holds_the_network_that_was_validated(monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(monkeypatch)
    model, config, info = load_checkpoint(Path("data/checkpoints/tiny.pt"))
    assert config.resolution == 16 and info["val_iou"] == found["val_iou"]
    data = ShardDataset(Path("data/shards"), SYNSETS, "val")
    raw = torch.utils.data.default_collate([data[item] for item in range(len(data))])
    batch = make_batch(raw, config.image_size, config.resolution)
    with torch.no_grad():
        predicted = model.predict(batch["images"]) > 0
    assert iou(predicted, batch["occupancy"].bool()).mean().item() == pytest.approx(info["val_iou"])


def test_points_are_trained_and_the_nearest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"image_size": [32, 32], "resolution": 16, "encoder_channels": [8, 16], "encoder_blocks": 1}
    configure(samples=320)
    values = yaml.safe_load(Path("params.yaml").read_text())
    values |= {"selected_systems": {"tiny": "view2points"}, "systems": {"tiny": small | {"hidden": [64], "points": 50}}}
    Path("params.yaml").write_text(json.dumps(values))
    found, rows = run(monkeypatch), curves()
    assert list(rows[0]) == ["samples", "chamfer", "val_iou", "val_bce", "val_chamfer", "lr"]
    assert found["val_chamfer"] == pytest.approx(min(float(row["val_chamfer"]) for row in rows), rel=1e-5)
    assert found["val_chamfer"] < 0.5


def test_it_is_validated_on_the_first_views_of_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(samples=16, validations=1, validation_views=1)
    found = run(monkeypatch)
    model, config, _ = load_checkpoint(Path("data/checkpoints/tiny.pt"))
    data = ShardDataset(Path("data/shards"), SYNSETS, "val")
    first = [data[item] for item in range(0, len(data), data.groups)]
    batch = make_batch(torch.utils.data.default_collate(first), config.image_size, config.resolution)
    with torch.no_grad():
        predicted = model.predict(batch["images"]) > 0
    assert iou(predicted, batch["occupancy"].bool()).mean().item() == pytest.approx(found["val_iou"])


@pytest.mark.long
def test_overfits_16_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole loop, all three losses included, can learn what it is shown."""
    # Eight shapes in two views make 16 samples; the very same are the validation split.
    for split in ("train", "val"):
        write_boxes(tmp_path / "data/shards", counts={split: 4})
    monkeypatch.setattr(train, "ShardDataset", two_views)
    configure({"dropout": 0.0}, samples=16 * 250, batch_size=16, lr=0.005, validations=4)
    assert run(monkeypatch)["val_iou"] >= 0.9


def two_views(root: Path, synsets: Any, split: str, *options: Any, **more: Any) -> Any:
    data = ShardDataset(root, synsets, split, *options, **more)
    data.groups = 2
    assert len(data) == 16
    return data


@pytest.mark.long
def test_the_same_seed_gives_the_same_weights_and_another_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = run(monkeypatch), run(monkeypatch)
    assert_same(first, second)
    configure(seed=1)
    other = run(monkeypatch)
    assert not torch.equal(other["state"]["encoder.mu.weight"], first["state"]["encoder.mu.weight"])


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps that are taken from now on."""
    original, done = Updates.step, list[int]()

    def step(updates: Updates, batch: dict[str, Any], number: int, rate: float) -> dict[str, torch.Tensor]:
        done.append(number)
        return original(updates, batch, number, rate)

    monkeypatch.setattr(Updates, "step", step)
    return done


def interrupt(monkeypatch: pytest.MonkeyPatch, step: int, how: Callable[[], None]) -> None:
    """Calls `how` in the middle of a step of the training."""
    whole = r3d.kl_divergence
    done = counted(monkeypatch)

    def divergence(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
        if done[-1] == step:
            how()
        return whole(mu, logvar)

    monkeypatch.setattr(r3d, "kl_divergence", divergence)


def remove_outputs() -> None:
    """As DVC does before it runs a stage."""
    for output in ("checkpoints", "curves", "snapshots"):
        for path in Path("data", output).iterdir():
            path.unlink()


def give_up() -> None:
    raise KeyboardInterrupt


EXTRAS: dict[str, Any] = {"clip_norm": 0.1, "ema": 0.9, "accumulate": 2}


@pytest.mark.long
@pytest.mark.parametrize(("step", "changes"), [(4, {}), (11, {}), (11, EXTRAS), (16, EXTRAS)])
def test_a_stopped_run_goes_on_and_ends_as_if_undisturbed(
    step: int, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(**changes)
    undisturbed = run(monkeypatch)
    rows = curves()
    shutil.rmtree("data/cache")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train, "KEEP_SECONDS", 0)
        interrupt(patch, step, give_up)
        rerun(patch)
    remove_outputs()
    with monkeypatch.context() as patch:
        done = counted(patch)
        assert_same(rerun(patch), undisturbed)
    assert done == list(range(step, 20))
    assert curves() == rows


@pytest.mark.long
def test_a_network_that_remembers_is_shown_the_training_split_and_goes_on_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With samples that are changed, and balanced by category, as all that is drawn depends on the step alone."""
    small = {"image_size": [32, 32], "resolution": 16, "encoder_channels": [8, 16], "encoder_blocks": 1}
    small |= {"side": 16, "grid_channels": [16, 8], "refine_channels": 8, "key_width": 8}
    configure(balanced=True, augment={"mirror": 0.5, "noise": 0.1, "scale": 0.1})
    values = yaml.safe_load(Path("params.yaml").read_text())
    values |= {"selected_systems": {"tiny": "recall"}, "systems": {"tiny": small}}
    Path("params.yaml").write_text(json.dumps(values))
    undisturbed = run(monkeypatch)
    data = ShardDataset(Path("data/shards"), SYNSETS, "train")
    grids = [data[item]["occupancy"].tolist() for item in range(0, len(data), data.groups)]
    assert undisturbed["state"]["grids"].tolist() == grids
    original = Updates.step
    monkeypatch.setattr(train, "KEEP_SECONDS", 0)

    def stop(updates: Updates, batch: dict, number: int, rate: float) -> dict[str, torch.Tensor]:
        if number == 11:
            raise KeyboardInterrupt
        return original(updates, batch, number, rate)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Updates, "step", stop)
        run(monkeypatch)
    assert_same(run(monkeypatch), undisturbed)


@pytest.mark.long
def test_a_killed_process_goes_on_and_ends_as_if_undisturbed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(samples=800, validations=20, **EXTRAS)
    undisturbed = run(monkeypatch)
    kept = project / "data/cache/train/tiny.pt"
    kept.unlink()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen([sys.executable, "-m", "pipeline.train", "tiny"], env=environment)
    while not kept.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    step = torch.load(kept, weights_only=True)["state"]["step"]
    assert step < 100
    done = counted(monkeypatch)
    assert_same(rerun(monkeypatch), undisturbed)
    assert done == list(range(step, 100))


@pytest.mark.long
def test_a_run_that_is_told_to_end_saves_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed = run(monkeypatch)
    before = signal.getsignal(signal.SIGTERM)
    shutil.rmtree("data/cache")
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(watch, "LOOK_SECONDS", 0)
        interrupt(patch, 9, lambda: os.kill(os.getpid(), signal.SIGTERM))
        rerun(patch)
    assert ended.value.code == 75 and signal.getsignal(signal.SIGTERM) == before
    assert "train tiny: stopped; run it again to go on from here" in capsys.readouterr().out
    with monkeypatch.context() as patch:
        done = counted(patch)
        assert_same(rerun(patch), undisturbed)
    assert done == list(range(10, 20))


def test_a_training_that_ended_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    first, rows = run(monkeypatch), curves()
    remove_outputs()
    done = counted(monkeypatch)
    assert_same(rerun(monkeypatch), first)
    assert curves() == rows and not done


@pytest.mark.long
def test_a_longer_training_goes_on_from_one_that_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(monkeypatch)
    configure(samples=320, validations=6)
    with monkeypatch.context() as patch:
        done = counted(patch)
        longer = rerun(patch)
    assert done == list(range(20, 40))
    assert "with other train.samples, train.validations" in capsys.readouterr().out
    assert [row["samples"] for row in curves()] == ["56", "112", "160", "216", "272", "320"]
    rates = [float(row["lr"]) for row in curves()]
    params = Params(**(TRAIN | {"samples": 320}))
    assert rates[3:] == pytest.approx([TRAIN["lr"] * params.rate(step) for step in (26, 33, 39)], rel=1e-5)
    assert longer["val_iou"] > first["val_iou"]
    configure(samples=160)
    done = counted(monkeypatch)
    assert_same(rerun(monkeypatch), first)
    assert done == list(range(20))


@pytest.mark.long
def test_what_another_training_left_is_not_taken_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed = run(monkeypatch)
    configure(lr=0.001, batch_size=16)
    rerun(monkeypatch)
    assert "tiny.pt is of a training with other train.batch_size, train.lr" in capsys.readouterr().out
    configure({"latent": 12})
    rerun(monkeypatch)
    assert "with other network, train.batch_size, train.lr" in capsys.readouterr().out
    configure()
    write_boxes(Path("data/shards"), seed=1)
    rerun(monkeypatch)
    assert "with other network, shards" in capsys.readouterr().out
    write_boxes(Path("data/shards"))
    assert_same(rerun(monkeypatch), undisturbed)


def test_the_last_weights_are_kept_beside_the_best_and_both_say_where_they_come_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    best = run(monkeypatch)
    last = torch.load("data/checkpoints/tiny_last.pt", weights_only=True)
    assert last["samples"] == 160
    assert last["val_iou"] == pytest.approx(float(curves()[-1]["val_iou"]), rel=1e-5)
    assert last["val_iou"] <= best["val_iou"]
    for found in (best, last):
        assert yaml.safe_load(found["params"])["train"] == TRAIN
        models = ShardDataset(Path("data/shards"), SYNSETS, "train").models
        assert found["splits"]["train"] == split_sha256(models) != found["splits"]["val"]
        assert found["versions"]["torch"] == torch.__version__ and found["commit"] == ""
    load_checkpoint(Path("data/checkpoints/tiny_last.pt"))


@pytest.mark.long
def test_an_average_of_the_weights_is_validated_and_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(ema=0.99, samples=400)
    found = run(monkeypatch)
    point = torch.load("data/cache/train/tiny.pt", weights_only=True)
    average, last = point["updates"]["average"], point["state"]["last"]["state"]
    assert all(value.equal(average[name]) for name, value in last.items())
    assert not all(value.equal(found["state"][name]) for name, value in point["updates"]["network"].items())
    model, config, info = load_checkpoint(Path("data/checkpoints/tiny.pt"))
    data = ShardDataset(Path("data/shards"), SYNSETS, "val")
    batch = make_batch(torch.utils.data.default_collate([data[i] for i in range(len(data))]), config.image_size, 16)
    with torch.no_grad():
        predicted = model.predict(batch["images"]) > 0
    assert iou(predicted, batch["occupancy"].bool()).mean().item() == pytest.approx(info["val_iou"])


@pytest.mark.long
def test_a_training_starts_from_the_weights_of_another(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(monkeypatch)
    shutil.copy("data/checkpoints/tiny.pt", "first.pt")
    configure(start_from="first.pt", samples=8, validations=1, lr=0.0)
    same = run(monkeypatch)
    assert f"starting from first.pt: {len(first['state'])} of {len(first['state'])} tensors" in capsys.readouterr().out
    for name, value in same["state"].items():  # a rate of 0 leaves them as they are; buffers have seen a batch
        assert "running" in name or "batches" in name or name == "accuracy" or value.equal(first["state"][name]), name
    configure({"latent": 12}, start_from="first.pt", samples=8, validations=1, lr=0.0)
    other = run(monkeypatch)["state"]
    output = capsys.readouterr().out
    count = len(first["state"])
    assert f"starting from first.pt: {count - 5} of {count} tensors" in output
    assert "  not encoder.mu.weight: 12x64 here, 16x64 there" in output
    assert other["encoder.mu.weight"].shape == (12, 64)
    assert other["encoder.features.0.weight"].equal(first["state"]["encoder.features.0.weight"])


@pytest.mark.long
def test_an_encoder_begins_with_weights_of_imagenet(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from torchvision.models import resnet18  # which a machine with a GPU need not have

    torch.manual_seed(5)
    torch.save(resnet18().state_dict(), "resnet18.pth")
    system = {"image_size": [64, 64], "resolution": 16, "decoder_channels": [8, 4]}
    configure(samples=8, validations=1, lr=0.0, encoder_weights="resnet18.pth")
    given = json.loads(Path("params.yaml").read_text())
    given |= {"selected_systems": {"tiny": "view2voxel"}, "systems": {"tiny": system}}
    Path("params.yaml").write_text(json.dumps(given))
    state = run(monkeypatch)["state"]
    assert "encoder from resnet18.pth: 100 tensors" in capsys.readouterr().out
    theirs = torch.load("resnet18.pth", weights_only=True)["layer3.1.conv2.weight"]
    assert torch.allclose(state["encoder.9.residual.3.weight"], theirs, atol=1e-6)
    # Other weights are another training: what it left is not taken up.
    torch.save(resnet18().state_dict(), "resnet18.pth")
    rerun(monkeypatch)
    assert "is of a training with other train.encoder_weights" in capsys.readouterr().out
    Path("resnet18.pth").unlink()
    with pytest.raises(ValueError, match="train.encoder_weights: expected a file of weights, found no resnet18.pth"):
        run(monkeypatch)


def test_what_can_not_be_started_from_is_refused_by_name(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch)
    shutil.copy("data/checkpoints/tiny.pt", "first.pt")
    configure(start_from="none.pt")
    with pytest.raises(ValueError, match="train.start_from: expected a file of weights, found no none.pt"):
        run(monkeypatch)
    Path("text.pt").write_text("no weights")
    configure(start_from="text.pt")
    with pytest.raises(ValueError, match="text.pt: expected a checkpoint, got BadZipFile: File is not a zip file"):
        run(monkeypatch)
    small = {"image_size": [32, 32], "resolution": 16, "encoder_channels": [8, 16], "encoder_blocks": 1}
    configure(start_from="first.pt")
    values = yaml.safe_load(Path("params.yaml").read_text())
    values |= {"selected_systems": {"tiny": "view2points"}, "systems": {"tiny": small | {"hidden": [64], "points": 50}}}
    Path("params.yaml").write_text(json.dumps(values))
    with pytest.raises(
        ValueError, match="train.start_from: expected a checkpoint with weights that fit the network, fi"
    ):
        run(monkeypatch)
    configure(start_from="data/checkpoints/tiny.pt")
    with pytest.raises(ValueError, match="train.start_from: expected a file that the training does not write itself"):
        run(monkeypatch)


def spoil(monkeypatch: pytest.MonkeyPatch, steps: range) -> None:
    """Makes the divergence not finite in these steps; the first validation is after step 7."""
    original, honest = Updates.step, r3d.kl_divergence
    now: list[int] = []

    def step(updates: Updates, batch: dict[str, Any], number: int, rate: float) -> dict[str, torch.Tensor]:
        now[:] = [number]
        return original(updates, batch, number, rate)

    def broken(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
        return honest(mu, logvar) * (float("nan") if now[0] in steps else 1)

    monkeypatch.setattr(Updates, "step", step)
    monkeypatch.setattr(r3d, "kl_divergence", broken)


def test_a_step_that_is_not_finite_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, range(3, 5))
    found = run(monkeypatch)
    assert all(value.isfinite().all() for value in found["state"].values())
    assert all(float(row["kl"]) > 0 and float(row["voxels"]) < 0.5 for row in curves())


def test_losses_that_are_not_finite_any_more_stop_the_training_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PATIENCE", 4)
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0)
    spoil(monkeypatch, range(2, 20))
    message = r"train: expected finite losses and gradients, had none in the 4 steps up to 6 \(voxels 0.\d+, kl nan\);"
    with pytest.raises(ValueError, match=message):
        run(monkeypatch)
    assert not Path("data/checkpoints").exists()


@pytest.mark.parametrize("changes", [{}, {"lr": 0.001, "clip_norm": 1.0}])
def test_a_training_that_failed_goes_on_from_its_best_weights(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watch, "PATIENCE", 4)
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0)
    with monkeypatch.context() as patch:
        spoil(patch, range(9, 20))
        with pytest.raises(ValueError, match="had none in the 4 steps up to 13"):
            run(patch)
    best = torch.load("data/checkpoints/tiny.pt", weights_only=True)
    assert best["samples"] == 56
    configure(**changes)
    weights: list[torch.Tensor] = []
    original = Updates.step

    def step(updates: Updates, batch: dict[str, Any], number: int, rate: float) -> dict[str, torch.Tensor]:
        weights.append(updates.network.state_dict()["encoder.mu.weight"].clone())
        return original(updates, batch, number, rate)

    monkeypatch.setattr(Updates, "step", step)
    assert rerun(monkeypatch)["val_iou"] >= best["val_iou"]
    assert len(weights) == 7 and weights[0].equal(best["state"]["encoder.mu.weight"])
    told = "tiny.pt, the best weights before losses ceased to be finite"
    assert told + ("; with other train.clip_norm, train.lr" if changes else "\n") in capsys.readouterr().out


def lack_memory(monkeypatch: pytest.MonkeyPatch, samples: int) -> None:
    """What a GPU says that has not the memory for more than so many samples at a time."""
    whole = r3d.Model.losses

    def losses(self: r3d.Model, batch: dict[str, Any], part: str) -> dict[str, torch.Tensor]:
        if len(batch["images"]) > samples:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return whole(self, batch, part)

    monkeypatch.setattr(r3d.Model, "losses", losses)


@pytest.mark.long
def test_a_batch_that_does_not_fit_into_memory_is_told_with_what_finds_one_that_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lack_memory(monkeypatch, 3)
    message = (
        "expected 8 samples of 16x24 pixels and 16.3 cells at a time to fit .* `python -m pipeline.train tiny --fit`"
    )
    with pytest.raises(ValueError, match=message):
        run(monkeypatch)
    capsys.readouterr()
    train.main("tiny", fit=True)
    assert capsys.readouterr().out.splitlines() == [
        "not at a time: 8 samples",
        "not at a time: 4 samples",
        "train.accumulate: 4 fits, 2 samples of 16x24 pixels and 16^3 cells at a time",
    ]
    assert not Path("data/checkpoints").exists()
    configure(accumulate=4)
    run(monkeypatch)
    lack_memory(monkeypatch, 0)
    with pytest.raises(
        ValueError, match="train.batch_size: not even 1 sample of 16x24 pixels and 16.3 cells at a time fits"
    ):
        train.main("tiny", fit=True)


@pytest.mark.long
def test_a_collapse_is_announced(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def predict(self: r3d.Model, images: torch.Tensor) -> torch.Tensor:
        logits = torch.full((len(images), 16, 16, 16), -1.0)
        logits[::2, :different] = 1
        return logits

    monkeypatch.setattr(r3d.Model, "predict", predict)
    for different in (0, 16):
        run(monkeypatch)
        announced = "warning: predictions differ 0.0% as much as the shapes do" in capsys.readouterr().out
        assert announced == (different == 0)


def test_a_data_set_smaller_than_a_batch_trains(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_boxes(project / "data/shards", counts={"train": 1, "val": 1})
    configure(batch_size=16, samples=40)
    assert [row["samples"] for row in (run(monkeypatch), curves())[1]] == ["16", "32", "48"]


@pytest.mark.parametrize(
    ("changes", "system", "message"),
    [
        ({"lr": "1e-4"}, "tiny", "params.yaml: train.lr: expected float, got str '1e-4'"),
        ({"epochs": 3}, "tiny", "params.yaml: train.epochs: unknown key"),
        ({"batch_size": 1}, "tiny", "params.yaml: train.batch_size: expected 2 or more, got 1"),
        ({"lr_warmup": 1.0}, "tiny", "params.yaml: train.lr_warmup: expected a number from 0 to 1, got 1.0"),
        ({"accumulate": 0}, "tiny", "params.yaml: train.accumulate: expected 1 or more, got 0"),
        ({"accumulate": 3}, "tiny", "expected a multiple of 1 processes x 3 .train.accumulate., got 8"),
        ({"ema": 1.0}, "tiny", "params.yaml: train.ema: expected a number from 0 to 1, got 1.0"),
        ({"ema": 0.9, "precision": "bf16-true"}, "tiny", "params.yaml: train.ema: expected 0 with bf16-true, whose w"),
        ({"clip_norm": -1.0}, "tiny", "params.yaml: train.clip_norm: expected 0 or more, got -1.0"),
        ({"precision": "16-mixed"}, "tiny", "train.precision: expected a CUDA device for 16-mixed, found none"),
        (
            {"precision": "31-true"},
            "tiny",
            "params.yaml: train.precision: expected one of auto, .* 64-true, got 31-true",
        ),
        ({}, "huge", "params.yaml: selected_systems: expected an entry 'huge', found tiny"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_by_name(
    changes: dict[str, Any], system: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(**changes)
    with pytest.raises(ValueError, match=message):
        run(monkeypatch, system)
    assert not Path("data/checkpoints").exists()


def test_a_configuration_that_does_not_fit_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    configure({"resolution": 12})
    with pytest.raises(ValueError, match="params.yaml: systems.tiny.resolution: expected a multiple of 8, got 12"):
        run(monkeypatch)


@pytest.mark.long
def test_a_damaged_resume_point_is_ignored(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    undisturbed, point = run(monkeypatch), resume.RESUME / "tiny.pt"
    whole = point.read_bytes()
    flipped = bytes(byte ^ (place == len(whole) // 2) for place, byte in enumerate(whole))
    for damaged in (b"half", whole[: len(whole) // 2], flipped, Path("data/checkpoints/tiny.pt").read_bytes()):
        point.write_bytes(damaged)
        assert_same(rerun(monkeypatch), undisturbed)
        assert "starting anew: data/cache/train/tiny.pt: expected " in capsys.readouterr().out


def test_missing_shards_are_refused_by_name(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in project.glob("data/shards/*/val-*.h5"):
        path.unlink()
    with pytest.raises(ValueError, match="data/shards: expected shards of the val split, found none"):
        run(monkeypatch)


@pytest.mark.long
@pytest.mark.long
def test_processes_train_together(project: Path) -> None:
    """Two share batches and validation, here of 2 and 1 views, and end alike; no DVC, no mesh library is loaded."""
    configure(samples=160, validation_views=3)
    sections = json.loads(Path("params.yaml").read_text())
    sections["dataset"]["categories"] = [SYNSETS[0]]
    Path("params.yaml").write_text(json.dumps(sections))
    write_boxes(project / "data/shards", counts={"val": 1})
    script = project / "two.py"
    script.write_text(
        "import sys; sys.modules['dvclive'] = None\n"
        "import torch\n"
        "from pipeline import train\n"
        "from pipeline.training.launch import launch\n"
        "fabric = launch('32-true')\n"
        "module, config = train.configured('tiny')\n"
        f"trainer = train.Trainer(fabric, 'tiny', module, config, train.load('train', train.Params), {SYNSETS[:1]})\n"
        "trainer.train()\n"
        "weights = torch.cat([p.detach().flatten() for p in trainer.network.parameters()])\n"
        "both = fabric.all_gather(weights)\n"
        "assert torch.equal(both[0], both[1])\n"
        "unwanted = 'dvc dvclive open3d trimesh pytorch3d pipeline.metrics'.split()\n"
        "found = [name for name in unwanted if sys.modules.get(name)]\n"
        "sys.stdout.write(f'RANK {fabric.global_rank} loaded {found}\\n')\n"
    )
    done = subprocess.run([sys.executable, str(script)], env=shared(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "RANK 0 loaded []" in done.stdout
    rows = curves()
    assert [row["samples"] for row in rows] == ["56", "112", "160"]
    assert float(rows[2]["voxels"]) < 0.8 * float(rows[0]["voxels"])
    model, config, info = load_checkpoint(Path("data/checkpoints/tiny_last.pt"))
    data = ShardDataset(Path("data/shards"), SYNSETS[:1], "val")
    assert len(data) == 3
    batch = make_batch(torch.utils.data.default_collate([data[i] for i in range(3)]), config.image_size, 16)
    with torch.no_grad():
        logits = model.predict(batch["images"])
    truth = batch["occupancy"]
    assert iou(logits > 0, truth.bool()).mean().item() == pytest.approx(info["val_iou"])
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth).item()
    assert entropy == pytest.approx(info["val_bce"], rel=1e-5)


def shared() -> dict[str, str]:
    """The environment of two processes that train together."""
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ONEVIEW_DEVICES": "2"}


@pytest.mark.long
def test_two_processes_end_together_and_the_run_goes_on(project: Path) -> None:
    """The second is killed, then the first, then that is told to end; the undisturbed run is one under torchrun."""
    configure(samples=480, validations=60, **EXTRAS)
    script = project / "quiet.py"  # without DVCLive
    script.write_text("import sys; sys.modules['dvclive'] = None\nfrom pipeline import train\ntrain.main('tiny')\n")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(torchrun, env=shared(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    undisturbed, rows = torch.load("data/checkpoints/tiny.pt", weights_only=True), curves()
    point = project / "data/cache/train/tiny.pt"
    point.unlink()
    remove_outputs()
    steps = [0]
    for victim, how in ((1, signal.SIGKILL), (0, signal.SIGKILL), (0, signal.SIGTERM)):
        first = subprocess.Popen([sys.executable, str(script)], env=shared(), stderr=subprocess.DEVNULL)
        before, deadline = point.stat().st_mtime_ns if steps[-1] else 0, time.monotonic() + 120
        while not (point.exists() and point.stat().st_mtime_ns > before):
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        second = children(first.pid)[0]
        os.kill(second if victim else first.pid, how)
        assert first.wait(60) in ((75,) if how == signal.SIGTERM else (-signal.SIGKILL, 1))
        while Path(f"/proc/{second}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        steps.append(torch.load(point, weights_only=True)["state"]["step"])
    assert 0 < steps[1] < steps[2] < steps[3] < 60
    done = subprocess.run([sys.executable, str(script)], env=shared(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert_same(torch.load("data/checkpoints/tiny.pt", weights_only=True), undisturbed)
    assert curves() == rows


def children(process: int) -> list[int]:
    """The running Python processes that a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            if parent == process and b"quiet.py" in (stat.parent / "cmdline").read_bytes():
                found.append(int(stat.parent.name))
    return found


@pytest.mark.cuda
def test_a_gpu_learns_the_same_fast_and_plain(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ONEVIEW_DEVICE", "cuda")
    monkeypatch.setattr(speed, "LONG", 1)
    losses = []
    for speeds in ("plain", "auto"):
        configure(samples=640, precision="auto", speed=speeds)
        found = run(monkeypatch)
        assert found["state"]["generator.0.weight"].device.type == "cpu"
        losses.append([float(row["voxels"]) for row in curves()])
    plain, fast = losses
    assert fast == pytest.approx(plain, rel=0.1) and fast[-1] < 0.8 * fast[0]
    output = capsys.readouterr().out
    assert "train.speed plain: nothing but what PyTorch does by itself" in output
    assert "train.speed auto: bf16-mixed" in output and "steps from a CUDA graph" in output
    assert "after all" not in output


@pytest.mark.cuda
@pytest.mark.parametrize("last", [11, 16])  # before and after the game begins
def test_a_stopped_run_goes_on_from_a_graph(last: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEVIEW_DEVICE", "cuda")
    monkeypatch.setattr(speed, "LONG", 1)
    configure(precision="auto")
    undisturbed = run(monkeypatch)
    configure(precision="bf16-mixed")  # the same under another name: nothing is taken up of the first run
    original = Updates.step
    monkeypatch.setattr(train, "KEEP_SECONDS", 0)

    def stop(updates: Updates, batch: dict, number: int, rate: float) -> dict[str, torch.Tensor]:
        if number == last:
            raise KeyboardInterrupt
        return original(updates, batch, number, rate)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Updates, "step", stop)
        run(monkeypatch)
    again = run(monkeypatch)
    for name, value in undisturbed["state"].items():
        torch.testing.assert_close(again["state"][name], value, rtol=0.05, atol=1e-2)
