"""3MF: what its build lists, of meshes and components in any of its parts (`p:path`).

What only holds a print up (objects of type `support` and `solidsupport`) is left out.
"""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from xml.etree.ElementTree import Element

import numpy as np

from pipeline.geometry.errors import MeshError
from pipeline.geometry.readers import pieces
from pipeline.geometry.readers.xml import parsed
from pipeline.geometry.zips import BROKEN_ZIP, content

_SPECS = "http://schemas.microsoft.com/3dmanufacturing/"
KNOWN = {_SPECS + name for name in "core/2015/02 production/2015/06 material/2015/02 trianglesets/2021/07".split()}
SUPPORTS = ("support", "solidsupport")
START = "3D/3dmodel.model"
# What slicers note of the parts of objects: some change how others are printed, or are cut out of them.
NOTES = ("metadata/slic3r_pe_model.config", "metadata/model_settings.config")
_MODIFIER = re.compile(
    rb"""(?:["']volume_type["'] value|subtype)=["'](?!(?:ModelPart|normal_part)["'])(\w+)"""
    rb"""|["']modifier["'] value=["']1["']"""
)
DEEP = 50  # components within one another


def read(data: bytes) -> pieces.Piece:
    """Positions (N, 3) float64 and triangles (M, 3) int64, not checked.

    Raises:
        MeshError: `unreadable`, `truncated`, `missing_file` (a part that is named and not there), `unsupported` (an
            extension that a part requires), `too_large` (a part, unpacked).
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            package = Package(archive)
            start = package.start()
            package.refuse_modifiers()
            items = package.model(start).findall("{*}build/{*}item")
            return pieces.joined([piece for item in items for piece in package.placed(item, start, np.eye(4), 0)])
    except BROKEN_ZIP as error:
        raise MeshError("unreadable", f"expected 3MF's zip, got {type(error).__name__}: {error}") from error


class Package:
    """The parts of a 3MF."""

    def __init__(self, archive: zipfile.ZipFile):
        self._archive = archive
        self._names = {name.lstrip("/").replace("\\", "/").lower(): name for name in archive.namelist()}
        self._models: dict[str, Element] = {}
        self._objects: dict[str, dict[str, Element]] = {}
        self._meshes: dict[tuple[str, str], pieces.Piece] = {}
        self._count = 0  # of what was placed

    def start(self) -> str:
        """The part that the package's relations name, or where it lies by custom."""
        if "_rels/.rels" in self._names:
            for relation in parsed(content(self._archive, self._names["_rels/.rels"])).findall("{*}Relationship"):
                if relation.get("Type", "").endswith("/3dmodel"):
                    return _part(relation.get("Target", ""))
        return _part(START)

    def refuse_modifiers(self) -> None:
        """Tells of parts that are no shape, as slicers have them among the others."""
        for name in NOTES:
            if name in self._names and (match := _MODIFIER.search(content(self._archive, self._names[name]))):
                kind = (match[1] or b"modifier").decode()
                raise MeshError("unsupported", f"expected parts of a shape, got a {kind} by '{self._names[name]}'")

    def model(self, part: str) -> Element:
        """The root of a part; its objects are remembered."""
        if part not in self._models:
            if part not in self._names:
                raise MeshError("missing_file", f"expected a part '{part}' in the 3MF, found none")
            spaces: dict[str, str] = {}
            root = parsed(content(self._archive, self._names[part]), spaces)
            _refuse_unknown(root, spaces)
            self._models[part] = root
            things = root.findall("{*}resources/{*}object")
            self._objects[part] = {each.get("id", ""): each for each in things}
            if len(self._objects[part]) < len(things):
                raise MeshError("unreadable", f"expected objects of ids of their own in '{part}', got one twice")
        return self._models[part]

    def placed(self, link: Element, part: str, matrix: np.ndarray, depth: int) -> list[pieces.Piece]:
        """What an item of the build or a component refers to, in the world."""
        part = next((_part(value) for name, value in link.attrib.items() if name.endswith("}path")), part)
        self.model(part)
        name = link.get("objectid", "")
        if name not in self._objects[part]:
            raise MeshError("unreadable", f"expected an object '{name}' in '{part}', found none")
        if depth > DEEP:
            raise MeshError("unreadable", f"expected components that end, got object '{name}' in itself")
        self._count = pieces.counted(self._count)
        thing = self._objects[part][name]
        if thing.get("type") in SUPPORTS:
            return []
        matrix = matrix @ _affine(link.get("transform"))
        found = [
            piece
            for each in thing.findall("{*}components/{*}component")
            for piece in self.placed(each, part, matrix, depth + 1)
        ]
        mesh = thing.find("{*}mesh")
        if (mesh is None and thing.find("{*}components") is None) or thing.find("{*}mesh/{*}beamlattice") is not None:
            kinds = ", ".join(each.tag.rpartition("}")[2] for each in (thing if mesh is None else mesh))
            raise MeshError(
                "unsupported", f"expected a mesh or components in object '{name}', got {kinds or 'nothing'}"
            )
        if mesh is not None:
            if (part, name) not in self._meshes:
                self._meshes[part, name] = _mesh(mesh)
            vertices, faces = self._meshes[part, name]
            found.append((pieces.moved(vertices, matrix), faces))
        return found


def _part(path: str) -> str:
    return posixpath.normpath(path.replace("\\", "/")).lstrip("/").lower()


def _refuse_unknown(root: Element, spaces: dict[str, str]) -> None:
    """Extensions that a part requires: prefixes in an attribute of its root."""
    for prefix in root.get("requiredextensions", "").split():
        if (space := spaces.get(prefix, prefix)) not in KNOWN:
            raise MeshError("unsupported", f"expected extensions of 3MF that are known here, got {space}")


def _affine(transform: str | None) -> np.ndarray:
    """(4, 4) for column vectors, of the twelve numbers of a 4x3 matrix for rows."""
    matrix = np.eye(4)
    if transform is not None:
        matrix[:3] = np.array(transform.split(), np.float64).reshape(4, 3).T
    return matrix


def _mesh(mesh: Element) -> pieces.Piece:
    vertices = [[vertex.attrib[axis] for axis in "xyz"] for vertex in mesh.iterfind("{*}vertices/{*}vertex")]
    faces = [
        [face.attrib[corner] for corner in ("v1", "v2", "v3")] for face in mesh.iterfind("{*}triangles/{*}triangle")
    ]
    return np.array(vertices, np.float64).reshape(-1, 3), np.array(faces, np.int64).reshape(-1, 3)
