"""What systems predict, be it occupancy, a mesh or points, in one form to score, show and write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.geometry.isosurface import marching_cubes
from pipeline.geometry.surfaces import mesh_occupancy
from pipeline.scoring import cubes

NOTHING = np.zeros((0, 3), np.float32)
FAR = 1e3  # sides of the unit cube; squares of much larger distances are infinite


@dataclass(frozen=True)
class Prediction:
    """A shape in the unit cube, as one of three.

    Attributes:
        field: (R, R, R) float32 probabilities of occupancy.
        mesh: vertices (N, 3) float32 and faces (M, 3) int64 of a mesh, closed where there are no `cells`.
        points: (P, 3) float32 on the surface.
        cells: (R, R, R) bool, what a mesh fills that is not closed.
    """

    field: np.ndarray | None = None
    mesh: tuple[np.ndarray, np.ndarray] | None = None
    points: np.ndarray | None = None
    cells: np.ndarray | None = None

    def surface(self, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (N, 3) and faces (M, 3): the mesh, or of a field where it passes the threshold; of points none."""
        if self.mesh is not None:
            return self.mesh
        return (NOTHING, NOTHING.astype(np.int64)) if self.field is None else marching_cubes(self.field, threshold)

    def body(self, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """A closed surface around what is inside: `surface`, or that of the cells."""
        return self.surface(threshold) if self.cells is None else marching_cubes(self.cells)

    def cloud(
        self, count: int, threshold: float, rng: np.random.Generator, device: str | torch.device = "cpu"
    ) -> tuple[Tensor, Tensor | None]:
        """`count` points (N, 3) on the surface and the unit normals there; points as they are, and no normals.

        They are worked out, and lie, on the device. N is 0 where there is no surface, or none with an area.
        """
        if self.points is not None:
            return torch.from_numpy(self.points).to(device), None
        if self.field is not None:
            surface = cubes.marching_cubes(torch.from_numpy(self.field).to(device), threshold)
        else:
            vertices, faces = (torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in self.surface(threshold))
            surface = vertices, faces
        return cubes.surface_points(*surface, count, rng)

    def occupancy(self, resolution: int) -> np.ndarray | None:
        """(R, R, R) float32 probabilities: the field, or the cells whose centres the mesh encloses; of points None."""
        if self.cells is not None:
            return self.cells.astype(np.float32)
        return mesh_occupancy(*self.mesh, resolution).astype(np.float32) if self.mesh is not None else self.field


def predict(network: Any, images: Tensor) -> list[Prediction]:
    """What a system makes of `images` (B, V, C, H, W).

    A prediction with a value that is not finite, or farther out than FAR, becomes one of nothing: a free grid, no
    faces, no points.
    """
    with torch.inference_mode():
        given = network.predict(images)
    if network.output == "mesh":
        return [_mesh(vertices.float().cpu().numpy(), faces.cpu().numpy()) for vertices, faces in given]
    arrays = (given.float().sigmoid() if network.output == "occupancy" else given.float()).detach().cpu().numpy()
    if network.output == "occupancy":
        return [Prediction(field=a if np.isfinite(a).all() else np.zeros_like(a)) for a in arrays]
    return [Prediction(points=a if _near(a) else NOTHING) for a in arrays]


def _mesh(vertices: np.ndarray, faces: np.ndarray) -> Prediction:
    return Prediction(mesh=(vertices, faces if _near(vertices) else faces[:0]))


def _near(points: np.ndarray) -> bool:
    return bool((np.abs(points) < FAR).all())  # False of NaN
