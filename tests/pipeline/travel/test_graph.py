from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import model
from pipeline.scoring.predictions import predict
from pipeline.travel import graph
from tests.systems import CONFIGS, VIEW, created

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
SIZE = VIEW["image_size"]


class Constant(nn.Module):
    """A network of one operator, on its pictures."""

    output = "points"

    def __init__(self, operator: Any):
        super().__init__()
        self.operator = operator

    def predict(self, images: Tensor) -> Tensor:
        return self.operator(images.flatten(1)[:, :3, None])


def write(path: Path, name: str, network: Any = None) -> float:
    about = {"system": name, "threshold": 0.35, "splits": {"train": "abc"}}
    return graph.write(path, network or created(name).eval(), CONFIGS.get(name, CONFIGS["r3d"]), about)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_every_system_answers_as_in_pytorch(tmp_path: Path, name: str) -> None:
    network = created(name).eval()
    assert write(tmp_path / "a.onnx", name, network) < 1e-5
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"))
    onnx.checker.check_model(tmp_path / "a.onnx", full_check=True)
    rng = np.random.default_rng(1)
    count = 3 if graph.many(network) else 1
    pictures = rng.random((count, 1, *SIZE), np.float32)
    found = session.run(None, {"photos": pictures})
    for n, expected in enumerate(predict(network, torch.from_numpy(pictures)[:, None])):
        if expected.mesh is not None:
            assert np.abs(found[0][n] - expected.mesh[0]).max() < 1e-5 and np.array_equal(found[1], expected.mesh[1])
        else:
            wanted = expected.points if expected.field is None else expected.field
            assert wanted is not None and np.abs(found[0][n] - wanted).max() < 1e-5
    assert [given.name for given in session.get_outputs()] == graph.NAMES[str(network.output)]


def test_a_graph_in_colour_takes_three_channels(tmp_path: Path) -> None:
    config = replace(CONFIGS["view2points"], color=True)
    network = model.create("view2points", config).eval()
    graph.write(tmp_path / "a.onnx", network, config, {"system": "mine"})
    (given,) = onnxruntime.InferenceSession(str(tmp_path / "a.onnx")).get_inputs()
    assert given.shape == ["N", 3, *SIZE]
    words = {each.key: each.value for each in onnx.load(tmp_path / "a.onnx").metadata_props}
    assert "red, green and blue" in words["preprocessing"] and f"3 x {SIZE[0]} x {SIZE[1]}" in words["preprocessing"]


def test_the_metadata_tell_what_goes_in_and_what_comes_out(tmp_path: Path) -> None:
    write(tmp_path / "a.onnx", "view2voxel")
    told = {entry.key: entry.value for entry in onnx.load(tmp_path / "a.onnx").metadata_props}
    assert json.loads(told["oneview"])["splits"] == {"train": "abc"}
    assert "1. Cut the object out" in told["preprocessing"] and "32 x 32 float32" in told["preprocessing"]
    assert "full is what exceeds 0.35" in told["output"] and "+Y up" in told["output"]


def test_what_can_not_be_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.onnx"
    with pytest.raises(ValueError, match="mine: expected operators that ONNX has, got: .*aten::special_erfcx"):
        write(path, "mine", Constant(torch.special.erfcx))
    drawn = iter(torch.arange(10.0))
    with pytest.raises(ValueError, match="mine: expected ONNX Runtime to give what PyTorch does, got differences of"):
        write(path, "mine", Constant(lambda values: values + next(drawn)))
    depth = type("Config", (), {"depth": True, "image_size": SIZE})
    with pytest.raises(ValueError, match="mine: expected a system that takes photos alone, got one with depth"):
        graph.write(path, Constant(torch.exp), depth, {"system": "mine"})
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match="--out: expected onnx and onnxruntime, pip install onnx onnxruntime"):
        write(path, "mine", Constant(torch.exp))
    assert not path.exists()
