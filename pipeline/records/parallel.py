"""One function over many arguments in worker processes, whatever it does there: hang, crash, or eat the memory.

Workers are processes of this machine, or of a Dask cluster where ONEVIEW_SCHEDULER names its scheduler; both through
joblib. Every call has a limit of time and of memory (`runtime/machine.py`). A worker that dies takes its call along,
and joblib's whole pool with it; who was at work then is known from marks that calls leave on the disk while they last.
Such calls are made again, alone, and given up if the worker dies again.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib

from pipeline.runtime import machine
from pipeline.runtime.command import progress
from pipeline.runtime.files import naming, workspace

MARKS = Path("data/cache/running")
BEGUN, CHANCES = "begun", 2  # the line that a call leaves in its mark; how many workers may die of it
PR_SET_PDEATHSIG = 1  # of prctl(2)
PATIENCE = 3  # deaths of workers in a row that no call can be blamed for


@dataclass(frozen=True)
class Lost:
    """A call without a result: `reason` is `timeout`, `too_large` (for the limit of memory) or `crashed`."""

    reason: str
    message: str


def parallel(
    function: Callable[..., Any], arguments: Sequence[tuple], label: str, gpu: bool = False
) -> Iterator[tuple[int, Any]]:
    """(i, function(*arguments[i])) or (i, Lost), as they come, with a progress bar.

    Args:
        function: importable by name; what it raises (but MemoryError) is raised here, and stops everything.
        label: for the progress bar.
        gpu: the calls need the GPU. On this machine, they then have one worker, as more would compete for the GPU's
            memory, and no limit of memory, as CUDA reserves address space without end.
    """
    if not arguments:
        return
    left, unexplained = set(range(len(arguments))), 0
    with progress(label, len(arguments), "model") as bar, workspace(MARKS.resolve(), "") as marks:
        while left:
            try:
                for index, result in _calls(function, arguments, sorted(left), marks, gpu):
                    left.remove(index)
                    unexplained = 0
                    bar.update()
                    yield index, result
            except BrokenExecutor:
                suspects = sorted(left & {int(mark.name) for mark in marks.iterdir()})
                unexplained += not suspects
                if unexplained == PATIENCE:
                    raise OSError(f"{label}: worker processes keep dying before they start; is there memory?") from None
                for index in suspects:
                    result = _alone(function, arguments, index, marks, gpu)
                    left.remove(index)
                    bar.update()
                    yield index, result


def _calls(
    function: Callable[..., Any],
    arguments: Sequence[tuple],
    indices: list[int],
    marks: Path,
    gpu: bool,
    local: bool = False,
) -> Iterator[tuple[int, Any]]:
    """Results of the calls, as they come; `local` keeps them on this machine."""
    seconds, gigabytes = machine.limits()
    local = local or not machine.scheduler()
    limits = (seconds, 0.0 if gpu else gigabytes, os.getpid() if local else 0)
    calls = (joblib.delayed(_limited)(function, arguments[index], index, marks, *limits) for index in indices)
    with contextlib.ExitStack() as stack:
        if not local:
            from distributed import Client

            stack.enter_context(Client(machine.scheduler(), set_as_default=True))
            stack.enter_context(joblib.parallel_config("dask"))
            pool = joblib.Parallel(-1, return_as="generator_unordered")
        else:
            count = 1 if gpu else min(machine.workers(), len(indices))
            stack.enter_context(joblib.parallel_config("loky", inner_max_num_threads=1))
            # joblib runs a single worker in this very process, which its crash would take along: two take turns then.
            options = {"pre_dispatch": 1, "batch_size": 1} if count == 1 else {}
            pool = joblib.Parallel(max(count, 2), return_as="generator_unordered", **options)
        yield from pool(calls)


def _alone(function: Callable[..., Any], arguments: Sequence[tuple], index: int, marks: Path, gpu: bool) -> Any:
    """The result of a call during which a worker died."""
    try:
        ((_, result),) = _calls(function, arguments, [index], marks, gpu, local=True)
    except BrokenExecutor:
        return _lost(marks / str(index), machine.limits()[0])
    return result


def _lost(mark: Path, seconds: float) -> Lost | None:
    """Why a call has to be given up, by the mark that its dead workers left; None where it may have another chance."""
    begun = mark.read_text(encoding="utf-8", errors="replace").splitlines() if mark.is_file() else []
    if any(line != BEGUN for line in begun):  # what the watchdog writes
        return Lost("timeout", f"expected at most {seconds:g} s, was stopped then")
    if len(begun) >= CHANCES:
        return Lost("crashed", f"expected a result, its worker process died {CHANCES} times")
    return None


def _limited(
    function: Callable[..., Any],
    arguments: tuple,
    index: int,
    marks: Path,
    seconds: float,
    gigabytes: float,
    parent: int,
) -> tuple[int, Any]:
    """In the worker: the call, within its limits. `parent` is a process that is not to be outlived, or 0."""
    if parent:
        _die_with(parent)
    mark = marks / str(index)
    if lost := _lost(mark, seconds):  # Dask makes a call again by itself when its worker died
        return index, lost
    with mark.open("ab", buffering=0) as file, _memory(gigabytes):
        with naming(mark):
            file.write(f"{BEGUN}\n".encode())
        # Ends the process from a thread that needs no GIL, and so from within C code too, and says so in the mark.
        faulthandler.dump_traceback_later(seconds, exit=True, file=file)
        try:
            result = function(*arguments)
        except MemoryError:
            result = Lost("too_large", f"expected to need at most {gigabytes:g} GB of memory, asked for more")
        finally:
            faulthandler.cancel_dump_traceback_later()
            mark.unlink(missing_ok=True)  # the call may run twice, where Dask takes a slow worker for dead
    return index, result


def _die_with(parent: int) -> None:
    """Has the system kill this process when its parent is gone: joblib's workers would wait for it for ever."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


@contextlib.contextmanager
def _memory(gigabytes: float) -> Iterator[None]:
    """Lets this process take so much more memory than it has now; 0 for no limit."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    if gigabytes:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])  # data and stack
        bound = pages * os.sysconf("SC_PAGE_SIZE") + int(gigabytes * 1e9)
        resource.setrlimit(resource.RLIMIT_DATA, (bound, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
