"""Command export: a trained system -> one file that travels, and a card beside it.

    python -m pipeline.export recall --out chairs.safetensors
    python -m pipeline.export r3d --out chairs.onnx --licence "CC BY 4.0"

Writes the best weights of a system: by the end of the name as safetensors, in half precision, with all that `predict
--checkpoint` needs to use them anywhere (see `training/weights.py`); or as an ONNX graph for other runtimes, which is
compared with PyTorch first (see `travel/graph.py`; it needs onnx and onnxruntime). The card, FILE.md, has what it is,
its data, split and figures, the preprocessing, how it was made, and a line for the licence.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pathlib import Path

    from pipeline.runtime.command import argument, run

    run(
        "pipeline.export",
        argument("system", "a trained entry of `systems:`, as r3d", metavar="SYSTEM"),
        argument("--out", "file that ends in .safetensors or .onnx", type=Path, required=True, metavar="FILE"),
        argument("--licence", "of what is exported, for the card", metavar="WORDS"),
    )

from pathlib import Path

from model import channels
from pipeline.runtime.files import atomic_write
from pipeline.scoring.tables import tuned_threshold
from pipeline.training import checkpoints, weights
from pipeline.training.checkpoints import load_checkpoint
from pipeline.travel import graph
from pipeline.travel.card import COMMAND, PYTHON, card

GRAPH = ".onnx"


def main(system: str, out: Path, licence: str | None = None) -> None:
    if out.suffix not in (checkpoints.TRAVELS, GRAPH):
        raise ValueError(f"--out: expected a file ending in {checkpoints.TRAVELS} or {GRAPH}, got '{out}'")
    path = checkpoints.CHECKPOINTS / f"{system}.pt"
    network, config, info = load_checkpoint(path)
    if (threshold := tuned_threshold(system)) is not None:
        info["threshold"] = threshold
    if out.suffix == GRAPH:
        apart = graph.write(out, network, config, info)
        height, width = config.image_size
        names, count = graph.NAMES[network.output], "N" if graph.many(network) else "1"
        outputs = ", ".join(names) if len(names) > 1 else f"({names[0]},)"
        sizes = {"count": count, "channels": channels(config), "height": height, "width": width}
        use = PYTHON.format(name=out.name, outputs=outputs, **sizes)
        told = f"the same as PyTorch's to {apart:.1g}"
    else:
        state = checkpoints.read(path)["state"]
        weights.write(out, info | {"state": state})
        use, told = COMMAND.format(name=out.name), f"{len(state)} tensors"
    beside = out.with_name(f"{out.name}.md")
    with atomic_write(beside) as temporary:
        temporary.write_text(card(out, info, config, network.output, licence, use), encoding="utf-8")
    print(f"{out}: {told}, {out.stat().st_size / 1e6:.1f} MB; {beside} is its card")
