from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.findings.shards import look
from pipeline.shards import layout
from tests.samples import SYNSETS, box_sample, opened, write_boxes

HALF = np.array([0.1, 0.2, 0.4])


def sample(name: str = "b", half: np.ndarray = HALF) -> layout.Sample:
    """A box with cameras: seen along the axes by an almost parallel projection, so that its outline is a rectangle."""
    return box_sample(name, half, 32)


def shard(path: Path, *samples: layout.Sample) -> Path:
    split = path.name.rpartition("-")[0]
    layout.write(path, iter(samples), len(samples), SYNSETS[0], split, "f", "hash")
    return path


def faults(path: Path) -> dict[str, str]:
    return {check.what: check.fault for check in look(path).checks if check.fault}


def test_a_shard_is_told(tmp_path: Path) -> None:
    path = write_boxes(tmp_path, 16) / SYNSETS[0] / "test-000.h5"
    finding = look(path)
    with h5py.File(path) as file:
        ids = [value.decode() for value in file["model_id"]]
    assert finding.facts["models"].startswith(f"{len(ids)} of ") and ", test, split by " in finding.facts["models"]
    assert finding.facts["split hash"].startswith(layout.split_sha256((SYNSETS[0], name) for name in ids))
    assert finding.facts["views"] == "3 of 48x64" and finding.facts["grids"].startswith("16³ cells, ")
    assert finding.facts["points"] == "500 a model"
    assert finding.picture is not None and finding.picture().width > 600


def test_a_damaged_row_is_found_and_named(tmp_path: Path) -> None:
    path = shard(tmp_path / "train-000.h5", sample("a"), sample("b"))
    with h5py.File(path, "r+") as file:
        file["points"][1, 0] += 0.001
    name = "all can be read and have their checksum"
    assert faults(path)[name] == "1 of 2 models fail, as b: points is not what its checksum says"


def test_grids_points_and_notes_that_disagree_are_found(tmp_path: Path) -> None:
    path = shard(tmp_path / "train-000.h5", sample("a"), sample("b"))
    with opened(path) as file:
        file["points"][1] = file["points"][1] + np.float32(0.25)
        file["notes"][0, 0] = 0.5
    found = faults(path)
    assert found["grids and points agree"].startswith("1 of 2 models fail, as b: ")
    filled = f"{sample().occupancy.mean():.2%}"
    assert found["grids are neither free nor full, and filled as noted"] == (
        f"1 of 2 models fail, as a: {filled} of the cells are full, its note says 50.00%"
    )


def test_a_view_of_nothing_and_models_twice_or_in_another_order(tmp_path: Path) -> None:
    path = shard(tmp_path / "train-000.h5", sample("b"), sample("a"), sample("a"))
    with opened(path) as file:
        file["masks"][1, 2] = 0
    found = faults(path)
    assert found["every view shows an object"] == "1 of 3 models fail, as a: view 2 shows no object"
    assert found["models are in order, each once"] == "a: it is there twice"
    assert faults(shard(tmp_path / "val-000.h5", sample("d"), sample("c")))["models are in order, each once"]


def test_a_model_in_two_splits_is_found_but_a_variant_of_a_training_model_is_none(tmp_path: Path) -> None:
    train, test = (shard(tmp_path / f"{split}-000.h5", sample("a"), sample(split)) for split in ("train", "test"))
    what = "no model is in another shard beside it"
    assert faults(train)[what] == "1 are in test-000.h5, as a" and faults(test)[what] == "1 are in train-000.h5, as a"
    shard(tmp_path / "test-000.h5", sample("z"))
    variants = shard(tmp_path / "variants-000.h5", sample("a~1"))
    assert what not in faults(variants) and what not in faults(train)
    shard(tmp_path / "variants-000.h5", sample("z~1"))
    assert what in faults(variants) and what in faults(test)


def test_other_arrays_than_the_layouts_are_told(tmp_path: Path) -> None:
    path = shard(tmp_path / "train-000.h5", sample("a"))
    with h5py.File(path, "r+") as file:
        del file["affine"]
    assert faults(path) == {"arrays are those of the layout": "expected affine, found none"}
    with h5py.File(path, "r+") as file:
        file["affine"] = np.zeros((1, 3, 3))
    assert faults(path) == {
        "arrays are those of the layout": "expected affine (1, 4, 4) float64, got (1, 3, 3) float64"
    }
    (tmp_path / "no.h5").write_bytes(b"no")
    with pytest.raises(ValueError, match="no.h5: expected an HDF5 shard"):
        look(tmp_path / "no.h5")
