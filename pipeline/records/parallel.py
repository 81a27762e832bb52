"""One function over many arguments in worker processes, whatever it does there: hang, crash, or eat the memory.

Workers are forks of this process, which start at once and share the memory of what it has imported; or processes of a
Dask cluster where ONEVIEW_SCHEDULER names its scheduler, through joblib. Every call has a limit of time and of memory
(`runtime/machine.py`). A worker that dies takes its call along; what became of it is known from a mark that calls leave
on the disk while they last. Such a call is made again, alone, and given up if the worker dies again.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import os
import resource
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pipeline.runtime import machine
from pipeline.runtime.command import importing, progress
from pipeline.runtime.files import naming, workspace
from pipeline.runtime.forks import settle

MARKS = Path("data/cache/running")
BEGUN, CHANCES = "begun", 2  # the line that a call leaves in its mark; how many workers may die of it
PATIENCE = 3  # deaths of workers in a row that no call can be blamed for
Answers = Generator[tuple[int, Any], None, None]  # numbers of calls and their results, as they come


@dataclass(frozen=True)
class Lost:
    """A call without a result: `reason` is `timeout`, `too_large` (for the limit of memory) or `crashed`."""

    reason: str
    message: str


def parallel(
    function: Callable[..., Any],
    arguments: Sequence[tuple],
    label: str,
    gpu: bool = False,
    unit: str = "model",
    modules: Sequence[str] = (),
) -> Iterator[tuple[int, Any]]:
    """(i, function(*arguments[i])) or (i, Lost), as they come, with a progress bar.

    Args:
        function: importable by name; what it raises (but MemoryError) is raised here, and stops everything.
        label, unit: for the progress bar; a unit is what a call is about.
        gpu: the calls need the GPU. On this machine, they then have one worker, as more would compete for the GPU's
            memory; no fork, in which CUDA may not work; and no limit of memory, as CUDA reserves addresses without end.
        modules: names of those that the function needs; imported here, once, where workers are forked.
    """
    if not arguments:
        return
    seconds, gigabytes = machine.limits()
    if not (machine.scheduler() or gpu):
        with importing():
            for module in modules:
                importlib.import_module(module)
    with progress(label, len(arguments), unit) as bar, workspace(MARKS.resolve(), "") as marks:
        calls = [
            _Call(function, own, marks / str(index), seconds, 0.0 if gpu else gigabytes)
            for index, own in enumerate(arguments)
        ]
        with contextlib.closing(_on_cluster(calls) if machine.scheduler() else _here(calls, label, gpu)) as results:
            for index, result in results:
                bar.update()
                yield index, result


@dataclass(frozen=True)
class _Call:
    """A call of a function within limits of time and memory, and where it leaves its mark."""

    function: Callable[..., Any]
    arguments: tuple
    mark: Path
    seconds: float
    gigabytes: float

    def __call__(self) -> Any:
        """The result, or Lost; in a worker, as this process may end."""
        if lost := self.lost():  # Dask makes a call again by itself when its worker died
            return lost
        with self.mark.open("ab", buffering=0) as file, _memory(self.gigabytes):
            with naming(self.mark):
                file.write(f"{BEGUN}\n".encode())
            # Ends the process from a thread that needs no GIL, and so from within C code too, and says so in the mark.
            faulthandler.dump_traceback_later(self.seconds, exit=True, file=file)
            try:
                return self.function(*self.arguments)
            except MemoryError:
                return Lost("too_large", f"expected to need at most {self.gigabytes:g} GB of memory, asked for more")
            finally:
                faulthandler.cancel_dump_traceback_later()
                self.mark.unlink(missing_ok=True)  # the call may run twice, where Dask takes a slow worker for dead

    def begun(self) -> list[str]:
        """The lines in its mark: what workers that died of it have left."""
        if not self.mark.is_file():
            return []
        return self.mark.read_text(encoding="utf-8", errors="replace").splitlines()

    def lost(self) -> Lost | None:
        """Why it has to be given up, by its mark; None where it may have another chance."""
        begun = self.begun()
        if any(line != BEGUN for line in begun):  # what the watchdog writes
            return Lost("timeout", f"expected at most {self.seconds:g} s, was stopped then")
        if len(begun) >= CHANCES:
            return Lost("crashed", f"expected a result, its worker process died {CHANCES} times")
        return None


def _on_cluster(calls: Sequence[_Call]) -> Answers:
    """What the workers of a Dask cluster answer."""
    import joblib
    from distributed import Client

    with Client(machine.scheduler(), set_as_default=True), joblib.parallel_config("dask"):
        pool = joblib.Parallel(-1, return_as="generator_unordered")
        yield from pool(joblib.delayed(_numbered)(index, call) for index, call in enumerate(calls))


def _numbered(index: int, call: _Call) -> tuple[int, Any]:
    return index, call()


def _here(calls: Sequence[_Call], label: str, gpu: bool) -> Answers:
    """What worker processes of this machine answer."""
    context, count = (get_context("spawn"), 1) if gpu else (get_context("fork"), machine.workers())
    waiting, again, unexplained = deque(range(len(calls))), deque[int](), 0
    idle: list[_Worker] = []
    busy: dict[Any, tuple[_Worker, int]] = {}  # by pipe
    try:
        while waiting or again or busy:
            while len(busy) < count and (waiting or (again and not busy)):  # a call that is made again is alone
                worker, index = idle.pop() if idle else _Worker(context, calls), (waiting or again).popleft()
                busy[worker.pipe] = worker, index
                worker.ask(index)
            for pipe in connection.wait(list(busy)):
                worker, index = busy.pop(pipe)
                try:
                    result, trace = worker.pipe.recv()
                except (EOFError, OSError):
                    worker.end()
                    unexplained += not calls[index].begun()
                    if unexplained == PATIENCE:
                        message = f"{label}: worker processes keep dying before they start; is there memory?"
                        raise OSError(message) from None
                    if lost := calls[index].lost():
                        yield index, lost
                    else:
                        again.append(index)
                    continue
                idle.append(worker)
                if trace:
                    raise result from RuntimeError(trace)
                unexplained = 0
                yield index, result
    finally:
        for worker in [*idle, *(worker for worker, _ in busy.values())]:
            worker.end()


class _Worker:
    """A process that makes the calls whose numbers it is asked for, one at a time; `pipe` gives their results."""

    def __init__(self, context: Any, calls: Sequence[_Call]):
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, calls, os.getpid()), daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe ends when the process does

    def ask(self, index: int) -> None:
        with contextlib.suppress(BrokenPipeError):  # it died meanwhile, as its pipe will tell
            self.pipe.send(index)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _serve(pipe: Connection, calls: Sequence[_Call], parent: int) -> None:
    """In the worker: answers the number of a call with its result, or with what it raised and where."""
    settle(parent)
    while True:
        index = pipe.recv()
        try:
            pipe.send((calls[index](), ""))
        except Exception as error:
            pipe.send((error, f"in a worker process:\n{traceback.format_exc()}"))


@contextlib.contextmanager
def _memory(gigabytes: float) -> Iterator[None]:
    """Lets this process take so much more memory than it has now, inherited or its own; 0 for no limit."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    if gigabytes:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])  # data and stack
        bound = pages * os.sysconf("SC_PAGE_SIZE") + int(gigabytes * 1e9)
        resource.setrlimit(resource.RLIMIT_DATA, (bound, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
