"""How a stage or command is run from the command line, and how it shows how far it is."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from tqdm import tqdm

from pipeline.runtime.files import told

STOPPED = "stopped; run it again to go on from here"
PROGRAMS: dict[str, str] = {}  # what else than `python -m MODULE` a module is called by
Argument = tuple[str, dict[str, Any]]


def argument(name: str, meaning: str, **options: Any) -> Argument:
    """What argparse's `add_argument` takes, and what --help says of it."""
    return name, {"help": meaning, **options}


CATEGORY = argument("category", "an entry of dataset.categories in params.yaml")
PART = (  # of an array of jobs
    argument("--rank", "make one part of N alone, into the cache; this is which, from 0", type=int, metavar="RANK"),
    argument(
        "--world-size",
        "how many jobs there are; without both, as a SLURM array says",
        type=int,
        metavar="N",
    ),
)
SYSTEM = argument("system", "an entry of selected_systems in params.yaml")


def run(module: str, *arguments: Argument) -> NoReturn:
    """Parses the arguments, imports a module and calls its `main` with them, by name; then the process ends.

    A module calls this before its own imports where it is what Python calls `__main__`: --help (the docstring), a wrong
    argument and Ctrl-C wait for no library, and nothing is touched. It is imported under its own name, so that worker
    processes import it too instead of receiving a copy. Refused input ends with one line on standard error;
    ONEVIEW_TRACEBACK=1 shows where it comes from.
    """
    given = vars(parser(module, sys.modules["__main__"].__doc__, *arguments).parse_args())
    warnings.simplefilter("ignore", FutureWarning)  # which libraries have for those who program with them
    try:
        with importing():
            main = importlib.import_module(module).main
        _on_stop(signal.default_int_handler)  # to tidy up
        main(**given)
        sys.exit()
    except (ValueError, OSError) as error:
        if os.environ.get("ONEVIEW_TRACEBACK"):
            raise
        sys.exit(line(error))
    except KeyboardInterrupt:
        sys.exit(STOPPED)


def line(error: BaseException) -> str:
    """An error in one line."""
    return f"error: {' '.join(part.strip() for part in told(error).splitlines())}"


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the process at once in the block, whose imports would swallow an exception."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    _on_stop(_leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(*_: object) -> NoReturn:
    os.write(2, f"{STOPPED}\n".encode())
    os._exit(1)


def _on_stop(handler: Callable[..., Any]) -> None:
    """What SIGTERM does, and Ctrl-C where it is not ignored, as it is in a shell's background."""
    signal.signal(signal.SIGTERM, handler)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


def parser(module: str, document: str | None, *arguments: Argument) -> argparse.ArgumentParser:
    """The parser of a module: how it is called, what its docstring says, its arguments."""
    program = PROGRAMS.get(module, by_python := f"python -m {module}")
    made = argparse.ArgumentParser(
        program,
        description=(document or "").replace(by_python, program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for name, options in arguments:
        made.add_argument(name, **options)
    return made


def progress(label: str, total: int, unit: str, done: int = 0, shown: bool = True) -> tqdm:
    """A progress bar on standard output, which leaves one line; where that is a log, there is nothing else of it."""
    kind = Bar if sys.stdout.isatty() else Line
    return kind(desc=label, total=total, unit=unit, initial=done, disable=not shown, file=sys.stdout, miniters=1)


class Bar(tqdm):
    """A bar without tqdm's thread that watches it: workers are forked, and a fork among threads may hang."""

    monitor_interval = 0


class Line(Bar):
    """A bar where there is no terminal: drawn once, when it ends."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        if self.disable:  # it is being closed
            self.fp.write(str(self))

    def clear(self, nolock: bool = False) -> None:
        """Nothing was drawn."""
