from __future__ import annotations

import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from model import r3d
from pipeline.training import checkpoints

CONFIG = r3d.Config(
    image_size=(16, 16), resolution=8, encoder_pools=(2, 2, 2), generator_channels=(4, 4), discriminator_channels=(4,)
)


@pytest.fixture(scope="module")
def contents() -> dict[str, Any]:
    torch.manual_seed(0)
    about = checkpoints.describe("small", r3d, CONFIG)
    return about | {"state": r3d.Model(CONFIG).state_dict(), "val_iou": 0.5, "val_bce": 0.1, "samples": 7}


def test_what_is_loaded_is_what_was_saved(tmp_path: Path, contents: dict[str, Any]) -> None:
    checkpoints.save(tmp_path / "small.pt", contents)
    model, config, info = checkpoints.load_checkpoint(tmp_path / "small.pt")
    assert config == CONFIG
    assert not model.training
    assert info["system"] == "small" and info["module"] == "r3d" and info["samples"] == 7
    assert all(torch.equal(value, contents["state"][name]) for name, value in model.state_dict().items())


def test_a_file_of_plain_values_needs_no_trust(tmp_path: Path, contents: dict[str, Any]) -> None:
    checkpoints.save(tmp_path / "small.pt", contents)
    plain = torch.load(tmp_path / "small.pt", weights_only=True)
    assert plain["config"]["image_size"] == [16, 16]


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r3d.pt"
    with pytest.raises(ValueError, match="r3d.pt: expected a trained system, .*; `dvc repro train@r3d` trains it"):
        checkpoints.load_checkpoint(path)
    for data in (b"", b"no checkpoint at all"):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="r3d.pt: expected a checkpoint, got"):
            checkpoints.load_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="r3d.pt: expected a checkpoint, got a list"):
        checkpoints.load_checkpoint(path)


def test_a_truncated_checkpoint_is_refused(tmp_path: Path, contents: dict[str, Any]) -> None:
    checkpoints.save(tmp_path / "small.pt", contents)
    data = (tmp_path / "small.pt").read_bytes()
    (tmp_path / "small.pt").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="small.pt: expected a checkpoint, got"):
        checkpoints.load_checkpoint(tmp_path / "small.pt")


def test_a_flipped_bit_is_noticed(tmp_path: Path, contents: dict[str, Any]) -> None:
    path = tmp_path / "small.pt"
    checkpoints.save(path, contents)
    whole = path.read_bytes()
    weight = contents["state"]["encoder.mu.weight"].numpy().tobytes()
    for place in (whole.index(weight[:16]), whole.index(b"oneview-checkpoint"), len(whole) - 30):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(ValueError, match="small.pt: expected a checkpoint, got "):
            checkpoints.load_checkpoint(path)


def test_a_disk_that_takes_no_more_is_told_by_the_files_name(tmp_path: Path, contents: dict[str, Any]) -> None:
    """A limit on the size of files stands for the disk."""
    path = tmp_path / "small.pt"
    checkpoints.save(path, contents)
    whole, before = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) // 2, before[1]))
    try:
        with pytest.raises(OSError, match="File too large: '.*small.pt'"):
            checkpoints.save(path, contents)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == whole and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 99}, "small.pt: expected oneview-checkpoint version 1, got oneview-checkpoint version 99"),
        ({"format": "other"}, "small.pt: expected oneview-checkpoint version 1, got other version 1"),
        ({"module": "r4d"}, "systems: expected the name of a file in model/, got 'r4d'"),
        ({"config": {"latent": "many"}}, "small.pt: config.latent: expected int, got str 'many'"),
        ({"state": {}}, "small.pt: expected weights for model/r3d.py, got "),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    tmp_path: Path, contents: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    checkpoints.save(tmp_path / "small.pt", contents | changes)
    with pytest.raises(ValueError, match=message):
        checkpoints.load_checkpoint(tmp_path / "small.pt")
