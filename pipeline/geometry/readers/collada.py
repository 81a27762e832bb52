"""COLLADA 1.4 and 1.5: what its scene shows, with Y up whatever `up_axis` says; lengths are in its own unit.

Triangles, polygons with and without holes, strips and fans of all nodes, moved, morphed and skinned.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from xml.etree.ElementTree import Element

import numpy as np

from pipeline.geometry.errors import MeshError
from pipeline.geometry.readers import pieces
from pipeline.geometry.readers.polygons import cut, triangulated
from pipeline.geometry.readers.xml import parsed
from pipeline.geometry.zips import BROKEN_ZIP, content

# Rows: where X, Y and Z of the scene come from.
UPRIGHT = {
    "X_UP": np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    "Y_UP": np.eye(3),
    "Z_UP": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
}
DEEP = 500  # nodes below one another


def read_zipped(data: bytes) -> pieces.Piece:
    """As `read`, of a `.zae`."""
    return read(unzipped(data))


def unzipped(data: bytes) -> bytes:
    """The document in a `.zae` that its manifest names, or the first; MeshError `unreadable` where there is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            documents = [name for name in names if name.lower().endswith(".dae")]
            if "manifest.xml" in names:
                roots = [each for each in parsed(content(archive, "manifest.xml")).iter() if _is(each, "dae_root")]
                documents = [_text(each).strip().removeprefix("./") for each in roots] + documents
            return content(archive, documents[0])
    except (*BROKEN_ZIP, KeyError, IndexError) as error:
        raise MeshError("unreadable", f"expected a zip with COLLADA, got {type(error).__name__}: {error}") from error


def read(data: bytes) -> pieces.Piece:
    """Positions (N, 3) float64 and triangles (M, 3) int64, not checked.

    Raises:
        MeshError: `unreadable`, `truncated`, `unsupported` (what lies in other files, transforms that nothing but
            cameras has, curved surfaces).
    """
    root = parsed(data)
    vertices, faces = pieces.joined(Document(root).shown())
    return vertices @ _upright(root).T, faces


def upright(data: bytes) -> np.ndarray:
    """(3, 3) from the axes of a document to those with Y up; raises as `read`."""
    return _upright(parsed(data))


def _upright(root: Element) -> np.ndarray:
    up = (root.findtext("{*}asset/{*}up_axis") or "Y_UP").strip()
    if up not in UPRIGHT:
        raise MeshError("unreadable", f"expected up_axis of {', '.join(UPRIGHT)}, got '{up}'")
    return UPRIGHT[up]


class Document:
    """A COLLADA document: its elements by their ids."""

    def __init__(self, root: Element):
        self.root = root
        self._count = 0  # of nodes that were placed
        self._by_id = {each.attrib["id"]: each for each in root.iter() if "id" in each.attrib}

    def shown(self) -> list[pieces.Piece]:
        """The pieces of the scene; of all geometries where there is no scene."""
        scene = self.root.find("{*}scene/{*}instance_visual_scene")
        if scene is None:
            scenes = self.root.findall("{*}library_visual_scenes/{*}visual_scene")
            if not scenes:
                geometries = self.root.findall("{*}library_geometries/{*}geometry")
                return [piece for geometry in geometries for piece in self._geometry(geometry)]
            top = scenes[0]
        else:
            top = self._target(scene)
        placed = [pair for node in top.findall("{*}node") for pair in self._placed(node, np.eye(4), 0)]
        worlds = {id(node): matrix for node, matrix in placed}
        return [piece for node, matrix in placed for piece in self._node(node, matrix, worlds)]

    def _placed(self, node: Element, above: np.ndarray, depth: int) -> Iterator[tuple[Element, np.ndarray]]:
        """All nodes below one, each with its affine to the world."""
        if depth > DEEP:
            raise MeshError("unreadable", f"expected nodes that end, got '{node.get('id')}' in itself")
        self._count = pieces.counted(self._count)
        matrix = above @ _local(node)
        yield node, matrix
        for each in node:
            if _is(each, "node"):
                yield from self._placed(each, matrix, depth + 1)
            elif _is(each, "instance_node"):
                yield from self._placed(self._target(each), matrix, depth + 1)

    def _node(self, node: Element, matrix: np.ndarray, worlds: dict[int, np.ndarray]) -> list[pieces.Piece]:
        found = []
        for each in node:
            if _is(each, "instance_geometry"):
                shape = self._geometry(self._target(each))
            elif _is(each, "instance_controller"):
                controller = self._target(each)
                shape = self._controlled(controller, each, worlds)
                if controller.find("{*}skin") is not None:  # its joints say where everything is
                    found += shape
                    continue
            else:
                continue
            found += [(pieces.moved(vertices, matrix), faces) for vertices, faces in shape]
        return found

    def _controlled(self, controller: Element, link: Element, worlds: dict[int, np.ndarray]) -> list[pieces.Piece]:
        """A geometry as its skin or morph leaves it."""
        morph, skin = controller.find("{*}morph"), controller.find("{*}skin")
        change = morph if skin is None else skin
        if change is None:
            raise MeshError("unreadable", "expected a controller with a skin or a morph, got neither")
        source = self._target(change, "source")
        found = self._controlled(source, link, worlds) if _is(source, "controller") else self._geometry(source)
        if skin is not None:
            return [(self._skinned(skin, link, vertices, worlds), faces) for vertices, faces in found]
        return self._morphed(change, found)

    def _morphed(self, morph: Element, found: list[pieces.Piece]) -> list[pieces.Piece]:
        inputs = {each.get("semantic"): self._target(each, "source") for each in morph.findall("{*}targets/{*}input")}
        targets = _text(_array(inputs["MORPH_TARGET"])).split()
        weights = _numbers(inputs["MORPH_WEIGHT"])
        relative = morph.get("method") == "RELATIVE"
        others = [self._geometry(self._by_id[name]) for name in targets]
        changed = []
        for n, (vertices, faces) in enumerate(found):
            base = vertices if relative else vertices * (1 - weights.sum())
            parts = [weight * other[n][0] for weight, other in zip(weights, others, strict=True)]
            changed.append((base + sum(parts), faces))
        return changed

    def _skinned(self, skin: Element, link: Element, vertices: np.ndarray, worlds: dict[int, np.ndarray]) -> np.ndarray:
        inputs = {each.get("semantic"): self._target(each, "source") for each in skin.findall("{*}joints/{*}input")}
        names = _text(_array(inputs["JOINT"])).split()
        inverse = _numbers(inputs["INV_BIND_MATRIX"]).reshape(-1, 4, 4)
        roots = [self._by_id[(each.text or "").strip().lstrip("#")] for each in link.findall("{*}skeleton")]
        bones = [node for root in roots or [self.root] for node in root.iter() if _is(node, "node")]
        bones += [node for node in self.root.iter() if _is(node, "node")]
        known = {node.get(key): node for key in ("id", "sid") for node in reversed(bones)}
        matrices = np.stack([worlds[id(known[name])] for name in names]) @ inverse
        bound = _matrix(skin.findtext("{*}bind_shape_matrix"))
        told = skin.find("{*}vertex_weights")
        if told is None:
            raise MeshError("unreadable", "expected weights of a skin, got none")
        offsets = {each.get("semantic"): int(each.get("offset", 0)) for each in told.findall("{*}input")}
        shares = _numbers(self._target(_input(told, "WEIGHT"), "source"))
        counts = np.array(_text(told.find("{*}vcount")).split(), np.int64)
        pairs = np.array(_text(told.find("{*}v")).split(), np.int64).reshape(-1, max(offsets.values()) + 1)
        matrices = np.concatenate([matrices, np.eye(4)[None]])  # joint -1: the shape as it is bound
        joints = np.zeros((len(counts), max(counts.max(initial=0), 1)), np.int64)
        weights = np.zeros(joints.shape)
        filled = np.arange(joints.shape[1]) < counts[:, None]
        joints[filled], weights[filled] = pairs[:, offsets["JOINT"]], shares[pairs[:, offsets["WEIGHT"]]]
        return pieces.skinned(pieces.moved(vertices, bound), matrices, joints, weights)

    def _geometry(self, geometry: Element) -> list[pieces.Piece]:
        mesh = geometry.find("{*}mesh")
        if mesh is None:
            if geometry.find("{*}spline") is not None:
                return []
            kinds = ", ".join(each.tag.rpartition("}")[2] for each in geometry)
            raise MeshError("unsupported", f"expected a mesh in a geometry, got {kinds or 'nothing'}")
        found = []
        for primitive in mesh:
            if primitive.tag.rpartition("}")[2] in _PRIMITIVES:
                vertices = self._positions(primitive, mesh)
                found.append((vertices, _faces(primitive, vertices)))
        return found

    def _positions(self, primitive: Element, mesh: Element) -> np.ndarray:
        """(N, 3) that a primitive's vertices index; trimesh calls the sources of every mesh alike."""
        link = _input(self._target(_input(primitive, "VERTEX"), "source", mesh), "POSITION")
        source = self._target(link, "source", mesh)
        accessor = source.find("{*}technique_common/{*}accessor")
        numbers = _numbers(source)
        if accessor is None:
            return numbers.reshape(-1, 3)
        count, stride = int(accessor.attrib["count"]), int(accessor.get("stride", 1))
        start = int(accessor.get("offset", 0))
        if len(numbers) < start + count * stride:
            raise MeshError("truncated", f"expected {count} positions as announced, found {len(numbers)} numbers")
        axes = [n for n, param in enumerate(accessor.findall("{*}param")) if param.get("name")]
        return numbers[start : start + count * stride].reshape(count, stride)[:, axes[:3] or [0, 1, 2]]

    def _target(self, link: Element, attribute: str = "url", near: Element | None = None) -> Element:
        """What a link of the document refers to, `near` before anything else of that name."""
        name = link.get(attribute, "")
        if not name.startswith("#"):
            raise MeshError("unsupported", f"expected links within the document, got '{name}'")
        if near is not None and (own := next((e for e in near.iter() if e.get("id") == name[1:]), None)) is not None:
            return own
        if name[1:] not in self._by_id:
            raise MeshError("unreadable", f"expected an element called '{name[1:]}', found none")
        return self._by_id[name[1:]]


_SHOWN = ("instance_geometry", "instance_controller", "instance_node")
_PRIMITIVES = ("triangles", "polylist", "polygons", "tristrips", "trifans")


def _faces(primitive: Element, vertices: np.ndarray) -> np.ndarray:
    """The triangles of a primitive."""
    kind = primitive.tag.rpartition("}")[2]
    inputs = primitive.findall("{*}input")
    width = max(int(each.get("offset", 0)) for each in inputs) + 1
    offset = int(_input(primitive, "VERTEX").get("offset", 0))
    runs = [_indices(p, width, offset) for p in primitive.findall("{*}p")]
    announced = int(primitive.get("count", 0))
    found: list[np.ndarray] = [np.zeros((0, 3), np.int64)]
    if kind == "tristrips":
        found += map(pieces.strip, runs)
    elif kind == "trifans":
        found += map(pieces.fan, runs)
    elif kind == "polygons":
        found += [triangulated(vertices, run, np.array([len(run)])) for run in runs]
        for holed in primitive.findall("{*}ph"):
            rings = [_indices(each, width, offset) for each in holed]
            corners = np.concatenate(rings)
            found.append(corners[cut(vertices[corners], np.cumsum([len(ring) for ring in rings]).tolist())])
    else:
        corners = np.concatenate([np.zeros(0, np.int64), *runs])
        counts: np.ndarray = np.full(announced, 3)
        if kind == "polylist":
            counts = np.array(_text(primitive.find("{*}vcount")).split(), np.int64)
        if len(counts) != announced or len(corners) != counts.sum():
            raise MeshError("truncated", f"expected {announced} {kind} as announced, found {len(corners)} corners")
        return triangulated(vertices, corners, counts)
    there = len(runs) + len(primitive.findall("{*}ph"))
    if there != announced:
        raise MeshError("truncated", f"expected {announced} {kind} as announced, found {there}")
    return np.concatenate(found)


def _indices(p: Element, width: int, offset: int) -> np.ndarray:
    return np.array(_text(p).split(), np.int64).reshape(-1, width)[:, offset]


def _local(node: Element) -> np.ndarray:
    """A node's affine: its transforms, one after another."""
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    for each in node:
        kind, step = each.tag.rpartition("}")[2], np.eye(4)
        if kind == "matrix":
            step = _matrix(each.text)
        elif kind == "translate":
            step[:3, 3] = np.array(_text(each).split(), np.float64).reshape(3, 1)[:, 0]
        elif kind == "scale":
            step[:3, :3] = np.diag(np.array(_text(each).split(), np.float64).reshape(3, 1)[:, 0])
        elif kind == "rotate":
            *axis, angle = np.array(_text(each).split(), np.float64)
            length = np.linalg.norm(axis) or 1.0
            step[:3, :3] = Rotation.from_rotvec(np.radians(angle) * np.array(axis) / length).as_matrix()
        elif kind in ("skew", "lookat") and any(_is(below, shown) for below in node.iter() for shown in _SHOWN):
            raise MeshError("unsupported", f"expected nodes that are moved, turned and scaled, got '{kind}'")
        matrix = matrix @ step
    return matrix


def _matrix(text: str | None) -> np.ndarray:
    matrix = np.eye(4) if text is None else np.array(text.split(), np.float64).reshape(4, 4)
    pieces.refuse_projection(matrix)
    return matrix


def _input(element: Element, semantic: str) -> Element:
    found = next((each for each in element.findall("{*}input") if each.get("semantic") == semantic), None)
    if found is None:
        raise MeshError("unreadable", f"expected an input {semantic} of '{element.tag.rpartition('}')[2]}', found none")
    return found


def _array(source: Element) -> Element:
    return next(each for each in source if each.tag.endswith("_array"))


def _numbers(source: Element) -> np.ndarray:
    """Of a source, as many as it announces."""
    found = np.array(_text(_array(source)).split(), np.float64)
    announced = int(_array(source).get("count", len(found)))
    if len(found) != announced:
        reason = "truncated" if len(found) < announced else "bad_count"
        raise MeshError(reason, f"expected {announced} numbers in a source as announced, found {len(found)}")
    return found


def _text(element: Element | None) -> str:
    return (element.text or "") if element is not None else ""


def _is(element: Element, name: str) -> bool:
    return element.tag.rpartition("}")[2] == name
