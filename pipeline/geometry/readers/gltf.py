"""glTF 2.0, `.gltf` and `.glb`: what its default scene shows, at rest, read as its JSON says.

Triangles, strips and fans of all nodes, moved, instanced, morphed and skinned. Points, lines, cameras, materials and
animations are passed over. An extension that a file requires is known here or refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.geometry.errors import MeshError
from pipeline.geometry.readers import pieces
from pipeline.geometry.readers.accessors import Document

DRACO, INSTANCES, VISIBILITY = "KHR_draco_mesh_compression", "EXT_mesh_gpu_instancing", "KHR_node_visibility"
KNOWN = {DRACO, INSTANCES, VISIBILITY, "KHR_mesh_quantization"}
KNOWN |= {"EXT_meshopt_compression", "KHR_meshopt_compression"}  # refused where a buffer that counts is compressed
# What changes colours and lights, and no shape.
HARMLESS = tuple(
    "KHR_materials_ EXT_materials_ KHR_texture_ EXT_texture_ MSFT_texture_ KHR_lights_ EXT_lights_ KHR_xmp "
    "KHR_animation_pointer KHR_techniques_webgl MSFT_lod".split()
)
POINTS, LINES, TRIANGLES, STRIP, FAN = 0, range(1, 4), 4, 5, 6


def read(data: bytes) -> pieces.Piece:
    """Positions (N, 3) float64, with Y up, and triangles (M, 3) int64, not checked.

    Raises:
        MeshError: `unreadable`, `truncated`, `unsupported` (an extension or version), `compression`, `missing_file` (a
            buffer in a file beside it, see `accessors.bundled`).
    """
    return pieces.joined([piece for piece, _ in shown(Document(data))])


Shown = tuple[pieces.Piece, dict[str, Any]]  # a piece in the world, and the primitive that it is of


def shown(document: Document) -> list[Shown]:
    """The pieces of what the default scene shows; raises as `read`."""
    required = document.told.get("extensionsRequired", [])
    if unknown := sorted(name for name in required if name not in KNOWN and not name.startswith(HARMLESS)):
        raise MeshError("unsupported", f"expected extensions that are known here, got {', '.join(unknown)}")
    nodes = document.told.get("nodes", [])
    if not nodes:
        return [each for mesh in document.told.get("meshes", []) for each in _mesh(document, mesh, {})]
    places = {place: matrix for place, matrix, _ in _placed(nodes, _all_roots(nodes))}
    found = []
    for place, matrix, visible in _placed(nodes, _roots(document.told)):
        if visible and "mesh" in nodes[place]:
            found += _node(document, nodes[place], matrix, places)
    return found


def _roots(told: dict[str, Any]) -> list[int]:
    """Of the default scene, or the first; where there is none, all."""
    scenes = told.get("scenes", [])
    return scenes[told.get("scene", 0)].get("nodes", []) if scenes else _all_roots(told["nodes"])


def _all_roots(nodes: list[dict[str, Any]]) -> list[int]:
    below = {child for node in nodes for child in node.get("children", [])}
    return [place for place in range(len(nodes)) if place not in below]


def _placed(nodes: list[dict[str, Any]], roots: list[int]) -> Iterator[tuple[int, np.ndarray, bool]]:
    """All nodes below some, each with its affine to the world and whether it is shown."""
    waiting = [(root, np.eye(4), True) for root in reversed(roots)]
    seen = set()
    while waiting:
        place, above, shown = waiting.pop()
        if place in seen:
            raise MeshError("unreadable", f"expected nodes that form a tree, got node {place} in two places")
        seen.add(place)
        node = nodes[place]
        matrix = above @ _local(node)
        shown &= node.get("extensions", {}).get(VISIBILITY, {}).get("visible", True)
        yield place, matrix, shown
        waiting += [(child, matrix, shown) for child in reversed(node.get("children", []))]


def _local(node: dict[str, Any]) -> np.ndarray:
    if "matrix" in node:
        matrix = np.reshape(np.array(node["matrix"], np.float64), (4, 4)).T
        pieces.refuse_projection(matrix)
        return matrix
    turn = np.array([node.get("rotation", [0, 0, 0, 1])], np.float64)
    move, scale = (
        np.reshape(node.get(name, [usual] * 3), (1, 3)) for name, usual in (("translation", 0), ("scale", 1))
    )
    return _affines(move, turn, scale)[0]


def _affines(translations: Any, rotations: np.ndarray, scales: Any) -> np.ndarray:
    """(N, 4, 4), of translations (N, 3), unit quaternions x y z w (N, 4) and scales (N, 3)."""
    from scipy.spatial.transform import Rotation

    matrices = np.zeros((len(rotations), 4, 4))
    matrices[:, :3, :3] = Rotation.from_quat(rotations).as_matrix() * np.asarray(scales, np.float64)[:, None]
    matrices[:, :3, 3] = translations
    matrices[:, 3, 3] = 1
    return matrices


def _node(document: Document, node: dict[str, Any], matrix: np.ndarray, places: dict[int, np.ndarray]) -> list[Shown]:
    """The pieces of a node's mesh in the world."""
    found = _mesh(document, document.told["meshes"][node["mesh"]], node, places)
    if "skin" in node:  # a skin's joints say where everything is
        return found
    matrices = [matrix]
    if instances := node.get("extensions", {}).get(INSTANCES):
        told = {name: document.array(place) for name, place in instances["attributes"].items()}
        count = max(map(len, told.values()))
        turns = told.get("ROTATION", np.tile([0.0, 0, 0, 1], (count, 1)))
        scales = told.get("SCALE", np.ones((count, 3)))
        matrices = list(matrix @ _affines(told.get("TRANSLATION", np.zeros((count, 3))), turns, scales))
    return [((pieces.moved(at, each), faces), primitive) for each in matrices for (at, faces), primitive in found]


def _mesh(
    document: Document, mesh: dict[str, Any], node: dict[str, Any], places: dict[int, np.ndarray] | None = None
) -> list[Shown]:
    """The pieces of a mesh: in its own frame, or where a node's skin takes them."""
    found: list[Shown] = []
    for primitive in mesh["primitives"]:
        mode = primitive.get("mode", TRIANGLES)
        if mode == POINTS or mode in LINES or "POSITION" not in primitive["attributes"]:
            continue
        attributes, indices = attributes_of(document, primitive, ("POSITION", "JOINTS_", "WEIGHTS_"))
        vertices = attributes["POSITION"].astype(np.float64)
        for weight, target in zip(
            node.get("weights", mesh.get("weights", [])), primitive.get("targets", []), strict=False
        ):
            if weight and "POSITION" in target:
                moves = document.array(target["POSITION"])
                if moves.shape != vertices.shape:
                    raise MeshError("unreadable", f"expected {len(vertices)} moves of a morph, got {len(moves)}")
                vertices = vertices + weight * moves
        if "skin" in node and places is not None:
            vertices = _skinned(document, document.told["skins"][node["skin"]], attributes, vertices, places)
        found.append(((vertices, _triangles(mode, indices.astype(np.int64))), primitive))
    return found


def attributes_of(
    document: Document, primitive: dict[str, Any], wanted: tuple[str, ...]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The attributes of a primitive's vertices whose names begin with what is wanted, and its indices."""
    names = [name for name in primitive["attributes"] if name.startswith(wanted)]
    packed = primitive.get("extensions", {}).get(DRACO)
    if packed:
        return _unpacked(document.view(packed["bufferView"]), packed["attributes"], document, primitive, names)
    attributes = {name: document.array(primitive["attributes"][name]) for name in names}
    if "indices" in primitive:
        return attributes, document.array(primitive["indices"])[:, 0]
    return attributes, np.arange(document.told["accessors"][primitive["attributes"]["POSITION"]]["count"])


def _unpacked(
    data: bytes, ids: dict[str, int], document: Document, primitive: dict[str, Any], names: list[str]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """As `attributes_of`, of data that Draco compressed."""
    import DracoPy

    try:
        made = DracoPy.decode(data)
        by_id = {attribute["unique_id"]: attribute["data"] for attribute in made.attributes}
        packed = {name: np.asarray(by_id[place]) for name, place in ids.items()}
        faces = np.asarray(made.faces).ravel()
    except Exception as error:  # whatever the library makes of noise
        found = f"{type(error).__name__}: {error}"
        raise MeshError("compression", f"expected a mesh compressed by {DRACO}, got {found}") from error
    attributes = {}
    for name in names:
        attributes[name] = packed[name] if name in ids else document.array(primitive["attributes"][name])
        if document.told["accessors"][primitive["attributes"][name]].get("normalized") and name in ids:
            attributes[name] = np.maximum(attributes[name] / np.iinfo(attributes[name].dtype).max, -1)
    return attributes, faces


def _skinned(
    document: Document,
    skin: dict[str, Any],
    attributes: dict[str, np.ndarray],
    vertices: np.ndarray,
    places: dict[int, np.ndarray],
) -> np.ndarray:
    worlds = np.stack([places[joint] for joint in skin["joints"]])
    if "inverseBindMatrices" in skin:
        inverse = document.array(skin["inverseBindMatrices"])[: len(worlds)]
        worlds = worlds @ inverse.reshape(-1, 4, 4).transpose(0, 2, 1)
    sets = sorted(name.removeprefix("JOINTS_") for name in attributes if name.startswith("JOINTS_")) or ["0"]
    if lost := [name for n in sets for name in (f"JOINTS_{n}", f"WEIGHTS_{n}") if name not in attributes]:
        raise MeshError("unreadable", f"expected {' and '.join(lost)} of a mesh with a skin, found none")
    joints = np.concatenate([attributes[f"JOINTS_{n}"] for n in sets], axis=1)
    weights = np.concatenate([attributes[f"WEIGHTS_{n}"] for n in sets], axis=1)
    if joints.min(initial=0) < 0:
        raise MeshError("unreadable", f"expected joints from 0, got {joints.min()}")
    return pieces.skinned(vertices, worlds, joints, weights)


def _triangles(mode: int, indices: np.ndarray) -> np.ndarray:
    if mode == STRIP:
        return pieces.strip(indices)
    if mode == FAN:
        return pieces.fan(indices)
    if mode != TRIANGLES or len(indices) % 3:
        raise MeshError("unreadable", f"expected triangles, got {len(indices)} indices of mode {mode}")
    return indices.reshape(-1, 3)
