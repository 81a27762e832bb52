from __future__ import annotations

import io

import h5py
import numpy as np
import pytest

from pipeline.geometry.meshes import MeshError
from pipeline.sources import mat
from tests.pipeline.sources.trees import mat as version_5

GRID = (np.random.default_rng(0).random((8, 8, 8)) < 0.3).astype(np.uint8)


def version_73(values: np.ndarray) -> bytes:
    """As MATLAB writes it: a head of 512 bytes, then HDF5, where its column-major arrays have their axes in reverse."""
    content = io.BytesIO()
    with h5py.File(content, "w", userblock_size=512) as file:
        file["input"] = values.transpose()
    data = bytearray(content.getvalue())
    data[:24] = b"MATLAB 7.3 MAT-file, Pla"
    return bytes(data)


@pytest.mark.parametrize("data", [version_5("input", GRID), version_73(GRID)])
def test_both_versions_give_the_axes_of_matlab(data: bytes) -> None:
    assert np.array_equal(mat.read(data, "input").occupancy, GRID == 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"noise" * 100,
        version_5("input", GRID)[:250],
        version_5("other", GRID),
        version_5("input", GRID[:4]),
        version_5("input", GRID[0]),
        version_73(GRID)[:700],
        version_73(GRID[:4]),
    ],
)
def test_refuses_what_is_no_cube(data: bytes) -> None:
    with pytest.raises(MeshError, match="expected a MATLAB file with a cube 'input', got") as caught:
        mat.read(data, "input")
    assert caught.value.reason == "bad_grid"
