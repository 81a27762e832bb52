"""View2mesh: from photos to a mesh, by moving the vertices of a sphere.

"Single View to 3D", a course report: section 2.3, its network, and 1.2 and 1.3, its losses. Differences:
 1. The encoder is not pretrained (`layers/encoders.py`).
 2. First weights: those of the hidden layers by He et al. 2015 (arXiv:1502.01852), the last layer's so small that the
    first mesh is the sphere, not a crumpled one that smoothing would have to undo.
 3. Predicted vertices that leave the unit cube are moved to its faces.

A sphere stays a sphere: a mesh of this system is closed and has no holes, whatever the object.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.layers.blocks import check, full
from model.layers.encoders import EncoderConfig, EncoderModel, perceptron
from model.layers.pointloss import chamfer_squared, some

FIRST_STEP = 1e-4  # standard deviation of the last layer's first weights


@dataclass(frozen=True)
class Config(EncoderConfig):
    """The defaults are the seed's decoder.

    Args:
        hidden: widths of the layers before the last.
        level: how often the faces of an icosahedron are divided by four; 10 * 4^level + 2 vertices.
        radius: of the sphere.
        points: drawn on the predicted surface, and as many true ones, anew in every step.
        chamfer_weight, laplacian_weight: of the losses.

    Further ones in EncoderConfig.

    Raises:
        ValueError: a field that can't be, by name.
    """

    hidden: tuple[int, ...] = (1024, 2048)
    level: int = 4
    radius: float = 0.25
    points: int = 1000
    chamfer_weight: float = 1.0
    laplacian_weight: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check("radius", self.radius, "a number from 0 to 0.5", 0 < self.radius <= 0.5)
        for name in ("chamfer_weight", "laplacian_weight"):
            check(name, getattr(self, name), "0 or more", getattr(self, name) >= 0)


class Model(EncoderModel):
    """See `model/__init__.py`."""

    targets = ("points",)
    output = "mesh"
    template: Tensor
    faces: Tensor
    edges: Tensor

    def __init__(self, config: Config):
        super().__init__(config)
        self.weights = {"chamfer": config.chamfer_weight, "laplacian": config.laplacian_weight}
        self.points = config.points
        vertices, faces = icosphere(config.level)
        for name, value in (("template", config.radius * vertices), ("faces", faces), ("edges", edges_of(faces))):
            self.register_buffer(name, value, persistent=False)
        self.decoder = perceptron(self.width, *config.hidden, vertices.numel())
        nn.init.normal_(self.decoder[-1].weight, std=FIRST_STEP)  # type: ignore[arg-type]
        nn.init.zeros_(self.decoder[-1].bias)  # type: ignore[arg-type]

    def losses(self, batch: dict[str, Any], part: str) -> dict[str, Tensor]:
        """Squared Chamfer distance between points on both surfaces, and uniform Laplacian smoothing."""
        vertices = self._vertices(batch["images"])
        surface = sample_surface(vertices, self.faces, self.points)
        losses = {
            "chamfer": chamfer_squared(surface, some(batch["points"], self.points)),
            "laplacian": laplacian_smoothing(vertices, self.edges),
        }
        return {name: self.weights[name] * loss for name, loss in losses.items()}

    def predict(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Vertices (N, 3) in the unit cube and faces (M, 3) int64 for each of B objects of `images` (B, V, C, H, W)."""
        return [(vertices, self.faces) for vertices in self._vertices(images).clamp(-0.5, 0.5)]

    def _vertices(self, images: Tensor) -> Tensor:
        return self.template + full(self.decoder(self.features(images))).unflatten(1, (-1, 3))


def icosphere(level: int) -> tuple[Tensor, Tensor]:
    """The unit sphere as an icosahedron whose faces are divided by four, `level` times.

    Returns:
        vertices: (10 * 4^level + 2, 3) float32.
        faces: (20 * 4^level, 3) int64, counter-clockwise seen from outside.
    """
    golden = (1 + 5**0.5) / 2
    vertices = np.array([np.roll((0, a, b * golden), axis) for axis in range(3) for a in (-1, 1) for b in (-1, 1)])
    distances = np.linalg.norm(vertices[:, None] - vertices, axis=2)
    faces = np.array([c for c in combinations(range(12), 3) if np.allclose(distances[c, np.roll(c, 1)], 2)])
    inwards = np.linalg.det(vertices[faces]) < 0
    faces[inwards] = faces[inwards, ::-1]
    vertices /= np.linalg.norm(vertices[0])
    for _ in range(level):
        vertices, faces = _divided(vertices, faces)
    return torch.from_numpy(vertices).float(), torch.from_numpy(faces)


def _divided(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every face of a mesh on the unit sphere as four."""
    sides = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]], axis=2)
    edges, index = np.unique(sides.reshape(-1, 2), axis=0, return_inverse=True)
    middles = vertices[edges].sum(axis=1)
    middles /= np.linalg.norm(middles, axis=1, keepdims=True)
    (a, b, c), (ab, bc, ca) = faces.T, len(vertices) + index.reshape(-1, 3).T
    divided = np.stack([[a, ab, ca], [ab, b, bc], [ca, bc, c], [ab, bc, ca]], axis=0)  # (4, 3, M)
    return np.concatenate([vertices, middles]), divided.transpose(2, 0, 1).reshape(-1, 3)


def edges_of(faces: Tensor) -> Tensor:
    """(E, 2) int64: the vertices at either end of each edge of `faces` (M, 3), once."""
    return faces[:, [[0, 1], [1, 2], [2, 0]]].flatten(0, 1).sort(dim=1).values.unique(dim=0)


def sample_surface(vertices: Tensor, faces: Tensor, count: int) -> Tensor:
    """Points on meshes of one topology, uniformly by area, differentiable in the vertices that they lie between.

    Args:
        vertices: (B, N, 3) float32.
        faces: (M, 3) int64.
        count: points a mesh; drawn by torch's generator.

    Returns:
        (B, count, 3) float32.
    """
    corners = vertices[:, faces]  # (B, M, 3, 3)
    with torch.no_grad():
        sides = corners[:, :, 1:] - corners[:, :, :1]
        areas = torch.linalg.cross(sides[:, :, 0], sides[:, :, 1]).norm(dim=2)
        # Any faces will do where none has an area, or where the loss is about to be not finite.
        chosen = torch.multinomial(areas.nan_to_num(0, 0, 0).clamp(min=1e-12), count, replacement=True)
    first, second, third = corners.gather(1, chosen[..., None, None].expand(-1, -1, 3, 3)).unbind(dim=2)
    across, along = torch.rand(2, *chosen.shape, 1, dtype=vertices.dtype, device=vertices.device).unbind()
    across = across.sqrt()
    return (1 - across) * first + across * ((1 - along) * second + along * third)


def laplacian_smoothing(vertices: Tensor, edges: Tensor) -> Tensor:
    """Mean over vertices of |mean of the neighbours - vertex| (Taubin 1995, uniform weights).

    Args:
        vertices: (B, N, 3) float32, each with a neighbour.
        edges: (E, 2) int64, each once.

    Returns:
        () float32.
    """
    ends, neighbours = torch.cat([edges, edges.flip(1)]).unbind(dim=1)
    sums = torch.zeros_like(vertices).index_add(1, ends, vertices[:, neighbours])
    counts = torch.zeros_like(vertices[0, :, 0]).index_add(0, ends, torch.ones_like(ends, dtype=vertices.dtype))
    return (sums / counts[:, None] - vertices).norm(dim=2).mean()
