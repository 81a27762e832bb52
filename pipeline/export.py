"""Command export: a trained system -> one small file that travels.

    python -m pipeline.export recall --out chairs.safetensors

Writes the best weights of a system, in half precision, with all that `predict --checkpoint` needs to use them anywhere:
its configuration, the threshold that the metrics stage tuned, and where it comes from (see `training/weights.py`).
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pathlib import Path

    from pipeline.runtime.command import argument, run

    run(
        "pipeline.export",
        argument("system", "a trained entry of `systems:`, as r3d", metavar="SYSTEM"),
        argument("--out", "file that ends in .safetensors", type=Path, required=True, metavar="FILE"),
    )

from pathlib import Path

from pipeline.scoring.tables import tuned_threshold
from pipeline.training import checkpoints, weights


def main(system: str, out: Path) -> None:
    if out.suffix != checkpoints.TRAVELS:
        raise ValueError(f"--out: expected a file ending in {checkpoints.TRAVELS}, got '{out}'")
    contents = checkpoints.read(checkpoints.CHECKPOINTS / f"{system}.pt")
    if (threshold := tuned_threshold(system)) is not None:
        contents["threshold"] = threshold
    weights.write(out, contents)
    tensors = contents["state"].values()
    print(f"{out}: {len(tensors)} tensors, {out.stat().st_size / 1e6:.1f} MB")
