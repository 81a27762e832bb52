"""How a stage is run from the command line."""

from __future__ import annotations

import importlib
import os
import sys


def run(module: str) -> None:
    """Calls `main()` of a module, and ends with one line on standard error where it refuses its input.

    The module is imported under its own name, so that worker processes import it too instead of receiving a copy of
    what Python calls `__main__`. ONEVIEW_TRACEBACK=1 shows where an error comes from.
    """
    try:
        importlib.import_module(module).main()
    except (ValueError, OSError) as error:
        if os.environ.get("ONEVIEW_TRACEBACK"):
            raise
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; run it again to go on from here")
