"""The looks of glTF: base colour's factor, texture and the vertices' colours, of what the file's scene shows.

Factors and the colours of vertices are linear, and are brought to sRGB: there the product is the one that glTF means,
but for the darkest colours. Textures may be in the file or beside it; how KHR_texture_transform moves them counts, and
KHR_materials_pbrSpecularGlossiness, where a material has nothing else. A primitive without a material is gray.
"""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.geometry.looks import textures
from pipeline.geometry.looks.appearance import GRAY, WHITE, Looks, Surface, bared
from pipeline.geometry.looks.textures import Beside, sound, wrapped
from pipeline.geometry.readers import gltf
from pipeline.geometry.readers.accessors import Document, embedded, opened

TRANSFORM, GLOSSY, WEBP = "KHR_texture_transform", "KHR_materials_pbrSpecularGlossiness", "EXT_texture_webp"


@dataclass(frozen=True)
class Material:
    """Colour (3,) in sRGB and texture, of which set of coordinates, and how these are moved."""

    colour: np.ndarray = field(default_factory=lambda: np.full(3, GRAY))
    texture: np.ndarray = field(default_factory=lambda: WHITE)
    coordinates: str = ""
    how: dict[str, Any] = field(default_factory=dict)


def named(data: bytes) -> list[str]:
    """Names of the files beside it that its images are in, sorted."""
    uris = [image.get("uri") for image in opened(data)[0].get("images") or [] if isinstance(image, dict)]
    outside = {uri for uri in uris if isinstance(uri, str) and not uri.startswith("data:")}
    return sorted(map(urllib.parse.unquote, outside))


def read(data: bytes, beside: Beside) -> Surface | None:
    """The triangles and looks of a file that was found sound; None where nothing has a material or colours."""
    document = Document(data)
    materials = [_material(document, told, beside) for told in document.told.get("materials", [])]
    gray, white = len(materials), len(materials) + 1
    materials += [Material(), Material(np.ones(3))]
    corners, chosen, uv, shade, damaged = [], [], [], [], []
    for (vertices, faces), primitive in gltf.shown(document):
        attributes = _attributes(document, primitive, len(vertices))
        colours = attributes.get("COLOR_0")
        place = primitive.get("material", gray if colours is None else white)
        own = attributes.get(materials[place].coordinates)
        corners.append(vertices[faces])
        chosen.append(np.full(len(faces), place))
        found = np.zeros((len(vertices), 2)) if own is None else moved(own[:, :2], materials[place].how)
        whole = sound(found)
        damaged.append(~whole[faces].all(axis=1))
        uv.append(wrapped(np.where(whole[:, None], found, 0)[faces]))
        bright = np.ones((len(vertices), 3)) if colours is None else linear_to_srgb(colours[:, :3])
        shade.append(bright[faces].astype(np.float32))
    if not chosen or all((each == gray).all() for each in chosen):
        return None
    colour = np.array([material.colour for material in materials], np.float32)
    which, where, light = np.concatenate(chosen), np.concatenate(uv), np.concatenate(shade)
    looks = Looks(which, where, light, colour, tuple(material.texture for material in materials), np.arange(len(which)))
    return Surface(np.concatenate(corners), bared(looks, np.concatenate(damaged), colour))


def _attributes(document: Document, primitive: dict[str, Any], count: int) -> dict[str, np.ndarray]:
    """What a primitive's vertices look like, (count, 2 or more) each; NaN where that is damaged."""
    wanted = ("TEXCOORD_", "COLOR_0")
    try:
        found, _ = gltf.attributes_of(document, primitive, wanted)
    except MemoryError:
        raise
    except Exception:  # of structures that glTF does not allow; the shape is sound
        found = {name: np.zeros(0) for name in primitive["attributes"] if name.startswith(wanted)}
    for name, values in found.items():
        width = 3 if name == "COLOR_0" else 2
        if values.ndim != 2 or len(values) < count or values.shape[1] < width:
            found[name] = np.full((count, width), np.nan)
    return found


def _material(document: Document, told: dict[str, Any], beside: Beside) -> Material:
    glossy = told.get("extensions", {}).get(GLOSSY)
    if glossy is not None and "pbrMetallicRoughness" not in told:
        factor, info = glossy.get("diffuseFactor"), glossy.get("diffuseTexture")
    else:
        rough = told.get("pbrMetallicRoughness", {})
        factor, info = rough.get("baseColorFactor"), rough.get("baseColorTexture")
    colour = linear_to_srgb(np.array(factor or [1.0, 1, 1])[:3])
    if info is None:
        return Material(colour)
    how = info.get("extensions", {}).get(TRANSFORM, {})
    try:
        image = _image(document, info["index"], beside)
    except (AttributeError, LookupError, TypeError, ValueError):  # it leads to none
        image = None
    picture = textures.read(image, told.get("alphaMode", "OPAQUE") == "OPAQUE")
    coordinates = f"TEXCOORD_{how.get('texCoord', info.get('texCoord', 0))}"
    return Material(colour, WHITE if picture is None else picture, coordinates, how)


def _image(document: Document, place: int, beside: Beside) -> bytes | None:
    """The bytes of a texture's image; None where it is in no file, or in a form that is not read here."""
    texture = document.told["textures"][place]
    source = texture.get("source", texture.get("extensions", {}).get(WEBP, {}).get("source"))
    if source is None:
        return None
    image = document.told["images"][source]
    if "bufferView" in image:
        return document.view(image["bufferView"])
    uri = image.get("uri", "")
    return beside(urllib.parse.unquote(uri)) if (content := embedded(uri)) is None else content


def moved(uv: np.ndarray, how: dict[str, Any]) -> np.ndarray:
    """(N, 2) coordinates of glTF, V downwards, as TRANSFORM scales, turns and shifts them; with V upwards."""
    sine, cosine = np.sin(how.get("rotation", 0.0)), np.cos(how.get("rotation", 0.0))
    turned = uv * how.get("scale", [1.0, 1.0]) @ np.array([[cosine, -sine], [sine, cosine]])
    return (turned + how.get("offset", [0.0, 0.0])) * [1, -1] + [0, 1]


def linear_to_srgb(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1's curve, for values in [0, 1]."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
