from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from pipeline.findings.finding import Finding
from pipeline.findings.grids import look
from pipeline.sources import binvox

SHELL = np.zeros((16, 16, 16), bool)
SHELL[3:13, 4:12, 5:11] = True
SHELL[4:12, 5:11, 6:10] = False  # 8 x 6 x 4 hidden cells in 480
FULL = SHELL.sum()


def faults(finding: Finding) -> list[str]:
    return [check.fault for check in finding.checks if check.fault]


def test_a_binvox_grid_is_told_with_its_cube(tmp_path: Path) -> None:
    (tmp_path / "a.binvox").write_bytes(binvox.write(SHELL, np.array([-0.5, 0, 1]), 2.0))
    finding = look(tmp_path / "a.binvox")
    assert finding.kind == "binvox grid" and not finding.faulty
    assert finding.facts["cube"] == "corner at (-0.5, 0, 1), side 2"
    assert finding.facts["cells"] == f"16³, {FULL / 4096:.2%} of them full"
    assert finding.facts["fills"] == "x 3 to 12, y 4 to 11, z 5 to 10" and finding.facts["pieces"] == "1"
    assert finding.facts["hollows"].startswith("192 free cells are enclosed")
    assert finding.picture is not None and finding.picture().width > 400


def test_the_same_grid_of_other_formats(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", SHELL)
    np.savez(tmp_path / "a.npz", cells=SHELL.astype(np.float32))
    scipy.io.savemat(tmp_path / "a.mat", {"voxel": SHELL.astype(np.uint8), "note": np.ones(3)})
    with h5py.File(tmp_path / "b.mat", "w", userblock_size=512) as file:
        file["voxel"] = SHELL.transpose().astype(np.uint8)
    data = (tmp_path / "b.mat").read_bytes()
    (tmp_path / "b.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(128) + data[128:])
    for name in ("a.npy", "a.npz", "a.mat", "b.mat"):
        finding = look(tmp_path / name)
        assert finding.facts["fills"] == "x 3 to 12, y 4 to 11, z 5 to 10", name
        assert not finding.faulty, name


def test_what_predict_writes_has_to_agree_with_itself(tmp_path: Path) -> None:
    probability = np.where(SHELL, 0.7, 0.2).astype(np.float32)
    whole: dict[str, Any] = {"probability": probability, "occupancy": SHELL, "threshold": np.array(0.4)}
    np.savez(tmp_path / "a.npz", **whole)
    assert not look(tmp_path / "a.npz").faulty
    np.savez(tmp_path / "b.npz", **whole | {"threshold": np.array(0.8)})
    assert faults(look(tmp_path / "b.npz")) == [f"{FULL} differ"]
    np.savez(tmp_path / "c.npz", **whole | {"occupancy": SHELL & False})
    assert "all are free" in faults(look(tmp_path / "c.npz"))


def test_arrays_that_are_no_grid_are_listed(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", names=np.array(["a"]), values=np.array([1.0, np.nan]))
    finding = look(tmp_path / "a.npz")
    assert finding.facts == {"names": "1 <U1", "values": "2 float64"} and finding.picture is None
    assert faults(finding) == ["some are not"]


def test_damaged_arrays_are_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", points=np.arange(300.0))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[60:160] = bytes(byte ^ 90 for byte in data[60:160])
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.npz: .*decompressing"):
        look(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["a.binvox", "a.npy", "a.npz", "a.mat"])
def test_what_is_none_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=f"{name}: "):
        look(tmp_path / name)
