"""What there is to run: stages and commands.

python -m pipeline
"""

from __future__ import annotations

import ast
from pathlib import Path

from pipeline.runtime.command import parser

ROAD = ("synthesize", "catalog", "render", "voxelize", "pack", "train", "baselines", "metrics", "compare", "report")


def summaries() -> dict[str, str]:
    """The name of every module that can be run -> what its docstring begins with; nothing is imported."""
    lines = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        document = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        lines[path.stem] = document.partition("\n")[0].partition(": ")[2].rstrip(".")
    return lines


def commands() -> dict[str, str]:
    """`summaries` of what is no stage."""
    return {name: line for name, line in summaries().items() if name not in ROAD}


def main() -> None:
    parser("pipeline", __doc__).parse_args()
    lines = summaries()
    groups: dict[str, tuple[str, ...]] = {"Stages, in the order of the road (`dvc repro` runs them)": ROAD}
    groups["Commands"] = tuple(commands())
    for title, names in groups.items():
        print(f"{title}:", *(f"  {name:<11} {lines[name]}" for name in names), "", sep="\n")
    print("Each is run by `python -m pipeline.NAME`, and says more with --help.")


if __name__ == "__main__":
    main()
