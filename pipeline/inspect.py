"""Command inspect: what is in a file, whether it is whole, and a picture of it.

    python -m pipeline.inspect data/shards/03001627/test-000.h5
    python -m pipeline.inspect chair.glb --picture chair.png

Looks into shards, record archives (data/renders, data/voxels), meshes and point clouds of any format that the project
reads, grids (binvox, NPY, NPZ, MAT), trained systems (.pt, .safetensors) and photos: what each holds, and what is wrong
with it. Ends with code 0 where nothing is, 1 where a check found a fault, 2 where a file can't be read.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pathlib import Path

    from pipeline.runtime.command import argument, run

    run(
        "pipeline.inspect",
        argument("paths", "files to look into", type=Path, nargs="+", metavar="PATH"),
        argument("--picture", "write a picture of what is in it as well, of one file", type=Path, metavar="FILE.png"),
    )

import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.findings.registry import look
from pipeline.runtime.command import line
from pipeline.runtime.files import atomic_write

FAULTY, UNREADABLE = 1, 2  # codes of the process


def main(paths: Sequence[Path], picture: Path | None = None) -> None:
    """Tells of each file; SystemExit with a code where one is faulty or can't be read."""
    if picture is not None and len(paths) > 1:
        raise ValueError(f"--picture: expected one file to draw, got {len(paths)}")
    if picture is not None and picture.suffix.lower() != ".png":
        raise ValueError(f"--picture: expected a file ending in .png, got '{picture}'")
    code = 0
    for number, path in enumerate(paths):
        try:
            finding = look(path)
        except (ValueError, OSError) as error:
            print(line(error), file=sys.stderr)
            code = UNREADABLE
            continue
        print("\n" * bool(number) + finding.text(str(path)))
        code = max(code, FAULTY * finding.faulty)
        if picture is not None:
            if finding.picture is None:
                raise ValueError(f"--picture: expected something to draw in {path}, found nothing")
            with atomic_write(picture) as temporary:
                finding.picture().save(temporary, "PNG")
            print(f"\n{picture}: its picture")
    if code:
        sys.exit(code)
