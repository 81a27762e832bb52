from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.findings.archives import look
from tests.samples import box_sample

HALF = np.array([0.1, 0.2, 0.4])


def archive(path: Path, names: tuple[str, ...], *keys: str, size: int = 16) -> Path:
    rows = {name: box_sample(name, HALF, size).rows() for name in names}
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("rejects.json", json.dumps({"r1": ["no_area", "expected a face"], "r0": ["timeout", "too long"]}))
        for name, arrays in rows.items():
            whole = io.BytesIO()
            chosen: dict[str, Any] = {key: arrays[key] for key in keys}
            np.savez(whole, **chosen)
            file.writestr(f"{name}.npz", whole.getvalue())
    return path


def test_views_and_grids_are_told(tmp_path: Path) -> None:
    views = look(archive(tmp_path / "a.zip", ("a", "b"), "views", "masks", "cameras", "world_to_view"))
    assert views.kind == "record archive of views" and views.facts["models"] == "2" and not views.faulty
    assert views.facts["rejected"] == "2 (1 no_area, 1 timeout), as r0"
    assert "views 3x48x64 uint8" in views.facts["each has"]
    grids = look(archive(tmp_path / "b.zip", ("a", "b"), "occupancy", "points", "affine", "notes"))
    assert grids.kind == "record archive of grids and points" and not grids.faulty
    for finding in (views, grids):
        assert finding.picture is not None and finding.picture().width > 400


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", ("a", "b"), "occupancy", "points", "affine", "notes")
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as file:
        start = file.getinfo("b.npz").header_offset
    data[start + 3000] ^= 255
    path.write_bytes(data)
    (check,) = [check for check in look(path).checks if check.fault]
    assert check.what == "all can be read" and check.fault.startswith("1 of 2 models fail, as b: ")


def test_another_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("model.obj", "v 0 0 0")
    (tmp_path / "b.zip").write_bytes(b"no")
    for name in ("a.zip", "b.zip"):
        with pytest.raises(ValueError, match=f"{name}: expected an archive of records"):
            look(tmp_path / name)
