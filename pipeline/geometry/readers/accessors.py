"""glTF's numbers: files and containers -> JSON and buffers -> arrays, as accessors describe them."""

from __future__ import annotations

import base64
import json
import struct
import urllib.parse
from typing import Any

import numpy as np

from pipeline.geometry.errors import MeshError

_COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
MOST = 1 << 27  # elements of an accessor that names no bytes
ENDINGS = ("glb", "gltf")
_MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression")


class Document:
    """A glTF file: its JSON as `told`, and arrays out of its buffers."""

    def __init__(self, data: bytes):
        self.told, self.binary = opened(data)
        self._buffers: dict[int, bytes] = {}

    def array(self, place: int) -> np.ndarray:
        """What an accessor describes: (count, components), as numbers that are floats where it says `normalized`."""
        accessor = self.told["accessors"][place]
        kind, width = np.dtype(_COMPONENTS[accessor["componentType"]]), _WIDTHS[accessor["type"]]
        count = accessor["count"]
        if "bufferView" in accessor:
            values = self._items(accessor, kind, width, count)
        else:
            if not 0 <= count <= MOST:
                raise MeshError("bad_count", f"expected at most {MOST} elements without a buffer, got {count}")
            values = np.zeros((count, width), kind)
        if sparse := accessor.get("sparse"):
            where = sparse["indices"]
            values = values.copy()
            chosen = self._items(where, np.dtype(_COMPONENTS[where["componentType"]]), 1, sparse["count"])[:, 0]
            if chosen.min(initial=0) < 0:
                raise MeshError("unreadable", f"expected places of a sparse accessor from 0, got {chosen.min()}")
            values[chosen] = self._items(sparse["values"], kind, width, sparse["count"])
        if accessor.get("normalized") and kind.kind != "f":
            return np.maximum(values / np.iinfo(kind).max, -1)
        return values

    def view(self, place: int) -> bytes:
        """The bytes of a buffer view."""
        view = self.told["bufferViews"][place]
        for name in _MESHOPT:
            if name in view.get("extensions", {}) and name in self.told.get("extensionsRequired", []):
                raise MeshError("compression", f"expected buffers as they are, got such of {name}")
        start, size = view.get("byteOffset", 0), view["byteLength"]
        content = self._buffer(view["buffer"])
        if start < 0 or size < 0 or start + size > len(content):
            raise MeshError(
                "truncated", f"expected {start + size} bytes in buffer {view['buffer']}, got {len(content)}"
            )
        return content[start : start + size]

    def _items(self, source: dict[str, Any], kind: np.dtype, width: int, count: int) -> np.ndarray:
        """The elements of an accessor or of a part of a sparse one: (count, width)."""
        content = self.view(source["bufferView"])
        size = kind.itemsize * width
        stride = self.told["bufferViews"][source["bufferView"]].get("byteStride", size)
        if stride < size:
            raise MeshError("unreadable", f"expected a byteStride of {size} or more, got {stride}")
        start = source.get("byteOffset", 0)
        if start < 0 or count < 0 or (count and start + stride * (count - 1) + size > len(content)):
            raise MeshError(
                "truncated", f"expected {count} elements of {stride} bytes, got {len(content) - start} bytes"
            )
        return np.ndarray((count, width), kind, content, start, (stride, kind.itemsize))

    def _buffer(self, place: int) -> bytes:
        if place not in self._buffers:
            buffer = self.told["buffers"][place]
            content = self.binary if place == 0 and "uri" not in buffer else _content(buffer.get("uri", ""), place)
            if len(content) < buffer["byteLength"]:
                expected = f"expected {buffer['byteLength']} bytes in buffer {place}"
                raise MeshError("truncated", f"{expected}, got {len(content)}")
            self._buffers[place] = content
        return self._buffers[place]


def opened(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON of a `.gltf` or `.glb`, and the bytes that come along in the latter.

    Raises:
        MeshError: `unreadable`, `truncated`, `unsupported` (another version than 2).
    """
    binary = b""
    if data[:4] == b"glTF":
        if len(data) < 12:
            raise MeshError("truncated", f"expected the head of a GLB, got {len(data)} bytes")
        version, length = struct.unpack_from("<II", data, 4)
        if version != 2:
            raise MeshError("unsupported", f"expected glTF 2.0, got version {version}")
        if length > len(data):
            raise MeshError("truncated", f"expected {length} bytes as its head says, got {len(data)}")
        chunks = dict(_chunks(data[:length]))
        data, binary = chunks.get(b"JSON", b""), chunks.get(b"BIN\0", b"")
    try:
        told = json.loads(data.rstrip(b"\0"))
    except (ValueError, RecursionError) as error:
        raise MeshError("unreadable", f"expected glTF's JSON, got {error}") from error
    version = told.get("asset", {}).get("version", "") if isinstance(told, dict) else ""
    if not str(version).startswith("2."):
        raise MeshError("unsupported", f"expected glTF 2.0, got version '{version}'")
    return {name: Listed(part) if isinstance(part, list) else part for name, part in told.items()}, binary


class Listed(list[Any]):
    """What glTF refers to by number, of which there are none below 0."""

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, int) and place < 0:
            raise IndexError(f"list index {place}")
        return super().__getitem__(place)


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """The kind and content of each chunk, those that count first of their kind last."""
    found = []
    place = 12
    while place + 8 <= len(data):
        size, kind = struct.unpack_from("<I4s", data, place)
        if place + 8 + size > len(data):
            raise MeshError("truncated", f"expected a chunk of {size} bytes, got {len(data) - place - 8}")
        found.append((kind, data[place + 8 : place + 8 + size]))
        place += 8 + size
    return found[::-1]


def _content(uri: str, place: int) -> bytes:
    if not uri:
        raise MeshError("unreadable", f"expected a file or data of buffer {place}, got neither")
    if (content := embedded(uri)) is None:
        raise MeshError("missing_file", f"expected buffers within the file, got one in '{uri[:80]}' beside it")
    return content


def embedded(uri: str) -> bytes | None:
    """What a `data:` URI holds; None of another."""
    head, comma, content = uri.partition(",")
    if not head.startswith("data:") or not comma:
        return None
    raw = urllib.parse.unquote_to_bytes(content)
    return base64.b64decode(raw) if head.endswith(";base64") else raw


def files(data: bytes) -> list[str]:
    """The files that the buffers of glTF lie in, as paths from its folder; none where it is no glTF."""
    try:
        buffers = opened(data)[0].get("buffers", [])
        uris = [buffer["uri"] for buffer in buffers if "uri" in buffer]
        return [urllib.parse.unquote(uri) for uri in uris if not uri.startswith("data:")]
    except (MeshError, TypeError, AttributeError):
        return []


def bundled(data: bytes, contents: dict[str, bytes]) -> bytes:
    """glTF with the contents of its `files` in its JSON, as it came where there are none."""
    if not contents:
        return data
    told, binary = opened(data)
    for place, buffer in enumerate(told["buffers"]):
        name = urllib.parse.unquote(buffer.get("uri", ""))
        content = contents.get(name, None if name or place else binary)
        if content is not None:
            buffer["uri"] = f"data:application/octet-stream;base64,{base64.b64encode(content).decode()}"
    return json.dumps(told).encode()
