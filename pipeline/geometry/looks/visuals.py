"""The looks of files by what trimesh calls their visuals: materials with textures, colours of vertices and of faces."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.geometry.looks.appearance import GRAY, WHITE, Looks, Surface, bared
from pipeline.geometry.looks.textures import sound, texture, wrapped
from pipeline.geometry.readers.collada import unzipped, upright
from pipeline.geometry.zips import proved


def read(data: bytes, extension: str) -> Surface | None:
    """The triangles and looks of a file; None where it says nothing of these, or trimesh can't read it."""
    import trimesh

    try:
        file = proved(data) if extension in ("3dxml", "3mf", "zae") else data
        scene = trimesh.load_scene(io.BytesIO(file), file_type=extension, process=False)
        parts = [part for part in scene.dump() if isinstance(part, trimesh.Trimesh) and len(part.faces)]
        looks = [_look(part) for part in parts]
    except MemoryError:
        raise
    except Exception:  # of a file that the readers here take; its colours are for trimesh alone to read
        return None
    if not any(looks):
        return None
    counts = [len(part.faces) for part in parts]
    found = [look or Look() for look in looks]
    whole = Looks(
        np.repeat(np.arange(len(parts)), counts),
        np.concatenate([_blank(look.uv, n, 2, 0.0) for look, n in zip(found, counts, strict=True)]),
        np.concatenate([_blank(look.shade, n, 3, 1.0) for look, n in zip(found, counts, strict=True)]),
        np.array([look.colour for look in found], np.float32),
        tuple(WHITE if look.texture is None else look.texture for look in found),
        np.arange(sum(counts)),
    )
    corners = np.concatenate([part.vertices[part.faces] for part in parts]).astype(np.float64)
    if extension in ("dae", "zae"):
        corners = corners @ upright(unzipped(data) if extension == "zae" else data).T
    damaged = [
        np.zeros(n, bool) if look.damaged is None else look.damaged for look, n in zip(found, counts, strict=True)
    ]
    return Surface(corners, bared(whole, np.concatenate(damaged), whole.colours))


@dataclass
class Look:
    """Of a part of a scene, as of `Looks`; None where it has none."""

    colour: np.ndarray | tuple[float, ...] = (GRAY,) * 3
    texture: np.ndarray | None = None
    uv: np.ndarray | None = None
    shade: np.ndarray | None = None
    damaged: np.ndarray | None = None  # faces whose place in the texture is none


def _blank(part: np.ndarray | None, count: int, width: int, value: float) -> np.ndarray:
    return np.full((count, 3, width), value, np.float32) if part is None else part.astype(np.float32)


def _look(part: Any) -> Look | None:
    """How a trimesh looks, None where it does not say."""
    visual = part.visual
    if visual.kind in ("vertex", "face"):
        colours = visual.vertex_colors[part.faces] if visual.kind == "vertex" else visual.face_colors[:, None]
        return Look((1.0, 1.0, 1.0), shade=np.broadcast_to(_share(colours), (len(part.faces), 3, 3)))
    material = getattr(visual, "material", None)
    if visual.kind != "texture" or material is None:
        return None
    by_rules = hasattr(material, "baseColorFactor")  # of glTF; otherwise as an MTL has it
    factor = material.baseColorFactor if by_rules else material.diffuse
    image = material.baseColorTexture if by_rules else material.image
    if factor is None and image is None:
        return None
    look = Look(np.ones(3) if factor is None else _share(factor))
    if image is not None and visual.uv is not None:
        uv = np.asarray(visual.uv, np.float64)
        whole = sound(uv)
        look.texture, look.uv = texture(image), wrapped(np.where(whole[:, None], uv, 0)[part.faces])
        look.damaged = ~whole[part.faces].all(axis=1)
    return look


def _share(colours: np.ndarray) -> np.ndarray:
    """(..., 3) float64 in [0, 1] of colours (..., 3 or 4) as trimesh has them, be they floats or whole numbers."""
    colours = np.asarray(colours)[..., :3]
    most = np.iinfo(colours.dtype).max if colours.dtype.kind in "iu" else 1
    return colours.astype(np.float64) / most
