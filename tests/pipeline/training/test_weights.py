from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from pipeline.training import weights

STATE = {"a.weight": torch.tensor([[1.0, -2.5], [1e-3, 4.0]]), "n": torch.tensor(7), "b": torch.tensor([True, False])}


def written(path: Path) -> Path:
    weights.write(path, {"system": "s", "config": {"size": [2, 3]}, "threshold": 0.35, "state": STATE})
    return path


def test_what_is_read_is_what_was_written_in_half_precision(tmp_path: Path) -> None:
    found = weights.read(written(tmp_path / "w.safetensors"))
    assert {k: v for k, v in found.items() if k != "state"} == {
        "system": "s",
        "config": {"size": [2, 3]},
        "threshold": 0.35,
    }
    assert found["state"].keys() == STATE.keys()
    assert torch.equal(found["state"]["a.weight"], STATE["a.weight"].half())
    assert torch.equal(found["state"]["n"], STATE["n"]) and torch.equal(found["state"]["b"], STATE["b"])


def test_the_file_is_as_the_format_says(tmp_path: Path) -> None:
    """Eight bytes of a length, so much JSON, then the tensors' bytes: github.com/huggingface/safetensors, "Format"."""
    data = written(tmp_path / "w.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    assert header["a.weight"]["dtype"] == "F16" and header["a.weight"]["shape"] == [2, 2]
    begin, end = header["a.weight"]["data_offsets"]
    assert data[8 + length :][begin:end] == STATE["a.weight"].half().numpy().tobytes()
    assert json.loads(header["__metadata__"]["oneview"])["threshold"] == 0.35


def test_the_same_contents_are_the_same_bytes(tmp_path: Path) -> None:
    a, b = (hashlib.sha256(written(tmp_path / name).read_bytes()).digest() for name in ("a", "b"))
    assert a == b


def test_damage_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "w.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="w.safetensors: expected the tensors whose checksum is in the file"):
        weights.read(path)
    for broken in (data[: len(data) // 2], b"", b"PK\x03\x04"):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="w.safetensors: expected weights in the safetensors format, got "):
            weights.read(path)
    path.write_bytes(save({"a": torch.zeros(2)}))
    with pytest.raises(ValueError, match="expected weights of a system of this project, got others, without 'oneview'"):
        weights.read(path)
    with pytest.raises(ValueError, match="gone.safetensors: expected the weights of a system, found no file"):
        weights.read(tmp_path / "gone.safetensors")
