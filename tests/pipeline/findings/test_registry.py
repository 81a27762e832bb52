from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from pipeline.findings.registry import look


def test_the_end_of_a_name_tells_the_kind_whatever_its_case(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(3))
    (tmp_path / "a.npy").rename(tmp_path / "a.NPY")
    assert look(tmp_path / "a.NPY").kind == "NumPy array"
    trimesh.creation.box().export(tmp_path / "box.dae")
    assert look(tmp_path / "box.dae").kind == "mesh"


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a folder"):
        look(tmp_path)
    with pytest.raises(ValueError, match="expected a file, found none"):
        look(tmp_path / "no.h5")
    (tmp_path / "a.txt").write_text("words")
    with pytest.raises(ValueError, match=r"a.txt: expected a shard \(.h5\), .* got a name that ends in '.txt'"):
        look(tmp_path / "a.txt")
