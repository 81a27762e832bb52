"""How a stage is run from the command line, and how it shows how far it is."""

from __future__ import annotations

import importlib
import os
import signal
import sys

from tqdm import tqdm


def run(module: str) -> None:
    """Calls `main()` of a module, and ends with one line on standard error where it refuses its input.

    The module is imported under its own name, so that worker processes import it too instead of receiving a copy of
    what Python calls `__main__`. ONEVIEW_TRACEBACK=1 shows where an error comes from.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to tidy up, as after Ctrl-C
    try:
        importlib.import_module(module).main()
    except (ValueError, OSError) as error:
        if os.environ.get("ONEVIEW_TRACEBACK"):
            raise
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; run it again to go on from here")


def progress(label: str, total: int, unit: str, done: int = 0, shown: bool = True) -> tqdm:
    """A progress bar on standard output, drawn less often where that is no terminal but a log."""
    interval = 0.1 if sys.stdout.isatty() else 10
    return tqdm(
        desc=label, total=total, unit=unit, initial=done, disable=not shown, file=sys.stdout, mininterval=interval
    )
