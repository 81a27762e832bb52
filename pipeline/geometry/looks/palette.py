"""Colour pictures: what a shader of PyTorch3D's fragments shows of the looks of meshes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.geometry.looks.appearance import Looks


@dataclass(frozen=True)
class Palette:
    """`Looks` on a device, of one mesh; all textures lie one after the other.

    Attributes:
        material, uv, shade, colours, behind: as there.
        pixels: (P, 3) uint8, of all textures, row by row.
        place: (K, 3) int64, of each texture its first pixel, its height and its width.
    """

    material: Tensor
    uv: Tensor
    shade: Tensor
    colours: Tensor
    behind: Tensor
    pixels: Tensor
    place: Tensor

    def colour(self, faces: Tensor, away: Tensor, weights: Tensor) -> Tensor:
        """(P, 3) float32 in [0, 1], colours at points.

        Args:
            faces: (P,) int64, on which they lie.
            away: (P,) bool, whether it is seen from behind.
            weights: (P, 3) float32, barycentric.
        """
        row = torch.where(away, self.behind[faces], faces)
        material = self.material[row]
        uv, shade = ((weights[..., None] * part[row]).sum(1) for part in (self.uv, self.shade))
        return self.colours[material] * shade * self._texels(material, uv)

    def _texels(self, material: Tensor, uv: Tensor) -> Tensor:
        """(P, 3) float32 at (P, 2), between the four nearest texels, as of a picture that repeats."""
        first, height, width = self.place[material].unbind(1)
        size = torch.stack([width, height], dim=1)
        at = torch.stack([uv[:, 0], 1 - uv[:, 1]], dim=1) * size - 0.5
        corner = at.floor()
        share = at - corner
        low = corner.long()
        found = torch.zeros(len(uv), 3, device=uv.device)
        for right in (0, 1):
            for down in (0, 1):
                column, row = (low + torch.tensor([right, down], device=uv.device)).remainder(size).unbind(1)
                across, along = (share if right else 1 - share)[:, 0], (share if down else 1 - share)[:, 1]
                found += (across * along)[:, None] * self.pixels[first + row * width + column]
        return found / 255


def palette(looks: Looks, device: str) -> Palette:
    """The looks of a mesh, on a device."""
    sizes = np.array([texture.shape[:2] for texture in looks.textures])
    first = np.concatenate([[0], np.cumsum(sizes.prod(axis=1))[:-1]])
    pixels = np.concatenate([texture.reshape(-1, 3) for texture in looks.textures])
    arrays = (looks.material, looks.uv, looks.shade, looks.colours, looks.behind, pixels)
    place = np.column_stack([first, sizes])
    return Palette(*(torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in (*arrays, place)))
