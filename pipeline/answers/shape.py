"""A shape that a network said, finished, and the files that it can become."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.geometry import formats
from pipeline.geometry.finish import fitting, largest_piece, simplified, smoothed
from pipeline.runtime.files import atomic_write
from pipeline.sources import binvox

if TYPE_CHECKING:
    from PIL import Image

    from pipeline.scoring.predictions import Prediction

GRIDS = (".binvox", ".npz")
FORMATS = (*formats.MESHES, ".xyz", *GRIDS)
WHOLE = 0.98  # of the volume, from where on what is left out is crumbs
FEWEST = 4  # faces of what is closed
LARGEST = 1e30  # size, in units that single precision still holds


@dataclass(frozen=True)
class Shape:
    """A shape in the normalised frame of `geometry/meshes.py`, centred, and scaled to the size asked for.

    Attributes:
        vertices: (N, 3) float32, of a mesh, or the points of a cloud.
        faces: (M, 3) int64, counter-clockwise seen from outside; None of a cloud.
        probability: (R, R, R) float32 of occupancy in the unit cube, as predicted; None of what predicts none.
        threshold: of the occupancy at the surface.
        factor, shift: from the unit cube to the vertices, `factor * point + shift`.
        share: of the volume of all pieces that were predicted; 1 where none is left out.
        seen: (V, H, W) uint8, or (V, H, W, 3) in colour, what the network saw of each photo.
        how: in words, by what each was cut out.
    """

    vertices: np.ndarray
    faces: np.ndarray | None
    probability: np.ndarray | None
    threshold: float
    factor: float
    shift: np.ndarray
    share: float
    seen: np.ndarray
    how: tuple[str, ...]

    def save(self, path: str | Path) -> None:
        """Writes it in the format that the name's end tells, whatever its case; ValueError where that can't hold it."""
        path = Path(path)
        if (suffix := path.suffix.lower()) not in (known := able(self.faces is None, self.probability is not None)):
            raise ValueError(f"{path}: expected a name ending in {', '.join(known)}, got '{path.name}'")
        data = (
            self._grid(suffix) if suffix in GRIDS else _encoders(self.faces is None)[suffix](self.vertices, self.faces)
        )
        with atomic_write(path) as temporary:
            temporary.write_bytes(data)

    @property
    def told(self) -> str:
        """How large it is, in words, and whether that is not nearly all that was predicted."""
        points = len(self.vertices)
        size = f"{points} points" if self.faces is None else f"{points} vertices, {len(self.faces)} faces"
        return f"{size}, the largest piece, {self.share:.0%} of all" if self.share < WHOLE else size

    def _grid(self, suffix: str) -> bytes:
        assert self.probability is not None
        occupancy = self.probability > np.float32(self.threshold)
        corner = self.shift - self.factor / 2  # of the unit cube
        if suffix == ".binvox":
            return binvox.write(occupancy, corner, self.factor)
        whole = io.BytesIO()
        np.savez_compressed(
            whole,
            occupancy=occupancy,
            probability=self.probability,
            threshold=self.threshold,
            translate=corner,
            scale=self.factor,
        )
        return whole.getvalue()

    def picture(self) -> Image.Image:
        """What the network saw, and the shape from the front and from behind."""
        from pipeline.pages.pictures import dots, portrait

        vertices = (self.vertices - self.shift.astype(np.float32)) / np.float32(self.factor)
        return portrait(self.seen[0], dots(vertices) if self.faces is None else (vertices, self.faces))

    def looks(self) -> Image.Image:
        """What the network saw of all photos, side by side."""
        from PIL import Image

        return Image.fromarray(np.concatenate(list(self.seen), axis=1))


def able(cloud: bool, grid: bool) -> tuple[str, ...]:
    """Ends of the names of files that hold such a shape."""
    return (*_encoders(cloud), *(GRIDS if grid else ()))


def _encoders(cloud: bool) -> dict[str, formats.Encode]:
    return formats.CLOUDS if cloud else formats.MESHES


def finished(
    prediction: Prediction,
    threshold: float,
    seen: np.ndarray,
    how: tuple[str, ...],
    size: float = 1.0,
    faces: int | None = None,
    all_pieces: bool = False,
) -> Shape:
    """A prediction made a shape to keep: of occupancy the surface, smooth; of a mesh or that the largest piece.

    Args:
        threshold: of the occupancy.
        size: longest side of the bounding box.
        faces: at most so many, where that leaves the surface closed.
        all_pieces: whether smaller pieces stay.

    Raises:
        ValueError: no cell passes the threshold, or the shape is empty or not finite.
    """
    field, triangles, share = prediction.field, None, 1.0
    if field is not None and 0 < (most := field.max()) <= threshold:
        raise ValueError(f"expected cells of occupancy over {threshold}, got at most {most:.3f}; try --threshold")
    if prediction.points is not None:
        vertices = prediction.points
    else:
        vertices, triangles = prediction.surface(threshold)
    if not len(vertices if triangles is None else triangles):
        raise ValueError("expected a shape, got a prediction that is empty or not finite")
    if triangles is not None:
        if not all_pieces:
            vertices, triangles, share = largest_piece(vertices, triangles)
        if field is not None:
            vertices = smoothed(vertices, triangles, 0.5 / len(field))
        if faces is not None:
            vertices, triangles = simplified(vertices, triangles, faces)
    factor, shift = fitting(vertices, size)
    vertices = (factor * vertices.astype(np.float64) + shift).astype(np.float32)
    return Shape(vertices, triangles, field, threshold, factor, shift, share, seen, how)


def check(size: float, faces: int | None) -> None:
    """ValueError where a shape of such a size, or of so many faces, can't be."""
    if not 0 < size <= LARGEST:
        raise ValueError(f"--size: expected a number over 0 and up to {LARGEST:g}, got {size}")
    if faces is not None and faces < FEWEST:
        raise ValueError(f"--faces: expected {FEWEST} or more, got {faces}")
