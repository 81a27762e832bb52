"""A variable of a MATLAB file: version 5 by SciPy; version 7.3, which is HDF5 with its axes in reverse, by h5py."""

from __future__ import annotations

import io

import numpy as np

from pipeline.geometry.meshes import MeshError
from pipeline.sources.layout import Grid

MAX_SIDE = 1024


def read(data: bytes, variable: str) -> Grid:
    """The cubic grid of a variable, full where it is not 0, in the axes of the file; its affine is the identity.

    Raises:
        MeshError: `bad_grid`: it is no MATLAB file, or has no such variable, or that is no cube of numbers.
    """
    try:
        load = _version_73 if data.startswith(b"MATLAB 7.3") else _version_5
        values = load(data, variable)
    except Exception as error:  # SciPy's reader raises whatever its parser raises
        if isinstance(error, MemoryError):
            raise
        found = f"{type(error).__name__}: {error}"
        raise MeshError("bad_grid", f"expected a MATLAB file with a cube '{variable}', got {found}") from error
    return Grid(values != 0, np.eye(4))


def _version_5(data: bytes, variable: str) -> np.ndarray:
    from scipy.io import loadmat, whosmat

    shapes = {name: shape for name, shape, _ in whosmat(io.BytesIO(data))}
    _check(shapes[variable])  # before it is unpacked
    return np.asarray(loadmat(io.BytesIO(data), variable_names=[variable])[variable])


def _version_73(data: bytes, variable: str) -> np.ndarray:
    import h5py

    with h5py.File(io.BytesIO(data), "r") as file:
        _check(file[variable].shape)
        return file[variable][()].transpose()


def _check(shape: tuple[int, ...]) -> None:
    if len(shape) != 3 or len(set(shape)) != 1 or not 1 <= shape[0] <= MAX_SIDE:
        raise ValueError(f"shape {shape}")
