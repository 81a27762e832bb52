from __future__ import annotations

import pytest

from pipeline.runtime import machine


def test_workers_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEVIEW_WORKERS", "3")
    assert machine.workers() == 3
    monkeypatch.delenv("ONEVIEW_WORKERS")
    assert machine.workers() >= 1
    monkeypatch.setenv("ONEVIEW_WORKERS", "many")
    with pytest.raises(ValueError, match="ONEVIEW_WORKERS: expected a positive integer, got 'many'"):
        machine.workers()


def test_device_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    assert machine.device() == "cpu"
    monkeypatch.setenv("ONEVIEW_DEVICE", "tpu")
    with pytest.raises(ValueError, match="expected auto, cpu or cuda, got 'tpu'"):
        machine.device()


def test_a_stage_says_what_auto_means_and_a_named_device_is_taken_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.delenv("ONEVIEW_DEVICE", raising=False)
    assert (machine.device(), machine.device(auto="cpu")) == ("cuda", "cpu")
    monkeypatch.setenv("ONEVIEW_DEVICE", "cuda")
    assert machine.device(auto="cpu") == "cuda"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match="expected a CUDA device for 'cuda', found none"):
        machine.device(auto="cpu")
    monkeypatch.setenv("ONEVIEW_DEVICE", "auto")
    assert machine.device() == "cpu"
