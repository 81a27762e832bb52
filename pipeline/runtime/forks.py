"""Forks of this process that work for it: they start at once, and share the memory of what it has imported."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from threadpoolctl import threadpool_limits

from pipeline.runtime import machine

PR_SET_PDEATHSIG = 1  # of prctl(2)
AHEAD = 2  # calls a worker that are handed out before the first one's result is taken
_held: list[Callable[..., Any]] = []  # in a worker of `spread`: the function that it calls


def spread(function: Callable[..., Any], arguments: Iterable[tuple]) -> Iterator[Any]:
    """function(*each), in the order of the arguments, from as many forks as there are `machine.workers`.

    Args:
        function: what it needs is inherited and not sent, but no threads and no CUDA; what it raises is raised here.
        arguments: taken when a worker needs them, in this process, which has one thread meanwhile, as the workers have
            the cores. They and the results are pickled.
    """
    if machine.workers() == 1:
        yield from (function(*each) for each in arguments)
        return
    pool = ProcessPoolExecutor(machine.workers(), get_context("fork"), _begin, (function, os.getpid()))
    waiting: deque[Future[Any]] = deque()
    try:
        with threadpool_limits(1):
            for each in arguments:
                waiting.append(pool.submit(_call, each))
                if len(waiting) > AHEAD * machine.workers():
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(function: Callable[..., Any], parent: int) -> None:
    settle(parent)
    _held.append(function)


def _call(arguments: tuple) -> Any:
    return _held[-1](*arguments)


def settle(parent: int) -> None:
    """In a fork: one thread, an end with the process `parent`, and no Ctrl-C, which that one gets too and passes on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with(parent)
    threadpool_limits(1)
    gc.freeze()  # what was inherited stays shared: looking it through for garbage would write to it


def _die_with(parent: int) -> None:
    """Has the system kill this process when its parent is gone: it would wait for work for ever."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
