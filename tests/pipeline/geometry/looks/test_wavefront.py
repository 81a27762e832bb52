from __future__ import annotations

import io

import numpy as np
import pytest
import trimesh
from PIL import Image
from trimesh.visual import TextureVisuals
from trimesh.visual.material import SimpleMaterial

from pipeline.geometry import meshes
from pipeline.geometry.bundles import bundled
from pipeline.geometry.looks import files, wavefront
from pipeline.geometry.looks.appearance import GRAY, Surface, fitted

SQUARE = b"v 0 0 0\nv 2 0 0\nv 2 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"

NOTHING: dict[str, bytes] = {}


def png(*colours: tuple[int, int, int]) -> bytes:
    whole = io.BytesIO()
    Image.fromarray(np.array([colours], np.uint8)).save(whole, "PNG")
    return whole.getvalue()


def read(obj: bytes, **files: bytes) -> Surface:
    found = wavefront.read(obj, lambda name: files.get(name.replace(".", "_")))
    assert found is not None
    return found


def base(found: Surface) -> np.ndarray:
    """(N, 3) colour of each triangle, its texture averaged."""
    looks = found.looks
    means = np.array([texture.mean(axis=(0, 1)) / 255 for texture in looks.textures])
    return (looks.colours * means)[looks.material] * looks.shade.mean(axis=1)


def test_materials_of_faces() -> None:
    obj = b"mtllib a.mtl\n" + SQUARE + b"f 1 2 3\nusemtl red  one\nf 1/1 3/3 4/4\nusemtl lost\nf 1 2 4\n"
    mtl = b"# by hand\nnewmtl other\nKd 0 1 0\n newmtl  red one # a comment\n\tKd 1 0.25 0\nKs 1 1 1\nmap_Ks none.png\n"
    assert base(read(obj, a_mtl=mtl)).tolist() == pytest.approx(np.array([[GRAY] * 3, [1, 0.25, 0], [GRAY] * 3]))
    assert wavefront.named(obj, lambda name: mtl) == ["a.mtl"]


@pytest.mark.parametrize(
    "faces",
    [
        b"usemtl red\nf 1 3 4#c\n",
        b"usemtl red\\\nf 1 3 4\n",
        b"usemtl red\nf 1 \\\n3 4\n",
        b"usemtl red\nfo 1 3 4\n",
        b"usemtl\tred\nf\v1\f3\t4\n",
    ],
)
def test_statements_are_those_that_the_shape_is_read_of(faces: bytes) -> None:
    obj = b"mtllib a.mtl\n" + SQUARE.replace(b"0 1 0\nvt", b"0 1 0#c\nvt") + faces
    for data in (obj, obj.replace(b"\n", b"\r"), obj.decode().encode("utf-16")):
        assert base(read(data, a_mtl=b"newmtl red\nKd 1 0 0\n")).tolist() == [[1, 0, 0]]
        assert wavefront.named(data, lambda name: b"") == ["a.mtl"]
        mesh = meshes.read(data, "obj")
        assert mesh.vertices[mesh.faces].tolist() == [[[0, 0, 0], [2, 1, 0], [0, 1, 0]]]


@pytest.mark.parametrize(
    ("mtl", "colour"),
    [
        (b"newmtl m\nKd .5 .5 1\nmap_Kd t.png\n", [0.5, 0.2, 0]),  # the product, as the specification says
        (b"newmtl m\nKd 0 0 0\nmap_Kd t.png\n", [1, 0.4, 0]),
        (b"newmtl m\nmap_Kd t.png\n", [1, 0.4, 0]),
        (b"newmtl m\nKd .5\n", [0.5, 0.5, 0.5]),
        (b"newmtl m\nKd spectral x.rfl\n", [GRAY] * 3),
        (b"newmtl m\nKd .5 2 -1\nmap_Kd lost.png\n", [0.5, 1, 0]),  # out of range; no such picture
        (b"newmtl m\nKd 0 0 0\nmap_Kd lost.png\n", [0, 0, 0]),
    ],
)
def test_colours_by_hand(mtl: bytes, colour: list[float]) -> None:
    obj = b"mtllib a.mtl\nusemtl m\n" + SQUARE + b"f 1/1 2/2 3/3\n"
    assert base(read(obj, a_mtl=mtl, t_png=png((255, 102, 0))))[0].tolist() == pytest.approx(colour)


@pytest.mark.parametrize(
    ("rest", "name", "scale", "offset"),
    [
        (b"a b.png", "a b.png", (1, 1), (0, 0)),
        (b"-s 2 3 1 -o .5 .25 0 t.png", "t.png", (2, 3), (0.5, 0.25)),
        (b"-s 2 t.png", "t.png", (2, 1), (0, 0)),
        (b"-bm 1 -clamp on  ..\\tex\\t 1.png", "..\\tex\\t 1.png", (1, 1), (0, 0)),
        (b"-mm 0 1 tex#2.png", "tex#2.png", (1, 1), (0, 0)),
        (b'"t.png" # theirs', "t.png", (1, 1), (0, 0)),
        (b"-s 2 3 1", "", (2, 3), (0, 0)),
    ],
)
def test_options_of_a_map(rest: bytes, name: str, scale: tuple[float, float], offset: tuple[float, float]) -> None:
    (material,) = wavefront._materials(b"newmtl m\nmap_Kd " + rest + b"\n").values()
    assert (material.texture, material.scale, material.offset) == (name, scale, offset)


def test_coordinates_of_corners_polygons_and_those_that_count_back() -> None:
    obj = b"mtllib a.mtl\nusemtl m\n" + SQUARE + b"f 1/1/1 2/2/1 3/3/1 4/4/1\nf -4/-4 -3/-3 -1/-1\nf 1//1 2//1 3//1\n"
    found = read(obj, a_mtl=b"newmtl m\nmap_Kd -s 1 2 -o .5 0 t.png\n", t_png=png((0, 0, 0)))
    assert len(found.corners) == 4
    bare = (found.looks.uv == [0.5, 0]).all(axis=(1, 2))
    assert bare.sum() == 1  # has no coordinates
    for corners, uv in zip(found.corners[~bare], found.looks.uv[~bare], strict=True):
        expected = corners[:, :2] * [0.5, 2] + [0.5, 0]
        assert np.allclose((uv - expected) % 1, 0) and np.ptp(uv - expected, axis=0).max() == 0


@pytest.mark.parametrize(
    ("change", "count"),
    [
        ((b"3/3 4/4", b"3/x 4/4"), 1),
        ((b"3/3 4/4", b"3/9 4/4"), 1),
        ((b"3/3 4/4", b"3/-9 4/4"), 1),
        ((b"3/3 4/4", b"3/99999999999999999999 4/4"), 1),
        ((b"vt 0 1", b"vt nan 1"), 1),
        ((b"vt 0 1", b"vt 0 word"), 1),
        ((b"vt 0 1", b"vt"), 1),
        ((b"vt 0 1", b"vt 1e300 0"), 1),
        ((b"vt 1 1", b"vt 1e999 0"), 2),
    ],
)
def test_where_texture_coordinates_are_damaged_the_material_is_bare(change: tuple[bytes, bytes], count: int) -> None:
    obj = b"mtllib a.mtl\nusemtl m\n" + SQUARE + b"f 1/1 2/2 3/3\nf 1/1 3/3 4/4\nusemtl n\nf 1/1 3/3 4/4\nf 1 2 3\n"
    changed = obj.replace(*change)
    mtl = {"a.mtl": b"newmtl m\nKd 0 .5 1\nmap_Kd t.png\nnewmtl n\nKd 1 0 0\n", "t.png": png((102, 102, 102))}
    sound, found = (files.read(data, "obj", mtl.get) for data in (obj, changed))
    assert sound is not None and found is not None and changed != obj and sound.looks.lost == ""
    assert base(sound).tolist() == pytest.approx(np.array([[0, 0.2, 0.4]] * 2 + [[1, 0, 0]] * 2))
    assert base(found).tolist() == pytest.approx(
        np.array([[0, 0.2, 0.4], [0, 0.5, 1], *[[1, 0, 0]] * 2])[[count - 1, 1, 2, 3]]
    )
    assert found.looks.lost == f"expected whole texture coordinates, found damaged ones at {count} of 4 faces"
    assert np.isfinite(found.looks.uv).all() and np.abs(found.looks.uv).max() < 10
    assert fitted(meshes.read(obj, "obj"), found).lost == found.looks.lost


def test_whatever_is_wrong_with_looks_costs_no_shape() -> None:
    coff = b"COFF\n3 1 0\n0 0 0 nan 0 1\n1 0 0 0 0 1\n0 1 0 0 0 1.\n3 0 1 2\n"
    white = files.read(coff, "off", NOTHING.get)
    assert white is not None and white.looks.lost == "expected finite colours, found others"
    assert np.isfinite(white.looks.shade).all()
    words = files.read(coff.replace(b"nan", b"word"), "off", NOTHING.get)
    assert words is not None and words.looks.lost.startswith("expected materials and textures, got ValueError: could")
    looks = fitted(meshes.read(coff, "off"), words)
    assert looks.lost == words.looks.lost and looks.colours.tolist() == [pytest.approx([GRAY] * 3)]


def test_mixed_ways_to_write_corners() -> None:
    assert wavefront._pairs([b"1", b"2/3", b"-4//5", b"6/-7/8", b"9/"]).tolist() == [
        [1, 0],
        [2, 3],
        [-4, 0],
        [6, -7],
        [9, 0],
    ]
    for corners in ([b"1/2/3", b"4/5/6"], [b"1/2", b"4/5"]):
        assert wavefront._pairs(corners).tolist() == [[1, 2], [4, 5]]
    assert wavefront._pairs([b"1//3", b"4//6"]).tolist() == [[1, 0], [4, 0]]
    assert wavefront._pairs([b"1/2/3", b"4/5", b"6"]).tolist() == [[1, 2], [4, 5], [6, 0]]


def test_vertices_with_colours() -> None:
    obj = b"v 0 0 0 1 0 0\nv 1 0 0 0 1 0\nv 0 1 0 0 0 1\nf 1 2 3\n"
    found = read(obj)
    assert np.array_equal(found.looks.shade[0], np.eye(3)) and found.looks.colours.tolist() == [[1, 1, 1]]
    assert wavefront.read(obj.replace(b"1 0 0 0 1 0", b"1 0 0"), lambda name: None) is None  # not all have one


def test_a_library_that_is_no_text_is_passed_over() -> None:
    obj = b"mtllib a.mtl\nusemtl m\n" + SQUARE + b"f 1 2 3\n"
    cut = "newmtl m\nKd 1 0 0".encode("utf-16")[:-1]
    assert wavefront.read(obj, lambda name: cut) is None and wavefront.named(obj, lambda name: cut) == ["a.mtl"]


def test_libraries_with_blanks_in_their_names_or_several() -> None:
    obj = b"mtllib my file.mtl\nusemtl m\n" + SQUARE + b"f 1 2 3\n"
    files = {"my file.mtl": b"newmtl m\nKd 1 0 0\n"}
    assert wavefront.named(obj, files.get) == ["my file.mtl"]
    apart = {"my": b"newmtl n\n", "file.mtl": b"newmtl m\nKd 0 0 1\nmap_Kd t.png\n"}
    assert wavefront.named(obj, apart.get) == ["file.mtl", "my", "t.png"]
    found = wavefront.read(obj, apart.get)
    assert found is not None and base(found)[0].tolist() == [0, 0, 1]
    assert wavefront.read(obj, NOTHING.get) is None and wavefront.named(obj, NOTHING.get) == ["file.mtl", "my"]


def test_parts_of_a_bundle_have_their_own_files() -> None:
    obj = b"mtllib %s.mtl\nusemtl m\n" + SQUARE + b"f 1 2 3\n"
    bundle = bundled([("1.obj", obj % b"a"), ("2.obj", SQUARE + b"f 1 2 4\n"), ("3.obj", obj % b"b")])
    mtls = {"a.mtl": b"newmtl m\nKd 1 0 0\n", "b.mtl": b"newmtl m\nKd 0 1 0\nmap_Kd t.png\n"}
    assert files.named(bundle, "parts", mtls.get) == ["a.mtl", "b.mtl", "t.png"]
    found = files.read(bundle, "parts", mtls.get)
    assert found is not None and base(found).tolist() == [[1, 0, 0], [0, 1, 0]]


def test_what_trimesh_writes() -> None:
    """A ball with a texture: by trimesh's own visuals, each corner has the colour that it has here."""
    rng, ball = np.random.default_rng(0), trimesh.creation.icosphere(2)
    picture = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    uv = rng.random((len(ball.vertices), 2))
    ball.visual = TextureVisuals(uv, SimpleMaterial(picture, diffuse=[255, 255, 255, 255]))
    obj, written = trimesh.exchange.obj.export_obj(ball, include_texture=True, return_texture=True)
    mesh = meshes.read(obj.encode(), "obj")
    looks = fitted(mesh, wavefront.read(obj.encode(), dict(written).get))
    (texture,) = {id(looks.textures[m]): looks.textures[m] for m in looks.material}.values()
    assert np.array_equal(texture, np.asarray(picture))
    nearest = np.linalg.norm(ball.vertices[None] - mesh.vertices[:, None], axis=2).argmin(axis=1)
    apart = looks.uv - uv[nearest][mesh.faces]
    assert np.abs(apart - np.round(apart)).max() < 1e-6
