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
