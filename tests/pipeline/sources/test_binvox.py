from __future__ import annotations

import io

import numpy as np
import pytest
from pytorch3d.datasets.r2n2.utils import read_binvox_coords
from trimesh.exchange.binvox import load_binvox

from pipeline.geometry.meshes import MeshError
from pipeline.sources import binvox
from tests.pipeline.sources import trees

NOISE = np.random.default_rng(0).random((16, 16, 16)) < 0.3


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning")  # in PyTorch3D's reader
def test_same_cells_as_other_readers() -> None:
    data = trees.binvox(NOISE)
    found = binvox.read(data).occupancy
    assert np.array_equal(found, NOISE)
    assert np.array_equal(found, load_binvox(io.BytesIO(data)).matrix)
    header, _, runs = data.partition(b"# generated in `trimesh`\n")  # which PyTorch3D does not expect
    coordinates = read_binvox_coords(io.BytesIO(header + runs))
    assert {*map(tuple, np.argwhere(found).tolist())} == {*map(tuple, coordinates.int().tolist())}  # in another order


def test_long_runs_and_where_cells_lie() -> None:
    grid = np.zeros((32, 32, 32), bool)
    grid[3, 5, 7] = True
    found = binvox.read(trees.binvox(grid, (1.0, 2.0, 3.0), 4.0))
    assert np.array_equal(found.occupancy, grid)
    cube = (np.array([3, 5, 7]) + 0.5) / 32 - 0.5
    expected = np.array([1, 2, 3]) + 4 * (np.array([3, 5, 7]) + 0.5) / 32
    assert np.allclose(found.affine @ [*cube, 1], [*expected, 1])


HEAD = b"#binvox 1\ndim 2 2 2\ntranslate 0 0 0\nscale 1\ndata\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        HEAD,
        HEAD + b"\x01\x07",
        HEAD + b"\x01\x09",
        HEAD + b"\x01\x08\x00",
        HEAD + b"\x02\x08",
        HEAD.replace(b"2 2 2", b"2 2 3") + b"\x01\x0c",
        HEAD.replace(b"2 2 2", b"9999999 9999999 9999999") + b"\x01\x08",
        HEAD.replace(b"scale 1", b"scale nan") + b"\x01\x08",
        HEAD.replace(b"scale 1\n", b"") + b"\x01\x08",
        HEAD.replace(b"0 0 0", b"0 0") + b"\x01\x08",
        HEAD.replace(b"#binvox", b"#vox") + b"\x01\x08",
    ],
)
def test_refuses_what_is_no_whole_cube(data: bytes) -> None:
    with pytest.raises(MeshError, match="expected") as caught:
        binvox.read(data)
    assert caught.value.reason == "bad_grid"


def test_the_smallest_whole_cube() -> None:
    assert binvox.read(HEAD + b"\x01\x08").occupancy.tolist() == np.ones((2, 2, 2), bool).tolist()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_what_is_written_is_read_here_and_by_trimesh(share: float) -> None:
    grid = np.random.default_rng(0).random((32, 32, 32)) < share
    data = binvox.write(grid, np.array([-0.5, 0.25, 1]), 2.0)
    found = binvox.read(data)
    assert np.array_equal(found.occupancy, grid)
    assert np.allclose(found.affine @ [0.5, 0.5, 0.5, 1], [1.5, 2.25, 3, 1])  # the far corner
    assert np.array_equal(load_binvox(io.BytesIO(data)).matrix, grid)


def test_a_cell_lies_where_it_was_written() -> None:
    """As Patrick Min's page has it: translate + scale * (index + 0.5) / dim."""
    grid = np.zeros((4, 4, 4), bool)
    grid[1, 2, 3] = True
    head, _, runs = binvox.write(grid, np.array([1, 2, 3]), 8.0).partition(b"data\n")
    assert head == b"#binvox 1\ndim 4 4 4\ntranslate 1 2 3\nscale 8\n"
    # x slowest, then z, then y: cell 1 * 16 + 3 * 4 + 2 of 64
    assert [*runs] == [0, 30, 1, 1, 0, 33]
