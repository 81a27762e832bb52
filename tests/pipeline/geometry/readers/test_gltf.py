from __future__ import annotations

import base64
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from pipeline import catalog
from pipeline.geometry import meshes
from pipeline.geometry.meshes import Mesh, MeshError
from pipeline.geometry.readers import gltf
from pipeline.records import catalogue
from pipeline.runtime.params import Dataset
from pipeline.sources import tree
from pipeline.sources.layout import ModelRef
from tests.pipeline.geometry.readers import solids
from tests.pipeline.geometry.readers.solids import Solid

KINDS = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
WIDTHS = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


class Writer:
    """A glTF file that grows: its JSON and a buffer."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {"asset": {"version": "2.0"}, "accessors": [], "bufferViews": []}
        self.told |= {"meshes": [], "nodes": []}
        self.data = b""

    def view(self, content: bytes, stride: int = 0) -> int:
        self.data += bytes(-len(self.data) % 4)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(content)}
        self.told["bufferViews"].append(view | ({"byteStride": stride} if stride else {}))
        self.data += content
        return len(self.told["bufferViews"]) - 1

    def accessor(self, values: np.ndarray, kind: str, padding: int = 0, lead: int = 0, **more: Any) -> int:
        """An accessor of values (count, width), each with bytes behind it, the first with bytes before it."""
        values = values.reshape(len(values), -1).astype(f"<{kind}")
        rows = [row.tobytes() + b"\xee" * padding for row in values]
        place = self.view(b"\xee" * lead + b"".join(rows), len(rows[0]) if padding else 0)
        return self.described(values, kind, bufferView=place, **({"byteOffset": lead} if lead else {}), **more)

    def described(self, values: np.ndarray, kind: str, **more: Any) -> int:
        told = {"componentType": KINDS[kind], "count": len(values), "type": WIDTHS[values.shape[1]]}
        self.told["accessors"].append(told | more)
        return len(self.told["accessors"]) - 1

    def sparse(self, base: np.ndarray | None, values: np.ndarray) -> int:
        """An accessor of values of which those that differ from a base, or from 0, are told one by one."""
        differ = np.flatnonzero((values != (0 if base is None else base)).any(axis=1))
        where = {"bufferView": self.view(differ.astype("<u2").tobytes()), "componentType": KINDS["u2"]}
        what = {"bufferView": self.view(values[differ].astype("<f4").tobytes())}
        more = {} if base is None else {"bufferView": self.view(base.astype("<f4").tobytes())}
        return self.described(values, "f4", **more, sparse={"count": len(differ), "indices": where, "values": what})

    def add(self, primitives: list[dict[str, Any]], **node: Any) -> int:
        """A node with a mesh; its place."""
        self.told["meshes"].append({"primitives": primitives})
        self.told["nodes"].append({"mesh": len(self.told["meshes"]) - 1, **node})
        return len(self.told["nodes"]) - 1

    def glb(self, *outside: dict[str, Any]) -> bytes:
        told = self.told | {"buffers": [{"byteLength": len(self.data)}, *outside]}
        text = json.dumps(told).encode()
        chunks = [(text + b" " * (-len(text) % 4), b"JSON"), (self.data + bytes(-len(self.data) % 4), b"BIN\0")]
        body = b"".join(struct.pack("<I4s", len(content), kind) + content for content, kind in chunks)
        return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body

    def gltf(self, uri: str = "") -> bytes:
        uri = uri or "data:application/octet-stream;base64," + base64.b64encode(self.data).decode()
        return json.dumps(self.told | {"buffers": [{"byteLength": len(self.data), "uri": uri}]}).encode()


def primitive(writer: Writer, vertices: np.ndarray, faces: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """Triangles in one of the ways that a primitive may say them."""
    way = rng.integers(5)
    padding, lead = (4, 4) if rng.random() < 0.3 else (0, 0)
    if way == 0:  # without indices
        return {"attributes": {"POSITION": writer.accessor(vertices[faces].reshape(-1, 3), "f4", padding, lead)}}
    if way == 1:
        base = np.where(rng.random((len(vertices), 1)) < 0.5, vertices, vertices + 1)
        place = writer.sparse(None if rng.random() < 0.5 else base, vertices)
    else:
        place = writer.accessor(vertices, "f4", padding, lead)
    indices: np.ndarray = faces.ravel()
    mode = 4
    if way == 2:  # each triangle's strip joined to the next by triangles without an area
        following = np.roll(faces[:, 0], -1)
        indices, mode = np.stack([*faces.T, faces[:, 2], following, following], axis=1).ravel()[:-3], 5
    told = {"attributes": {"POSITION": place}, "mode": mode}
    return told | {"indices": writer.accessor(indices[:, None], rng.choice(["u1", "u2", "u4"]))}


def quaternion(rng: np.random.Generator) -> np.ndarray:
    """Of a turn by quarters."""
    return np.array([[0, 0, 0, 1], [0.5**0.5, 0, 0, 0.5**0.5], [0.5, 0.5, 0.5, 0.5], [0, 1, 0, 0]][rng.integers(4)])


def matrix_of(node: dict[str, Any]) -> np.ndarray:
    """By trimesh, of a node's translation, rotation and scale."""
    x, y, z, w = node["rotation"]
    turn = trimesh.transformations.quaternion_matrix([w, x, y, z])
    return trimesh.transformations.translation_matrix(node["translation"]) @ turn @ np.diag([*node["scale"], 1])


def drawn(rng: np.random.Generator) -> dict[str, Any]:
    scale = rng.choice([0.25, 0.5, 2, 4], 3) if rng.random() < 0.5 else np.full(3, rng.choice([0.5, 2]))
    return {
        "translation": rng.integers(-3, 4, 3).tolist(),
        "rotation": quaternion(rng).tolist(),
        "scale": scale.tolist(),
    }


def moved(vertices: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return np.asarray(trimesh.transform_points(vertices, matrix))


def varied(shape: Solid, rng: np.random.Generator) -> bytes:
    """A solid in one of the many ways that glTF may be written."""
    writer = Writer()
    faces = solids.triangulated(shape)
    outer, inner = drawn(rng), drawn(rng)
    world = matrix_of(outer) @ matrix_of(inner)
    own = moved(shape.vertices, np.linalg.inv(world))
    told: dict[str, Any] = inner
    if rng.random() < 0.5:
        told = {"matrix": matrix_of(inner).T.ravel().tolist()}
    kind = rng.integers(4)
    half = faces[: len(faces) // 2], faces[len(faces) // 2 :]
    if kind == 0:  # two primitives
        tops = [writer.add([primitive(writer, own, part, rng) for part in half], **told)]
    elif kind == 1:  # a morph that half happened
        far = rng.integers(-2, 3, own.shape).astype(float)
        made: dict[str, Any] = {"attributes": {"POSITION": writer.accessor(own - far / 2, "f4")}}
        made |= {
            "indices": writer.accessor(faces.reshape(-1, 1), "u2"),
            "targets": [{"POSITION": writer.sparse(None, far)}],
        }
        tops = [writer.add([made], **told)]
        by_node = rng.random() < 0.5
        writer.told["meshes"][0]["weights"] = [0 if by_node else 0.5]
        writer.told["nodes"][0] = writer.told["nodes"][0] | ({"weights": [0.5]} if by_node else {})
    elif kind == 2:  # one mesh in two places, each of them half of the solid moved to where the other is
        writer.add([primitive(writer, own + np.array([8, 0, 0]), half[0], rng)], translation=[-8, 0, 0])
        writer.add([primitive(writer, own, half[1], rng)])
        writer.told["nodes"].append({"children": [0, 1], **told})
        tops = [2]
    else:  # a skin of two joints, which are in different places; the node's own does not count
        joints = np.zeros((len(own), 4), int)
        joints[:, 0] = np.arange(len(own)) % 2
        weights = np.tile([255, 0, 0, 0], (len(own), 1))
        made = primitive(writer, own, faces, rng)
        if "indices" not in made:
            joints, weights = joints[faces.ravel()], weights[faces.ravel()]
        made["attributes"]["JOINTS_0"] = writer.accessor(joints, rng.choice(["u1", "u2"]))
        made["attributes"]["WEIGHTS_0"] = writer.accessor(weights, "u1", normalized=True)
        bind = np.stack([np.eye(4), matrix_of(inner).T]).reshape(2, 16)
        writer.add([made], skin=0, translation=[9, 9, 9])
        writer.told["nodes"] += [told, {"name": "as its parent"}]
        writer.told["skins"] = [{"joints": [1, 2], "inverseBindMatrices": writer.accessor(bind, "f4")}]
        tops = [0, 1, 2]
    nodes = writer.told["nodes"]
    nodes += [{"children": tops, **outer}, {"mesh": 0, "name": "of another scene"}, {"camera": 0}]
    writer.told["scenes"] = [{"nodes": [len(nodes) - 2]}, {"nodes": [len(nodes) - 3, len(nodes) - 1]}]
    writer.told["scene"] = 1
    if rng.random() < 0.3:
        writer.told |= {"extensionsUsed": ["EXT_of_nobody"], "extensionsRequired": ["KHR_texture_transform"]}
    return writer.glb() if rng.random() < 0.5 else writer.gltf()


@pytest.mark.long
def test_two_hundred_ways_to_write_a_solid() -> None:
    for seed, rng, shape in solids.solids():
        solids.assert_same(*gltf.read(varied(shape, rng)), shape, seed, close=1e-4)


TETRAHEDRON = Solid(
    np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]), [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]
)
FACES = np.array(TETRAHEDRON.polygons)


def simple(vertices: np.ndarray = TETRAHEDRON.vertices, kind: str = "f4", **more: Any) -> tuple[Writer, dict[str, Any]]:
    """A writer and a primitive of a tetrahedron."""
    writer = Writer()
    told = {"attributes": {"POSITION": writer.accessor(vertices, kind, **more)}}
    return writer, told | {"indices": writer.accessor(FACES.reshape(-1, 1), "u1")}


def corners(mesh: Mesh) -> list[list[list[float]]]:
    return sorted(mesh.vertices[mesh.faces].round(5).tolist())


CLEAN = TETRAHEDRON.vertices[FACES].tolist()


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2"])
@pytest.mark.parametrize("padding", [0, 1])
def test_normalised_integers_are_shares_of_their_largest(kind: str, padding: int) -> None:
    largest = np.iinfo(np.dtype(f"<{kind}")).max
    writer, told = simple(TETRAHEDRON.vertices * largest, kind, padding=padding, normalized=True)
    writer.told["extensionsRequired"] = ["KHR_mesh_quantization"]
    writer.add([told], scale=[2, 2, 2])
    mesh = meshes.read(writer.glb(), "glb")
    assert corners(mesh) == sorted((np.array(CLEAN) * 2).tolist())
    del writer.told["accessors"][told["attributes"]["POSITION"]]["normalized"]
    writer.told["nodes"][0]["scale"] = [1 / largest] * 3
    assert corners(meshes.read(writer.glb(), "glb")) == sorted(CLEAN)


def test_the_lowest_integer_is_minus_one() -> None:
    writer, told = simple(np.array([[-128, 0, 0], [127, 0, 0], [0, 127, 0], [0, 0, 127]]), "i1", normalized=True)
    writer.add([told])
    assert meshes.read(writer.glb(), "glb").vertices.min() == -1


def test_instances() -> None:
    writer, told = simple()
    attributes = {
        "TRANSLATION": writer.accessor(np.array([[0.0, 0, 0], [5, 0, 0], [0, 7, 0]]), "f4"),
        "ROTATION": writer.accessor(np.array([[0, 0, 0, 127]] * 2 + [[0, 127, 0, 0]]), "i1", normalized=True),
        "SCALE": writer.accessor(np.array([[1.0, 1, 1], [2, 2, 2], [1, 1, 1]]), "f4"),
    }
    writer.told["extensionsRequired"] = ["EXT_mesh_gpu_instancing"]
    writer.add([told], translation=[0, 0, 1], extensions={"EXT_mesh_gpu_instancing": {"attributes": attributes}})
    mesh = meshes.read(writer.glb(), "glb")
    own = np.array(CLEAN)
    turned = own * [-1, 1, -1]  # by half about Y
    expected = np.concatenate([own, own * 2 + np.array([5, 0, 0]), turned + np.array([0, 7, 0])]) + np.array([0, 0, 1])
    assert corners(mesh) == sorted(expected.tolist())


@pytest.mark.parametrize(("mode", "count"), [(5, 4), (6, 4)])
def test_strips_and_fans_cover_a_square(mode: int, count: int) -> None:
    square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    writer = Writer()
    order = [0, 1, 3, 2] if mode == 5 else [0, 1, 2, 3]
    writer.add([{"attributes": {"POSITION": writer.accessor(square[order], "f4")}, "mode": mode}])
    mesh = meshes.read(writer.glb(), "glb")
    made = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert len(mesh.faces) == 2 and made.area == 1 and (made.face_normals == [0, 0, 1]).all()


def test_what_is_no_surface_is_passed_over() -> None:
    writer, told = simple()
    points = {"attributes": told["attributes"]}
    writer.add([told, *({**points, "mode": mode} for mode in range(4))])
    assert corners(meshes.read(writer.glb(), "glb")) == sorted(CLEAN)


@pytest.mark.parametrize("change", ["no scenes", "no default", "no nodes", "hidden", "bom"])
def test_scenes(change: str) -> None:
    writer, told = simple()
    writer.add([told], **({"scale": [1, 1, 1]} if change != "no nodes" else {}))
    if change == "no default":
        writer.told["scenes"] = [{"nodes": [0]}, {"nodes": []}]
    if change == "no nodes":
        writer.told["nodes"] = []
    if change == "hidden":
        hidden = {"extensions": {"KHR_node_visibility": {"visible": False}}}
        writer.told["nodes"] += [
            {"mesh": 0, "translation": [9, 0, 0], **hidden},
            {"children": [3], **hidden},
            {"mesh": 0},
        ]
    data = b"\xef\xbb\xbf" + writer.gltf() if change == "bom" else writer.glb()
    assert corners(meshes.read(data, "gltf")) == sorted(CLEAN)


def test_as_trimesh_reads_a_scene() -> None:
    scene = trimesh.Scene()
    turn = trimesh.transformations.random_rotation_matrix(np.array([0.1, 0.2, 0.3]))
    for n, part in enumerate((trimesh.creation.box((1, 2, 3)), trimesh.creation.icosphere(1))):
        scene.add_geometry(part, transform=trimesh.transformations.translation_matrix([3 * n, 0, 1]) @ turn)
    mesh = meshes.read(bytes(scene.export(file_type="glb")), "glb")
    expected = scene.to_mesh()
    assert trimesh.Trimesh(mesh.vertices, mesh.faces).volume == pytest.approx(expected.volume, rel=1e-5)
    assert np.allclose(mesh.vertices.min(axis=0), expected.bounds[0], atol=1e-5)


@pytest.mark.parametrize("required", [True, False])
def test_draco(required: bool) -> None:
    DracoPy = pytest.importorskip("DracoPy")
    ball = trimesh.creation.icosphere(2)
    data = DracoPy.encode(ball.vertices, ball.faces, quantization_bits=20)
    writer = Writer()
    vertices = writer.described(np.zeros(ball.vertices.shape), "f4")
    indices = writer.described(np.zeros((ball.faces.size, 1)), "u2")
    packed = {"KHR_draco_mesh_compression": {"bufferView": writer.view(data), "attributes": {"POSITION": 0}}}
    writer.add([{"attributes": {"POSITION": vertices}, "indices": indices, "extensions": packed}], scale=[2, 2, 2])
    writer.told["extensionsRequired" if required else "extensionsUsed"] = ["KHR_draco_mesh_compression"]
    mesh = meshes.read(writer.glb(), "glb")
    made = trimesh.Trimesh(mesh.vertices, mesh.faces)
    assert made.is_watertight and made.volume == pytest.approx(8 * ball.volume, rel=1e-4)


def compressed(name: str) -> bytes:
    """A tetrahedron whose buffer view is compressed, or says so."""
    writer, told = simple()
    if "draco" in name:
        told["extensions"] = {
            name: {"bufferView": writer.view(b"DRACO\2\2" + bytes(40)), "attributes": {"POSITION": 0}}
        }
    else:
        writer.told["bufferViews"][0]["extensions"] = {
            name: {"buffer": 0, "byteLength": 9, "byteStride": 12, "count": 4}
        }
    writer.told["extensionsRequired"] = [name]
    writer.add([told])
    return writer.glb()


def changed(**more: Any) -> bytes:
    writer, told = simple()
    writer.add([told])
    writer.told |= more
    return writer.glb()


def reaching(past: str) -> bytes:
    writer, told = simple()
    writer.add([told])
    {"accessor": writer.told["accessors"], "view": writer.told["bufferViews"]}[past][0][
        "count" if past == "accessor" else "byteLength"
    ] = 999
    return writer.glb()


def nowhere(count: int) -> bytes:
    """Whose positions lie in no buffer."""
    writer, told = simple()
    writer.add([told])
    del writer.told["accessors"][told["attributes"]["POSITION"]]["bufferView"]
    writer.told["accessors"][told["attributes"]["POSITION"]]["count"] = count
    return writer.glb()


def skinned(*kept: str) -> bytes:
    """With a skin, and of what it needs only some."""
    writer, told = simple()
    there = {"JOINTS_0": (np.zeros((4, 4)), "u1"), "WEIGHTS_0": (np.eye(4), "f4")}
    told["attributes"] |= {name: writer.accessor(*there[name]) for name in kept}
    writer.add([told], skin=0)
    writer.told["skins"] = [{"joints": [0]}]
    return writer.glb()


def strided(stride: int) -> bytes:
    writer, told = simple()
    writer.add([told])
    writer.told["bufferViews"][0]["byteStride"] = stride
    return writer.glb()


def morphed(count: int) -> bytes:
    writer, told = simple()
    writer.add([told | {"targets": [{"POSITION": writer.accessor(np.ones((count, 3)), "f4")}]}], weights=[1])
    return writer.glb()


WHOLE = changed()


@pytest.mark.parametrize(
    ("data", "reason", "named"),
    [
        (compressed("KHR_draco_mesh_compression"), "compression", "KHR_draco_mesh_compression"),
        (compressed("EXT_meshopt_compression"), "compression", "EXT_meshopt_compression"),
        (compressed("KHR_meshopt_compression"), "compression", "KHR_meshopt_compression"),
        (changed(extensionsRequired=["KHR_texture_basisu", "EXT_b", "ACME_a"]), "unsupported", "ACME_a, EXT_b"),
        (changed(asset={"version": "1.0"}), "unsupported", "1.0"),
        (WHOLE[:4] + b"\1" + WHOLE[5:], "unsupported", "version 1"),
        (WHOLE[:-4], "truncated", "as its head says"),
        (WHOLE[:10], "truncated", "head"),
        (reaching("accessor"), "truncated", "999"),
        (reaching("view"), "truncated", "999"),
        (nowhere(10**12), "bad_count", "1000000000000"),
        (
            changed(nodes=[{"mesh": 0, "children": [1]}, {"children": [0]}], scenes=[{"nodes": [0]}]),
            "unreadable",
            "tree",
        ),
        (changed(nodes=[{"mesh": 7}]), "unreadable", "IndexError"),
        (changed(nodes=[{"mesh": -1}]), "unreadable", "index -1"),
        (changed(nodes=[{"mesh": 0, "scale": [2]}]), "unreadable", "size 1"),
        (changed(nodes=[{"mesh": 0, "matrix": [*np.eye(4).ravel()[:-1], 2]}]), "unreadable", "affine"),
        (strided(4), "unreadable", "a byteStride of 12 or more, got 4"),
        (morphed(1), "unreadable", "4 moves of a morph, got 1"),
        (skinned(), "unreadable", "JOINTS_0 and WEIGHTS_0 of a mesh with a skin"),
        (skinned("JOINTS_0"), "unreadable", "expected WEIGHTS_0"),
        (skinned("WEIGHTS_0"), "unreadable", "expected JOINTS_0"),
        (changed(nodes=[{"camera": 0}]), "no_faces", "none"),
        (b"{}", "unsupported", "version"),
        (b"[1]", "unsupported", "version"),
        (b"glTF's", "truncated", "head"),
        (b"{'asset'}", "unreadable", "JSON"),
        (b"[" * 100_000, "unreadable", "JSON"),
    ],
)
def test_refused_by_name(data: bytes, reason: str, named: str) -> None:
    with pytest.raises(MeshError, match="expected") as caught:
        meshes.read(data, "glb")
    assert caught.value.reason == reason and named in str(caught.value)


def external(root: Path, uri: str, file: str) -> ModelRef:
    writer, told = simple()
    writer.add([told])
    for name, content in (("chairs/a/b.gltf", writer.gltf(uri)), (file, writer.data)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return ModelRef("chairs", "a.b", "folders", "chairs/a/b.gltf")


@pytest.mark.parametrize(
    ("uri", "file"),
    [
        ("b.bin", "chairs/a/b.bin"),
        ("all%20buffers/b.bin", "chairs/a/all buffers/b.bin"),
        ("../b.bin", "chairs/b.bin"),
        ("./b.bin", "chairs/a/b.bin"),
    ],
)
def test_buffers_beside_the_file(uri: str, file: str, tmp_path: Path) -> None:
    ref = external(tmp_path, uri, file)
    assert corners(meshes.read(ref.read(tmp_path), "gltf")) == sorted(CLEAN)


def test_a_glb_may_have_buffers_beside_it_as_well(tmp_path: Path) -> None:
    writer, told = simple()
    writer.add([told])
    first, second = dict(writer.told["bufferViews"][0]), writer.data
    writer.told["bufferViews"][0] |= {"buffer": 1, "byteOffset": 0}  # the positions, elsewhere; the rest within
    whole = writer.glb({"uri": "b.bin", "byteLength": first["byteLength"]})
    (tmp_path / "b.glb").write_bytes(whole)
    start = first.get("byteOffset", 0)
    (tmp_path / "b.bin").write_bytes(second[start : start + first["byteLength"]])
    assert corners(meshes.read(ModelRef("c", "b", "folders", "b.glb").read(tmp_path), "glb")) == sorted(CLEAN)
    assert corners(meshes.load(tmp_path / "b.glb")) == sorted(CLEAN)


def test_a_buffer_that_a_zip_lacks_is_missing_as_one_in_a_folder(tmp_path: Path) -> None:
    external(tmp_path, "b.bin", "chairs/a/b.bin")
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(tmp_path / "chairs/a/b.gltf", "a/b.gltf")
    with pytest.raises(MeshError, match="expected 'b.bin' beside the mesh, found none") as caught:
        ModelRef("chairs", "a.b", "folders", "z.zip!/a/b.gltf").read(tmp_path)
    assert caught.value.reason == "missing_file"


@pytest.mark.parametrize(("uri", "reason"), [("none.bin", "missing_file"), ("../../../c.bin", "outside_root")])
def test_buffers_that_are_not_there_are_named(uri: str, reason: str, tmp_path: Path) -> None:
    ref = external(tmp_path / "root", uri, "c.bin")
    (tmp_path / "c.bin").write_bytes(b"x")
    with pytest.raises(MeshError, match=r"none\.bin|c\.bin") as caught:
        ref.read(tmp_path / "root")
    assert caught.value.reason == reason
    with pytest.raises(MeshError, match="beside it") as caught:
        meshes.read((tmp_path / "root" / ref.mesh).read_bytes(), "gltf")
    assert caught.value.reason == "missing_file"


@pytest.mark.parametrize("uri", ["none.bin", "/dev/zero", "a%00b.bin", "\ud800.bin"])
def test_buffers_of_a_file_on_disk_are_files(uri: str, tmp_path: Path) -> None:
    ref = external(tmp_path, uri, "c.bin")
    with pytest.raises(MeshError, match="beside the mesh") as caught:
        meshes.load(tmp_path / ref.mesh)
    assert caught.value.reason == "missing_file"


def test_a_changed_buffer_is_another_mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tree, "SETTLED", -1.0)
    external(tmp_path / "raw", "b.bin", "chairs/a/b.bin")
    buffer = tmp_path / "raw" / "chairs/a/b.bin"
    found = []
    for content in (buffer.read_bytes(), buffer.read_bytes().replace(b"\0\0\x80\x3f", b"\0\0\0\x40")):
        buffer.write_bytes(content)
        catalog.catalog(Dataset(str(tmp_path / "raw"), "auto", ("chairs",), 0))
        (entry,) = catalogue.read_table(catalogue.CATALOG / "chairs.csv")
        found.append((entry.status, entry.sha256))
    assert found[0][0] == found[1][0] == "ok" and found[0][1] != found[1][1]
