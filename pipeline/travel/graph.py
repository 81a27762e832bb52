"""A trained system as an ONNX graph, for runtimes without PyTorch; checked against PyTorch before it is written.

One input, `photos` (N, C, H, W) float32, C = 1, or 3 in colour, each an object by itself. N is free, but 1 for what
deforms a mesh or looks up what it remembers. The output is named by what it is: `occupancy` (N, R, R, R) probabilities,
`points` (N, P, 3), or `vertices` (1, N, 3) and `faces` (M, 3). The metadata has `oneview`, as in weights that travel
(`training/weights.py`), and in words `preprocessing` and `output`.

Format: onnx.ai/onnx/repo-docs/IR.html. Written by PyTorch's exporter that traces, which needs no further library; what
it lacks of `recall` is given here.
"""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model import channels, unseen
from pipeline.runtime.files import atomic_write
from pipeline.training.weights import KEY
from pipeline.travel.words import FRAME, output, preprocessing

OPSET = 18  # the first that resizes without aliasing
NAMES = {"occupancy": ["occupancy"], "points": ["points"], "mesh": ["vertices", "faces"]}
TOLERANCE = 1e-4  # between PyTorch and ONNX Runtime, of probabilities and of coordinates in the unit cube
CAST_UINT8, CAST_INT64 = 2, 7  # ONNX's numbers of types


class Alone(nn.Module):
    """A network whose input are photos (N, C, H, W), each an object by itself, and whose output are tensors alone."""

    def __init__(self, network: Any):
        super().__init__()
        self.network = network

    def forward(self, photos: Tensor) -> Any:
        given = self.network.predict(photos[:, None])
        if self.network.output == "mesh":
            faces = given[0][1] + photos.new_zeros((), dtype=torch.int64)  # a trace wants them to depend on the input
            return torch.stack([vertices for vertices, _ in given]), faces
        return given.float().sigmoid() if self.network.output == "occupancy" else given.float()


def write(path: Path, network: Any, config: Any, about: Mapping[str, Any]) -> float:
    """Writes the graph of a network in eval mode on the CPU.

    Args:
        about: what a checkpoint says beside its weights.

    Returns:
        The largest difference between what PyTorch and ONNX Runtime make of some pictures.

    Raises:
        ValueError: the libraries are missing, it takes more than photos, an operator has no counterpart in ONNX, or
            they differ by more than TOLERANCE.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ValueError(f"--out: expected onnx and onnxruntime, pip install onnx onnxruntime; {error}") from error
    name = about["system"]
    if needed := unseen(config):
        raise ValueError(f"{name}: expected a system that takes photos alone, got one with {needed[0]}")
    alone = Alone(network).eval()
    pictures = torch.rand((2, channels(config), *config.image_size), generator=torch.Generator().manual_seed(0))
    data = traced(alone, pictures[:1], name)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    apart = max(difference(alone, session, part) for part in (pictures[:1], pictures[1:]))
    if many(network):
        apart = max(apart, difference(alone, session, pictures))
    if not apart <= TOLERANCE:
        raise ValueError(f"{name}: expected ONNX Runtime to give what PyTorch does, got differences of {apart:.2g}")
    graph = onnx.load_from_string(data)
    words = {
        KEY: json.dumps(dict(about), sort_keys=True),
        "preprocessing": " ".join(f"{n}. {step}" for n, step in enumerate(preprocessing(config), start=1)),
        "output": f"{output(network.output, config, about.get('threshold', 0.5))}. {FRAME}",
    }
    onnx.helper.set_model_props(graph, words)
    with atomic_write(path) as temporary:
        temporary.write_bytes(graph.SerializeToString())
    return apart


def many(network: Any) -> bool:
    """Whether the graph takes any number of photos at a time."""
    return network.output != "mesh" and not hasattr(network, "remember")


def traced(alone: Alone, pictures: Tensor, name: str) -> bytes:
    """The graph as ONNX; ValueError where an operator has no counterpart."""
    _complete()
    names = NAMES[str(alone.network.output)]
    free = {key: {0: "N"} for key in ("photos", *names)} if many(alone.network) else None
    try:
        with TemporaryDirectory() as folder, warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            path = Path(folder) / "graph.onnx"
            warnings.simplefilter("ignore")  # of what is constant in the trace, which is compared afterwards
            torch.onnx.export(
                alone,
                (pictures,),
                path,
                dynamo=False,
                opset_version=OPSET,
                input_names=["photos"],
                output_names=names,
                dynamic_axes=free,
            )
            return path.read_bytes()
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{name}: expected operators that ONNX has, got: {reason}") from error


def difference(alone: Alone, session: Any, pictures: Tensor) -> float:
    """The largest between PyTorch's answers and ONNX Runtime's."""
    with torch.inference_mode():
        expected = alone(pictures)
    expected = expected if isinstance(expected, tuple) else (expected,)
    found = session.run(None, {"photos": pictures.numpy()})
    return max(float(np.abs(a.numpy() - b).max()) for a, b in zip(expected, found, strict=True))


def _complete() -> None:
    """Operators that PyTorch's exporter lacks, or writes so that a runtime can't read them."""
    from torch.onnx import register_custom_op_symbolic

    for operator, symbolic in (
        ("_upsample_bilinear2d_aa", _shrunk),
        ("atan2", _atan2),
        ("hypot", _hypot),
        ("__and__", _both),
        ("scatter_reduce", _scattered),
    ):
        register_custom_op_symbolic(f"aten::{operator}", symbolic, OPSET)


def _shrunk(g: Any, x: Any, size: Any, *_: Any) -> Any:
    """Bilinear, what is shrunk averaged."""
    from torch.onnx.symbolic_helper import _is_packed_list, _unpack_list, _unsqueeze_helper

    def constant(value: Any, kind: torch.dtype = torch.int64) -> Any:
        return g.op("Constant", value_t=torch.tensor(value, dtype=kind))

    sides = [_unsqueeze_helper(g, side, [0]) for side in _unpack_list(size)] if _is_packed_list(size) else [size]
    whole = [g.op("Cast", side, to_i=CAST_INT64) for side in sides]
    shape = g.op("Concat", g.op("Slice", g.op("Shape", x), constant([0]), constant([2])), *whole, axis_i=0)
    none = constant([], torch.float32)
    return g.op("Resize", x, none, none, shape, mode_s="linear", antialias_i=1, exclude_outside_i=1)


def _atan2(g: Any, y: Any, x: Any) -> Any:
    """0 where both are, as in PyTorch, and not NaN."""

    def constant(value: float) -> Any:
        return g.op("Constant", value_t=torch.tensor(value))

    zero, left, below = constant(0.0), g.op("Less", x, constant(0.0)), g.op("Less", y, constant(0.0))
    nowhere = g.op("And", g.op("Equal", x, zero), g.op("Equal", y, zero))
    slope = g.op("Atan", g.op("Div", y, g.op("Where", nowhere, constant(1.0), x)))
    turn = g.op("Where", left, g.op("Where", below, constant(-torch.pi), constant(torch.pi)), zero)
    return g.op("Add", slope, turn)


def _hypot(g: Any, a: Any, b: Any) -> Any:
    return g.op("Sqrt", g.op("Add", g.op("Mul", a, a), g.op("Mul", b, b)))


def _both(g: Any, a: Any, b: Any) -> Any:
    """Of octets."""
    return g.op("BitwiseAnd", a, g.op("Cast", b, to_i=CAST_UINT8))


def _scattered(g: Any, x: Any, axis: Any, index: Any, source: Any, *_: Any) -> Any:
    """The least value at each place."""
    from torch.onnx.symbolic_helper import _parse_arg

    return g.op("ScatterElements", x, index, source, axis_i=_parse_arg(axis, "i"), reduction_s="min")
