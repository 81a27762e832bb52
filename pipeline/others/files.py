"""A file of a shape -> a prediction, in the file's own coordinates.

    .obj .off .ply .stl .glb ...    a mesh, in any format of `geometry/meshes.py`; points where there are no faces
    .xyz .pts                       points, the first three numbers of a line
    .npy .npz                       points (P, 3), or a grid (R, R, R) of probabilities or bool, indexed [x, y, z]; of
                                    several arrays `probability`, `occupancy` or `points`, as `predict` writes them
    .binvox                         a grid

A grid fills the unit cube, whatever its header says of place and size.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from pipeline.geometry import meshes
from pipeline.geometry.meshes import MeshError
from pipeline.geometry.readers import points
from pipeline.scoring.predictions import Prediction
from pipeline.sources import binvox

TEXTS, ARRAYS, GRID = tuple(f".{name}" for name in points.EXTENSIONS), (".npy", ".npz"), ".binvox"
MESHES = tuple(f".{name}" for name in meshes.FORMATS)
ENDINGS = (*MESHES, *TEXTS, *ARRAYS, GRID)
ARRAY_NAMES = ("probability", "occupancy", "points")


def read(path: Path) -> Prediction:
    """The shape in a file; ValueError where there is none, or one that is not finite."""
    ending, data = path.suffix.lower(), path.read_bytes()
    if ending == GRID:
        return Prediction(field=binvox.read(data).occupancy.astype(np.float32))
    if ending in ARRAYS:
        return _of_array(_array(data))
    if ending in TEXTS:
        return _of_array(points.read(data))
    try:
        mesh = meshes.load(path)
    except MeshError as error:
        if error.reason in ("no_faces", "unreadable") and (cloud := meshes.points(path)) is not None:
            return _of_array(cloud)
        raise
    return Prediction(mesh=(_single(mesh.vertices), mesh.faces))


def kind(prediction: Prediction) -> str:
    """What it is, in words, with the side of a grid."""
    if prediction.field is not None:
        return f"a grid of {len(prediction.field)}"
    return "a mesh" if prediction.points is None else "points"


def _of_array(values: np.ndarray) -> Prediction:
    if values.dtype.kind not in "fiub":
        raise ValueError(f"expected numbers, got {values.dtype}")
    values = _single(values)
    while values.ndim > 2 and len(values) == 1:  # a network's output often has axes of length 1 in front
        values = values[0]
    if values.ndim == 2 and values.shape[1] == 3 and len(values):
        return Prediction(points=values)
    values = values.squeeze()
    if values.ndim != 3 or len(set(values.shape)) != 1 or values.min() < 0 or values.max() > 1:
        found = f"{values.shape} from {values.min():g} to {values.max():g}" if values.size else f"{values.shape}"
        raise ValueError(f"expected points (P, 3) or a grid (R, R, R) of probabilities, got {found}")
    return Prediction(field=values)


def _single(values: np.ndarray) -> np.ndarray:
    """As float32; ValueError where one is not finite then."""
    with np.errstate(over="ignore"):
        found = values.astype(np.float32)
    if not np.isfinite(found).all():
        raise ValueError(f"expected finite numbers, got {found[~np.isfinite(found)][0]} among them")
    return found


def _array(data: bytes) -> np.ndarray:
    try:
        found = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        names = [name for name in ARRAY_NAMES if name in found] or list(found)
        if len(names) > 1 and names[0] not in ARRAY_NAMES:
            raise ValueError(f"expected one array or {', '.join(ARRAY_NAMES)}, got {', '.join(names)}")
        return found[names[0]]
    except (MemoryError, ValueError):
        raise
    except Exception as error:  # NumPy's reader raises whatever Python's and the zip's raise
        raise ValueError(f"expected arrays of NumPy, got {type(error).__name__}: {error}") from error
