"""How the triangles of a file look: an OBJ's by its MTL files, glTF's and an OFF's by themselves, others' by trimesh.

A texture or MTL file that is named and not there, or that is none, is passed over.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.geometry import bundles
from pipeline.geometry.looks import gltf, off, visuals, wavefront
from pipeline.geometry.looks.appearance import Surface, joined, unreadable
from pipeline.geometry.looks.textures import Beside
from pipeline.geometry.readers.accessors import ENDINGS


def named(data: bytes, extension: str, beside: Beside) -> list[str]:
    """Names of the files beside a model's that its looks are in, sorted, by its file's bytes and format."""
    if extension == bundles.EXTENSION:
        parts = bundles.opened(data)
        return sorted({name for part, own in parts for name in named(own, part.rpartition(".")[2].lower(), beside)})
    if extension == "obj":
        return wavefront.named(data, beside)
    return gltf.named(data) if extension in ENDINGS else []


def read(data: bytes, extension: str, beside: Beside) -> Surface | None:
    """The triangles of a file whose shape was found sound, and how they look; None where it says nothing of that.

    What is damaged of the looks is left out; `Looks.lost` says it.
    """
    try:
        return _finite(_read(data, extension, beside))
    except MemoryError:
        raise
    except Exception as error:  # of structures that a format does not allow, whatever comes of looking into them
        return unreadable(f"expected materials and textures, got {type(error).__name__}: {error}")


def _finite(found: Surface | None) -> Surface | None:
    """With white for colours that are no numbers."""
    if found is None or all(np.isfinite(part).all() for part in (found.looks.shade, found.looks.colours)):
        return found
    shade, colours = (
        np.where(np.isfinite(part), part, np.float32(1)) for part in (found.looks.shade, found.looks.colours)
    )
    why = found.looks.lost or "expected finite colours, found others"
    return replace(found, looks=replace(found.looks, shade=shade, colours=colours, lost=why))


def _read(data: bytes, extension: str, beside: Beside) -> Surface | None:
    if extension == bundles.EXTENSION:
        parts = [read(own, name.rpartition(".")[2].lower(), beside) for name, own in bundles.opened(data)]
        return joined([part for part in parts if part])
    if extension == "obj":
        return wavefront.read(data, beside)
    if extension in ENDINGS:
        return gltf.read(data, beside)
    return off.read(data) if extension == "off" else visuals.read(data, extension)
