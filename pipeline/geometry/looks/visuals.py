"""The looks of files that trimesh reads: materials and textures of glTF and others, colours of vertices and faces.

glTF's factors and the colours of its vertices are linear, and are brought to sRGB: there the product is the one that
glTF means, but for the darkest colours.
"""

from __future__ import annotations

import io
import json
import urllib.parse
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.geometry.looks.appearance import GRAY, WHITE, Looks, Surface
from pipeline.geometry.looks.textures import Beside, texture, wrapped
from pipeline.geometry.readers.collada import upright

GLTF = ("glb", "gltf")


def read(data: bytes, extension: str, beside: Beside) -> Surface | None:
    import trimesh

    class Files(trimesh.resolvers.Resolver):
        def __init__(self) -> None: ...

        def get(self, key: str) -> bytes:
            if (found := beside(urllib.parse.unquote(key))) is None:
                raise ValueError(f"expected a file '{key}' beside the model, found none")
            return found

        def write(self, name: str, data: bytes) -> None: ...

        def namespaced(self, namespace: str) -> Files:
            return self

        def keys(self) -> list[str]:
            return []

    scene = trimesh.load_scene(io.BytesIO(data), file_type=extension, process=False, resolver=Files())
    parts = [part for part in scene.dump() if isinstance(part, trimesh.Trimesh) and len(part.faces)]
    looks = [_look(part, extension in GLTF) for part in parts]
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
    return Surface(corners @ upright(data).T if extension == "dae" else corners, whole)


@dataclass
class Look:
    """Of a part of a scene, as of `Looks`; None where it has none."""

    colour: np.ndarray | tuple[float, ...] = (GRAY,) * 3
    texture: np.ndarray | None = None
    uv: np.ndarray | None = None
    shade: np.ndarray | None = None


def _blank(part: np.ndarray | None, count: int, width: int, value: float) -> np.ndarray:
    return np.full((count, 3, width), value, np.float32) if part is None else part.astype(np.float32)


def _look(part: Any, linear: bool) -> Look | None:
    """How a trimesh looks, None where it does not say; `linear`: its factors are no colours of pictures."""
    visual, brought = part.visual, linear_to_srgb if linear else np.asarray
    if visual.kind in ("vertex", "face"):
        colours = visual.vertex_colors[part.faces] if visual.kind == "vertex" else visual.face_colors[:, None]
        shade = np.broadcast_to(brought(_share(colours)), (len(part.faces), 3, 3))
        return Look((1.0, 1.0, 1.0), shade=shade)
    material = getattr(visual, "material", None)
    if visual.kind != "texture" or material is None:
        return None
    by_rules = hasattr(material, "baseColorFactor")  # of glTF; otherwise as an MTL has it
    factor = material.baseColorFactor if by_rules else material.diffuse
    image = material.baseColorTexture if by_rules else material.image
    colours = getattr(visual, "vertex_attributes", {}).get("color")
    if factor is None and image is None and colours is None and not linear:
        return None
    look = Look(np.ones(3) if factor is None else brought(_share(factor)))
    if image is not None and visual.uv is not None:
        opaque = linear and (material.alphaMode or "OPAQUE") == "OPAQUE"
        look.texture, look.uv = texture(image, opaque), wrapped(visual.uv[part.faces])
    if colours is not None:
        look.shade = brought(_share(np.asarray(colours)))[part.faces]
    return look


def _share(colours: np.ndarray) -> np.ndarray:
    """(..., 3) float64 in [0, 1] of colours (..., 3 or 4) as trimesh has them, be they floats or whole numbers."""
    colours = np.asarray(colours)[..., :3]
    most = np.iinfo(colours.dtype).max if colours.dtype.kind in "iu" else 1
    return colours.astype(np.float64) / most


def uris(data: bytes) -> list[str]:
    """The files that the images of a glTF file are in; none of them inside it."""
    if data[:4] == b"glTF":
        data = data[20 : 20 + int.from_bytes(data[12:16], "little")]
    try:
        images = json.loads(data).get("images", [])
        found = [image["uri"] for image in images if "uri" in image]
    except (ValueError, AttributeError, TypeError):
        return []
    outside = {uri for uri in found if isinstance(uri, str) and not uri.startswith("data:")}
    return sorted(map(urllib.parse.unquote, outside))


def linear_to_srgb(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1's curve, for values in [0, 1]."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
