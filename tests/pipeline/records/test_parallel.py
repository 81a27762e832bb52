"""Calls that hang, crash and eat memory, in real worker processes."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from pipeline.records.parallel import MARKS, Lost, parallel

ROOT = Path(__file__).parents[3]


def misbehave(how: str, folder: Path) -> object:
    with (folder / how).open("a") as file:
        file.write("x")
    if how == "hang":
        time.sleep(60)
    elif how == "hang in C":
        ctypes.PyDLL(None).sleep(60)  # holds the GIL, so that no Python code runs meanwhile
    elif how == "segfault":
        faulthandler.disable()  # which pytest has enabled, and would tell
        ctypes.string_at(0)
    elif how == "exit":
        os._exit(0)
    elif how == "once" and len((folder / how).read_text()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "eat":
        return np.ones(10**9).sum()
    elif how == "raise":
        raise RuntimeError("surprise")
    return f"{how} done"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEVIEW_MODEL_SECONDS", "2")
    monkeypatch.setenv("ONEVIEW_MODEL_GB", "2")


@pytest.mark.long
@pytest.mark.parametrize("workers", ["1", "2"])
def test_bad_calls_are_lost_and_good_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    monkeypatch.setenv("ONEVIEW_WORKERS", workers)
    ways = ["a", "segfault", "b", "hang in C", "once", "eat", "c"]
    results = dict(parallel(misbehave, [(how, tmp_path) for how in ways], "test"))
    assert {ways[n] for n, result in results.items() if result == f"{ways[n]} done"} == {"a", "b", "once", "c"}
    lost = {ways[n]: result for n, result in results.items() if isinstance(result, Lost)}
    assert lost["segfault"] == Lost("crashed", "expected a result, its worker process died 2 times")
    assert lost["hang in C"] == Lost("timeout", "expected at most 2 s, was stopped then")
    assert lost["eat"].reason == "too_large"
    # A hang is not waited for twice; beside another worker's death it may be started twice.
    assert len((tmp_path / "hang in C").read_text()) <= int(workers)
    assert len((tmp_path / "segfault").read_text()) == 2
    assert not list(MARKS.iterdir())


@pytest.mark.long
def test_hangs_and_exits_in_python(tmp_path: Path) -> None:
    results = dict(parallel(misbehave, [("hang", tmp_path), ("exit", tmp_path)], "test"))
    assert [results[n].reason for n in (0, 1)] == ["timeout", "crashed"]


def test_what_a_call_raises_is_raised(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="surprise"):
        list(parallel(misbehave, [("a", tmp_path), ("raise", tmp_path)], "test"))
    assert not list(MARKS.iterdir())


def test_a_worker_is_never_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for workers, gpu in (("1", False), ("2", False), ("2", True)):
        monkeypatch.setenv("ONEVIEW_WORKERS", workers)
        pids = {pid for _, pid in parallel(os.getpid, [()] * 6, "test", gpu)}
        assert os.getpid() not in pids


def busy(folder: Path) -> bool:
    """Whether no other call runs at the same time."""
    try:
        (folder / "lock").mkdir()
    except FileExistsError:
        return False
    time.sleep(0.05)
    (folder / "lock").rmdir()
    return True


@pytest.mark.long
def test_one_worker_makes_one_call_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEVIEW_WORKERS", "1")
    assert all(alone for _, alone in parallel(busy, [(tmp_path,)] * 10, "test"))
    monkeypatch.setenv("ONEVIEW_WORKERS", "2")
    assert all(alone for _, alone in parallel(busy, [(tmp_path,)] * 10, "test", gpu=True))


def test_workers_that_die_before_they_start_are_no_calls_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.records.parallel._serve", lambda *_: os._exit(1))
    with pytest.raises(OSError, match="test: worker processes keep dying before they start; is there memory"):
        list(parallel(os.getpid, [()] * 6, "test"))


def reserve(gigabytes: float) -> int:
    return np.empty(int(gigabytes * 1e9), np.uint8).size


def test_the_limit_is_of_memory_beside_what_was_inherited() -> None:
    held = np.empty(3 * 10**9, np.uint8)  # more than a call may take; reserved, and touched nowhere
    results = dict(parallel(reserve, [(1.8,), (2.2,)], "test"))
    assert results[0] == 1.8e9 and results[1].reason == "too_large" and held.size


def own_threads() -> int:
    return max([pool["num_threads"] for pool in threadpool_info()], default=1)


def test_a_worker_computes_in_one_thread() -> None:
    with threadpool_limits(2):
        assert own_threads() == 2
        assert set(dict(parallel(own_threads, [()] * 3, "test")).values()) == {1}


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_waits_for_no_call(tmp_path: Path, how: signal.Signals) -> None:
    """Ctrl-C reaches the workers too, which say nothing of it; SIGTERM the stage alone."""
    (tmp_path / "stage.py").write_text(
        "import time; from pipeline.records.parallel import parallel\n"
        "def main(): list(parallel(time.sleep, [(60,)] * 2, 'test'))\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", "from pipeline.runtime.command import run; run('stage')"],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "ONEVIEW_MODEL_SECONDS": "100"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob(f"{MARKS}/*/*"))) < 2:
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.02)
    os.killpg(run.pid, how) if how == signal.SIGINT else run.send_signal(how)
    assert run.communicate(timeout=30)[1] == "stopped; run it again to go on from here\n"
    assert run.returncode == 1 and not list(MARKS.iterdir())
    with pytest.raises(ProcessLookupError):
        os.killpg(run.pid, 0)
