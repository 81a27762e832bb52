from __future__ import annotations

import io
import re
import zipfile
from typing import Any

import numpy as np
import pytest
import trimesh

from pipeline.geometry import meshes
from pipeline.geometry.meshes import MeshError
from pipeline.geometry.readers import collada
from tests.pipeline.geometry.readers import solids
from tests.pipeline.geometry.readers.solids import Solid

# What a document has in its own axes of what is (x, y, z) with Y up.
AXES = {"X_UP": [[0, 1, 0], [-1, 0, 0], [0, 0, 1]], "Y_UP": np.eye(3), "Z_UP": [[1, 0, 0], [0, 0, -1], [0, 1, 0]]}


def numbers(values: Any) -> str:
    return " ".join(repr(float(x)) for x in np.ravel(values))


def source(name: str, values: np.ndarray, more: int = 0, lead: int = 0) -> str:
    """Positions, with columns without a name behind, and numbers in front that are not theirs."""
    rows = np.concatenate([values, np.full((len(values), more), 9.0)], axis=1)
    flat = [9.0] * lead + rows.ravel().tolist()
    params = "".join(f'<param name="{axis}" type="float"/>' for axis in "XYZ") + '<param type="float"/>' * more
    accessor = (
        f'<accessor source="#{name}-a" count="{len(rows)}" stride="{3 + more}" offset="{lead}">{params}</accessor>'
    )
    array = f'<float_array id="{name}-a" count="{len(flat)}">{numbers(flat)}</float_array>'
    return f'<source id="{name}">{array}<technique_common>{accessor}</technique_common></source>'


def geometry(name: str, vertices: np.ndarray, primitives: str, more: int = 0, lead: int = 0) -> str:
    link = f'<vertices id="{name}-v"><input semantic="POSITION" source="#{name}-p"/></vertices>'
    primitives = primitives.replace("#VERTICES", f"#{name}-v")
    return (
        f'<geometry id="{name}"><mesh>{source(f"{name}-p", vertices, more, lead)}{link}{primitives}</mesh></geometry>'
    )


def primitive(polygons: list[list[int]], triangles: np.ndarray, kind: str, place: int = 0, width: int = 1) -> str:
    """Polygons as elements of a kind; their vertices' indices stand at a place among some of no meaning."""

    def spread(indices: Any) -> str:
        table = np.zeros((np.size(indices), width), int)
        table[:, place] = np.ravel(indices)
        return " ".join(map(str, table.ravel()))

    link = f'<input semantic="VERTEX" source="#VERTICES" offset="{place}"/>'
    if width > 1:
        link += f'<input semantic="NORMAL" source="#nowhere" offset="{0 if place == width - 1 else width - 1}"/>'
    if kind == "triangles":
        count, content = len(triangles), f"<p>{spread(triangles)}</p>"
    elif kind == "polylist":
        sizes = " ".join(str(len(polygon)) for polygon in polygons)
        count, content = len(polygons), f"<vcount>{sizes}</vcount><p>{spread(np.concatenate(polygons))}</p>"
    elif kind == "polygons":
        count, content = len(polygons), "".join(f"<p>{spread(polygon)}</p>" for polygon in polygons)
    else:  # a strip or fan of each triangle
        count, content = len(triangles), "".join(f"<p>{spread(triangle)}</p>" for triangle in triangles)
    return f'<{kind} count="{count}">{link}{content}</{kind}>'


def document(geometries: str, scene: str, up: str = "Y_UP", version: str = "1.4", more: str = "") -> bytes:
    space = {
        "1.4": "http://www.collada.org/2005/11/COLLADASchema",
        "1.5": "http://www.collada.org/2008/03/COLLADASchema",
    }
    axis = f"<up_axis>{up}</up_axis>" if up else ""
    text = f'<COLLADA xmlns="{space[version]}" version="{version}.1">'
    text += f'<asset><unit name="inch" meter="0.0254"/>{axis}</asset>'
    text += f"<library_geometries>{geometries}</library_geometries>{more}"
    text += f'<library_visual_scenes><visual_scene id="s">{scene}</visual_scene></library_visual_scenes>'
    return (text + '<scene><instance_visual_scene url="#s"/></scene></COLLADA>').encode()


def drawn(rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """A node's transforms and their matrix, by trimesh."""
    matrix, text = np.eye(4), ""
    for _ in range(rng.integers(4)):
        kind = rng.choice(["translate", "rotate", "scale", "matrix"])
        if kind == "translate":
            values: Any = rng.integers(-3, 4, 3)
            step = trimesh.transformations.translation_matrix(values)
        elif kind == "rotate":
            axis, angle = np.eye(3)[rng.integers(3)], float(rng.choice([90, -90, 180, 30]))
            values, step = [*axis, angle], trimesh.transformations.rotation_matrix(np.radians(angle), axis)
        else:
            scale = rng.choice([0.5, 2, 4], 3)
            values, step = scale, np.diag([*scale, 1])
            values = step if kind == "matrix" else scale
        text += f"<{kind}>{numbers(values)}</{kind}>"
        matrix = matrix @ step
    return text, matrix


def varied(shape: Solid, rng: np.random.Generator) -> bytes:
    """A solid in one of the many ways that COLLADA may be written."""
    up = str(rng.choice([*AXES, ""]))
    (outer, a), (inner, b) = drawn(rng), drawn(rng)
    turned = shape.vertices @ np.array(AXES[up or "Y_UP"], float).T
    own = np.asarray(trimesh.transform_points(turned, np.linalg.inv(a @ b)))
    triangles = solids.triangulated(shape)
    width = int(rng.integers(1, 4))
    kind = rng.choice(["triangles", "polylist", "polygons", "tristrips", "trifans"])
    more, lead = int(rng.integers(2)), int(rng.integers(3))
    written = primitive(shape.polygons, triangles, kind, int(rng.integers(width)), width)
    lines = '<lines count="1"><input semantic="VERTEX" source="#VERTICES" offset="0"/><p>0 1</p></lines>'
    geometries = geometry("g", own, lines + written, more, lead) + geometry("unused", own + 9, written)
    way = rng.integers(4)
    content, extra = '<instance_geometry url="#g"/>', ""
    if way == 1:  # a node of the library
        extra = f'<library_nodes><node id="n">{inner}{content}</node></library_nodes>'
        scene = f'<node>{outer}<instance_node url="#n"/></node>'
    elif way == 2:  # a skin, of one joint which is where the node would be
        extra = controller(len(own), [("bone", np.eye(4))])
        scene = f'<node id="top">{outer}<node sid="bone" type="JOINT">{inner}</node></node>'
        scene += '<node><translate>9 9 9</translate><instance_controller url="#c"><skeleton>#top</skeleton>'
        scene += "</instance_controller></node>"
    elif way == 3:  # a morph, half of what takes it away and back
        geometries += geometry("far", own + 4, written) + geometry("near", own - 4, written)
        extra = morph(rng.choice(["NORMALIZED", "RELATIVE"]), ["far", "near"], [0.5, 0.5])
        if "RELATIVE" in extra:
            geometries = geometries.replace(numbers(own + 4), numbers(np.full(own.shape, 4.0)))
            geometries = geometries.replace(numbers(own - 4), numbers(np.full(own.shape, -4.0)))
        scene = f'<node>{outer}<node>{inner}<instance_controller url="#c"/></node></node>'
    else:
        scene = f"<node>{outer}<node>{inner}{content}</node></node>"
    return document(geometries, scene, up, rng.choice(["1.4", "1.5"]), extra)


def controller(count: int, joints: list[tuple[str, np.ndarray]]) -> str:
    """A skin that hangs each vertex on all joints alike."""
    names = " ".join(name for name, _ in joints)
    binds = numbers([np.linalg.inv(matrix) for _, matrix in joints])
    pairs = " ".join(f"{n} 0" for _ in range(count) for n in range(len(joints)))
    arrays = f'<source id="c-j"><Name_array id="c-ja" count="{len(joints)}">{names}</Name_array></source>'
    arrays += f'<source id="c-b"><float_array id="c-ba" count="{16 * len(joints)}">{binds}</float_array></source>'
    arrays += f'<source id="c-w"><float_array id="c-wa" count="1">{1 / len(joints)}</float_array></source>'
    links = '<input semantic="JOINT" source="#c-j"/><input semantic="INV_BIND_MATRIX" source="#c-b"/>'
    weights = '<input semantic="JOINT" source="#c-j" offset="0"/><input semantic="WEIGHT" source="#c-w" offset="1"/>'
    counts = " ".join([str(len(joints))] * count)
    told = f'<vertex_weights count="{count}">{weights}<vcount>{counts}</vcount><v>{pairs}</v></vertex_weights>'
    skin = f'<skin source="#g">{arrays}<joints>{links}</joints>{told}</skin>'
    return f'<library_controllers><controller id="c">{skin}</controller></library_controllers>'


def morph(method: str, targets: list[str], weights: list[float]) -> str:
    arrays = (
        f'<source id="c-t"><IDREF_array id="c-ta" count="{len(targets)}">{" ".join(targets)}</IDREF_array></source>'
    )
    arrays += (
        f'<source id="c-w"><float_array id="c-wa" count="{len(weights)}">{numbers(weights)}</float_array></source>'
    )
    links = '<input semantic="MORPH_TARGET" source="#c-t"/><input semantic="MORPH_WEIGHT" source="#c-w"/>'
    told = f'<morph source="#g" method="{method}">{arrays}<targets>{links}</targets></morph>'
    return f'<library_controllers><controller id="c">{told}</controller></library_controllers>'


@pytest.mark.long
def test_two_hundred_ways_to_write_a_solid() -> None:
    for seed, rng, shape in solids.solids():
        solids.assert_same(*collada.read(varied(shape, rng)), shape, seed)


BOX = trimesh.creation.box((1, 2, 3))
FACES = primitive([], BOX.faces, "triangles")
SHOWN = '<node><instance_geometry url="#g"/></node>'


def sides(data: bytes, extension: str = "dae") -> list[float]:
    mesh = meshes.read(data, extension)
    assert trimesh.Trimesh(mesh.vertices, mesh.faces).volume > 0  # turned, not mirrored
    return np.ptp(mesh.vertices, axis=0).round(9).tolist()


@pytest.mark.parametrize(
    ("up", "expected"), [("Y_UP", [1, 2, 3]), ("Z_UP", [1, 3, 2]), ("X_UP", [2, 1, 3]), ("", [1, 2, 3])]
)
def test_the_axis_that_is_up(up: str, expected: list[float]) -> None:
    data = document(geometry("g", BOX.vertices, FACES), SHOWN, up)
    assert sides(data) == expected
    highest = np.zeros(3)
    highest["XYZ".index((up or "Y")[0])] = 9  # the only corner that is up there
    spike = np.array([[0.0, 0, 0], highest, [1, 1, 1]])
    mesh = meshes.read(
        document(geometry("g", spike, primitive([], np.array([[0, 1, 2]]), "triangles")), SHOWN, up), "dae"
    )
    assert mesh.vertices[mesh.vertices[:, 1].argmax()].tolist() == [0, 9, 0]


def test_a_polygon_with_a_hole() -> None:
    square = np.array([[0.0, 0, 0], [4, 0, 0], [4, 4, 0], [0, 4, 0], [1, 1, 0], [2, 1, 0], [2, 2, 0], [1, 2, 0]])
    link = '<input semantic="VERTEX" source="#VERTICES" offset="0"/>'
    holed = f'<polygons count="1">{link}<ph><p>0 1 2 3</p><h>4 7 6 5</h></ph></polygons>'
    mesh = meshes.read(document(geometry("g", square, holed), SHOWN), "dae")
    assert trimesh.Trimesh(mesh.vertices, mesh.faces).area == pytest.approx(16 - 1)


def test_a_skin_goes_where_its_joints_are() -> None:
    bent = '<node id="one" sid="one"/><node id="two" sid="two"><translate>0 6 0</translate></node>'
    scene = bent + '<node><instance_controller url="#c"/></node>'
    skin = controller(len(BOX.vertices), [("one", np.eye(4)), ("two", np.eye(4))])
    mesh = meshes.read(document(geometry("g", BOX.vertices, FACES), scene, more=skin), "dae")
    assert np.allclose(mesh.vertices.mean(axis=0), [0, 3, 0])


def test_sources_that_are_called_alike_are_those_of_their_mesh() -> None:
    boxes = [trimesh.creation.box((1, 2, 3)).apply_translation((5 * n, 0, 0)) for n in range(2)]
    assert sides(trimesh.exchange.dae.export_collada(boxes)) == [6, 2, 3]


def test_in_a_zip() -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("manifest.xml", "<?xml version='1.0'?><dae_root>./a/b.dae</dae_root>")
        archive.writestr("0.dae", "<x/>")
        archive.writestr("a/b.dae", document(geometry("g", BOX.vertices, FACES), SHOWN))
    assert sides(content.getvalue(), "zae") == [1, 2, 3]


WHOLE = document(geometry("g", BOX.vertices, FACES), SHOWN).decode()
ITSELF = '<library_nodes><node id="n"><instance_node url="#n"/></node></library_nodes>'


@pytest.mark.parametrize(
    ("text", "reason", "named"),
    [
        (WHOLE[:900], "truncated", "XML"),
        (WHOLE.replace("</mesh>", "</mess>"), "unreadable", "mismatched"),
        (WHOLE.replace('url="#g"', 'url="other.dae#g"'), "unsupported", "other.dae#g"),
        (WHOLE.replace('url="#g"', 'url="#h"'), "unreadable", "'h'"),
        (
            WHOLE.replace("<node>", "<node><skew>45 0 1 0 1 0 0</skew><node>").replace("</node>", "</node></node>"),
            "unsupported",
            "skew",
        ),
        (WHOLE.replace("<node>", "<node><scale>2</scale>"), "unreadable", "size 1"),
        (WHOLE.replace("<node>", "<node><matrix>1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 2</matrix>"), "unreadable", "affine"),
        (re.sub('(<float_array[^>]* count=")', r"\g<1>1", WHOLE), "truncated", "numbers in a source"),
        (WHOLE.replace('triangles count="12"', 'triangles count="13"'), "truncated", "13 triangles"),
        (WHOLE.replace('count="8" stride', 'count="9" stride'), "truncated", "9 positions"),
        (WHOLE.replace("Y_UP", "W_UP"), "unreadable", "W_UP"),
        (WHOLE.replace("<mesh>", "<brep>").replace("</mesh>", "</brep>"), "unsupported", "brep"),
        (WHOLE.replace("<node>", "<node><skew>45 0 1 0 1 0 0</skew>"), "unsupported", "skew"),
        (document("", '<node><instance_node url="#n"/></node>', more=ITSELF).decode(), "unreadable", "in itself"),
        (WHOLE.replace(SHOWN, ""), "no_faces", "none"),
    ],
)
def test_refused_by_name(text: str, reason: str, named: str) -> None:
    with pytest.raises(MeshError, match="expected") as caught:
        meshes.read(text.encode(), "dae")
    assert caught.value.reason == reason and named in str(caught.value)
