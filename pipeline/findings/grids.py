"""Solid grids: binvox, NPY, NPZ and MAT."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.findings import models
from pipeline.findings.finding import Check, Finding
from pipeline.geometry.isosurface import marching_cubes
from pipeline.geometry.solid import noted
from pipeline.pages.pictures import both_sides
from pipeline.sources import binvox, mat

HALF = 0.5  # level of values that are no bool, where a file has no threshold
Arrays = Mapping[str, np.ndarray]


def look(path: Path) -> Finding:
    """What a grid is like; ValueError where the file can't be read."""
    data = path.read_bytes()
    try:
        return {".binvox": _binvox, ".mat": _mat, ".npy": _npy, ".npz": _npz}[path.suffix.lower()](data)
    except MemoryError:
        raise
    except Exception as error:  # NumPy's reader raises whatever Python's and the zip's raise
        raise ValueError(f"{path}: {error}") from error


def _binvox(data: bytes) -> Finding:
    found = binvox.read(data)
    side, corner = found.affine[0, 0], found.affine[:3, 3] - found.affine[0, 0] / 2
    where = f"corner at ({', '.join(f'{value:.4g}' for value in corner + 0.0)}), side {side:.4g}"
    return solid("binvox grid", found.occupancy, {"cube": where})


def _mat(data: bytes) -> Finding:
    name = next(iter(cubes := mat_cubes(data)), "")
    if not name:
        raise ValueError("expected a variable that is a cube of numbers, found none")
    others = f"{name}, of {', '.join(cubes)}" if len(cubes) > 1 else name
    return solid("MATLAB grid", mat.read(data, name).occupancy, {"variable": others})


def mat_cubes(data: bytes) -> list[str]:
    """Names of the variables of a MATLAB file that may be grids."""
    if data.startswith(b"MATLAB 7.3"):
        import h5py

        with h5py.File(io.BytesIO(data), "r") as file:
            shapes = {name: getattr(value, "shape", ()) for name, value in file.items()}
    else:
        from scipy.io import whosmat

        try:
            shapes = {name: shape for name, shape, _ in whosmat(io.BytesIO(data))}
        except Exception as error:  # SciPy's reader raises whatever its parser raises
            raise ValueError(f"expected a MATLAB file, got {type(error).__name__}: {error}") from error
    return [name for name, shape in shapes.items() if len(shape) == 3 and len(set(shape)) == 1]


def _npy(data: bytes) -> Finding:
    return arrays({"array": np.load(io.BytesIO(data), allow_pickle=False)}, "NumPy array")


def _npz(data: bytes) -> Finding:
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return arrays({name: file[name] for name in file.files}, "NumPy arrays")


def arrays(found: Arrays, kind: str) -> Finding:
    """What arrays are: a shape as `predict` writes it, a record, a cube, or whatever else."""
    facts = {name: f"{'x'.join(map(str, array.shape)) or 'a number'} {array.dtype}" for name, array in found.items()}
    cubes = [name for name, array in found.items() if array.ndim == 3 and len(set(array.shape)) == 1 and array.size]
    if {"occupancy", "points", "notes"} <= found.keys() or {"views", "masks", "cameras"} <= found.keys():
        checks = [Check(what, fault) for what, fault in models.faults(found).items()]
        surface = models.solid(found) if "occupancy" in found else None
        return Finding("record", facts, checks, (lambda: both_sides(surface)) if surface else None)
    if not cubes:
        fault = "" if all(np.isfinite(a).all() for a in found.values() if a.dtype.kind == "f") else "some are not"
        return Finding(kind, facts, [Check("all numbers are finite", fault)])
    name = "occupancy" if "occupancy" in cubes else cubes[0]
    level = float(found["threshold"]) if "threshold" in found else HALF
    values = found[name]
    occupancy = values if values.dtype == bool else values > (level if values.dtype.kind == "f" else 0)
    made = solid(f"grid in {kind}", occupancy, facts)
    checks = list(made.checks)
    if values.dtype.kind == "f":
        checks.append(Check("all numbers are finite", "" if np.isfinite(values).all() else "some are not"))
    if "probability" in cubes and name == "occupancy":
        unlike = int((occupancy != (found["probability"] > np.float32(level))).sum())
        what = "cells are full where the probability passes the threshold"
        checks.append(Check(what, f"{unlike} differ" if unlike else ""))
    return Finding(made.kind, made.facts, checks, made.picture)


def solid(kind: str, occupancy: np.ndarray, facts: Mapping[str, str]) -> Finding:
    """What a grid (R, R, R) bool is like."""
    note, hidden = noted(occupancy), hollow(occupancy)
    told: dict[str, Any] = {**facts, "cells": f"{len(occupancy)}³, {note.fill_ratio:.2%} of them full"}
    if occupancy.any():
        extents = [np.flatnonzero(occupancy.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
        told["fills"] = ", ".join(f"{n} {e[0]} to {e[-1]}" for n, e in zip("xyz", extents, strict=True))
    told["pieces"] = f"{note.components}"
    told["hollows"] = f"{hidden:,} free cells are enclosed" + (", as in a shell" if hidden > occupancy.sum() else "")
    fault = "" if 0 < note.fill_ratio < 1 else f"all are {'full' if note.fill_ratio else 'free'}"
    draw = None if fault else lambda: both_sides(marching_cubes(occupancy))
    return Finding(kind, told, [Check("some cells are full, and some free", fault)], draw)


def hollow(occupancy: np.ndarray) -> int:
    """How many free cells no way through faces of free cells leads out of."""
    from scipy import ndimage

    return int(ndimage.binary_fill_holes(occupancy).sum() - occupancy.sum())
