from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from pipeline.findings.finding import Finding
from pipeline.findings.meshes import edges, look, welded
from pipeline.geometry import formats
from pipeline.geometry.meshes import Mesh, MeshError
from pipeline.others.files import read

BALL = trimesh.creation.icosphere(2, 0.4)


def written(path: Path, vertices: np.ndarray, faces: np.ndarray | None) -> Path:
    encode = (formats.MESHES if faces is not None else formats.CLOUDS)[path.suffix]
    path.write_bytes(encode(np.asarray(vertices, np.float32), None if faces is None else np.asarray(faces)))
    return path


def faults(finding: Finding) -> dict[str, str]:
    return {check.what.partition(",")[0]: check.fault for check in finding.checks if check.fault}


@pytest.mark.parametrize("end", [".glb", ".obj", ".off", ".ply", ".stl"])
def test_a_ball_has_no_fault_in_any_format(tmp_path: Path, end: str) -> None:
    finding = look(written(tmp_path / f"ball{end}", BALL.vertices, BALL.faces))
    assert finding.kind == "mesh" and not finding.faulty
    assert finding.facts["pieces"] == "1" and finding.facts["volume"] == f"{BALL.volume:.4g}"
    assert "320, of " in finding.facts["triangles"] and finding.facts["triangles"].endswith("at 162 places")
    assert ("front at +Z" in finding.facts["frame"]) == (end == ".glb")


def test_frames_are_told_apart(tmp_path: Path) -> None:
    def frame(scale: float, shift: float = 0.0) -> str:
        box = trimesh.creation.box((scale, scale / 2, scale / 4))
        return look(written(tmp_path / "box.ply", box.vertices + shift, box.faces)).facts["frame"]

    assert frame(15 / 16).startswith("the normalised frame") and frame(1).startswith("centred, longest side 1;")
    assert frame(3, 1).startswith("its own: centre at (1, 1, 1), longest side 3;")


def test_edges_are_counted_as_trimesh_counts_them() -> None:
    rng = np.random.default_rng(0)
    faces = np.array(BALL.faces)[rng.permutation(320)[:250]]  # with holes
    faces[:60] = faces[:60, ::-1]
    mesh = trimesh.Trimesh(BALL.vertices, faces, process=False)
    _, count = np.unique(mesh.edges_sorted, axis=0, return_counts=True)
    once, often, unlike, total = edges(faces)
    assert (once, often, total) == ((count == 1).sum(), 0, len(count))
    adjacent = mesh.face_adjacency  # pairs of faces that share an edge, wound alike if one is turned with the other
    turned = np.arange(len(faces)) < 60
    assert unlike == (turned[adjacent[:, 0]] != turned[adjacent[:, 1]]).sum() > 0


def test_what_is_wrong_with_a_mesh_is_told(tmp_path: Path) -> None:
    two = np.concatenate([BALL.vertices, BALL.vertices + 2]), np.concatenate([BALL.faces, BALL.faces + 162])
    holed = look(written(tmp_path / "holed.ply", two[0], two[1][1:]))
    assert holed.facts["pieces"] == "2" and holed.facts["volume"] == "none is enclosed"
    assert faults(holed) == {"watertight": "3 of 960 edges have one face"}
    turned = np.array(BALL.faces)
    turned[0] = turned[0, ::-1]
    assert faults(look(written(tmp_path / "turned.ply", BALL.vertices, turned))) == {
        "neighbours are wound alike": "across 3 of 480 edges they are not"
    }
    inside_out = look(written(tmp_path / "inside.ply", BALL.vertices, BALL.faces[:, ::-1]))
    assert faults(inside_out) == {"faces are turned outwards": "they are turned inwards"}
    twice = look(written(tmp_path / "twice.ply", BALL.vertices, np.concatenate([BALL.faces, BALL.faces[:1]])))
    assert faults(twice) == {
        "watertight": "3 of 480 edges have more than two",
        "no face is there twice": "1 of 321 are",
    }


def test_faces_that_share_places_and_not_vertices_are_neighbours() -> None:
    corners = np.asarray(BALL.triangles).reshape(-1, 3)
    places, faces = welded(Mesh(corners, np.arange(len(corners)).reshape(-1, 3)))
    assert len(places) == 162 and edges(faces)[:3] == (0, 0, 0)


@pytest.mark.parametrize("end", [".glb", ".ply", ".obj", ".xyz"])
def test_points_are_points(tmp_path: Path, end: str) -> None:
    finding = look(written(tmp_path / f"cloud{end}", BALL.vertices, None))
    assert finding.kind == "point cloud" and finding.facts["points"] == "162" and not finding.faulty
    assert finding.picture is not None and finding.picture().width > 400


def test_points_as_text_are_what_score_reads(tmp_path: Path) -> None:
    rows = "".join(f"{x!r} {y!r} {z!r} 0.5 255 0 0\n" for x, y, z in BALL.vertices.tolist())
    for name, text in {"a.pts": f"162\n{rows}", "b.PTS": rows, "c.xyz": rows.replace("\n", "\r\n")}.items():
        (tmp_path / name).write_text(text, newline="")
        assert look(tmp_path / name).facts["points"] == "162", name
        found = read(tmp_path / name).points
        assert found is not None and np.abs(found - BALL.vertices).max() < 1e-6
    bad = {"unreadable": ("1 2\n", "0,5 0,5 0,5\n", "", "3\n", "words\n"), "truncated": (f"163\n{rows}",)}
    for reason, texts in (bad | {"bad_count": (f"161\n{rows}",)}).items():
        for text in texts:
            (tmp_path / "d.pts").write_text(text)
            with pytest.raises(MeshError) as caught:
                read(tmp_path / "d.pts")
            assert caught.value.reason == reason
            with pytest.raises(ValueError, match="d.pts: expected"):
                look(tmp_path / "d.pts")


def test_a_mesh_that_can_not_be_used_and_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "flat.obj").write_text("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n")
    assert "no_area: expected a face with an area" in faults(look(tmp_path / "flat.obj"))["it has faces with an area"]
    (tmp_path / "cut.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2")
    with pytest.raises(ValueError, match="cut.obj: expected a whole last line, got 'f 1 2'"):
        look(tmp_path / "cut.obj")
    (tmp_path / "bad.ply").write_text("no ply")
    with pytest.raises(ValueError, match="bad.ply: expected PLY with a whole head, got"):
        look(tmp_path / "bad.ply")


def test_a_picture_shows_both_sides(tmp_path: Path) -> None:
    """A wedge whose front is a point and whose back is a wall; GLB turns it and is drawn alike."""
    corners = [[0.0, 0.0, -1.0], *([x, y, 0.3] for x in (-0.3, 0.3) for y in (-0.3, 0.3))]
    wedge = trimesh.convex.convex_hull(np.array(corners))
    pictures = []
    for end in (".ply", ".glb"):
        draw = look(written(tmp_path / f"wedge{end}", wedge.vertices, wedge.faces)).picture
        assert draw is not None
        pictures.append(np.asarray(draw(), np.int16))
    assert np.abs(pictures[0] - pictures[1]).mean() < 1
    half = pictures[0].shape[1] // 2
    front, behind = pictures[0][:150, :half], pictures[0][:150, half : 2 * half]
    assert (front.min(axis=2) < 250).sum() != (behind.min(axis=2) < 250).sum()
