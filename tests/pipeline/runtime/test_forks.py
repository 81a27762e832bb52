from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.runtime.forks import AHEAD, spread


def test_results_come_in_the_order_of_the_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    inherited = threading.Lock()  # what no process could be sent

    def work(number: int, wait: float) -> tuple[int, int, bool]:
        time.sleep(wait)
        return number, os.getpid(), inherited.locked()

    for workers in ("1", "2", "3"):
        monkeypatch.setenv("ONEVIEW_WORKERS", workers)
        found = list(spread(work, ((n, 0.05 * (n % 2 == 0)) for n in range(9))))
        assert [number for number, *_ in found] == list(range(9))
        pids = {pid for _, pid, _ in found}
        assert pids == {os.getpid()} if workers == "1" else len(pids) <= int(workers) and os.getpid() not in pids


def test_arguments_are_taken_as_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEVIEW_WORKERS", "2")
    taken = []

    def numbers() -> Iterator[tuple[int]]:
        for number in range(100):
            taken.append(number)
            yield (number,)

    results = spread(abs, numbers())
    assert not taken
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert len(taken) <= AHEAD * 2 + 3
    results.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_a_call_raises_is_raised(monkeypatch: pytest.MonkeyPatch, workers: str) -> None:
    monkeypatch.setenv("ONEVIEW_WORKERS", workers)
    with pytest.raises(ValueError, match="invalid literal"):
        list(spread(int, [("1",), ("x",), ("2",)]))


ORPHANS = """
import time
from pathlib import Path
from pipeline.runtime.forks import spread
import os

def sleep(name):
    Path(name).write_text(str(os.getpid()))
    time.sleep(60)

list(spread(sleep, [("a",), ("b",)]))
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    environment = os.environ | {"ONEVIEW_WORKERS": "2", "PYTHONPATH": os.getcwd()}
    parent = subprocess.Popen([sys.executable, "-c", ORPHANS], cwd=tmp_path, env=environment)
    files = [tmp_path / "a", tmp_path / "b"]
    while not all(file.is_file() and file.read_text() for file in files):
        assert parent.poll() is None
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    workers = [int(file.read_text()) for file in files]
    for _ in range(100):
        if not any(map(alive, workers)):
            return
        time.sleep(0.1)
    pytest.fail("workers outlive their parent")
