"""One photo in, a 3D shape out, from Python and as the command `oneview`.

    from oneview import load

    network = load()
    shape = network.predict("chair.jpg")
    shape.save("chair.glb")

`network.predict` and `shape.save` are told in `pipeline/answers/`.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.__main__ import commands
from pipeline.runtime import command

if TYPE_CHECKING:  # which waits for torch
    from pipeline.answers.network import Network


def load(checkpoint: str | Path | None = None, system: str | None = None, threshold: float | None = None) -> Network:
    """A trained network that answers photos.

    Args:
        checkpoint: its file, .pt or .safetensors.
        system: instead, an entry of `systems:` that is trained in this folder. Neither, and it is the first of
            `selected_systems` that is, or the network that comes along.
        threshold: of occupancy at the surface; as tuned on validation where there is none.

    Raises:
        ValueError: there is no such file, it is none of a system of this project, or the system takes more than photos.
    """
    from pipeline.answers import network

    return network.load(checkpoint, system, threshold)


def main() -> None:
    """The command `oneview NAME ...`: `python -m pipeline.NAME ...` from any folder."""
    names = commands()
    command.PROGRAMS["oneview"] = "oneview"
    parser = command.parser(
        "oneview", "Commands:\n" + "\n".join(f"  {name:<11} {line}" for name, line in names.items())
    )
    parser.add_argument("command", help="one of these; it says more with --help", choices=names, metavar="COMMAND")
    chosen = parser.parse_args(sys.argv[1:2] or ["--help"]).command
    command.PROGRAMS[module := f"pipeline.{chosen}"] = f"oneview {chosen}"
    sys.argv[:2] = [sys.argv[0]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
