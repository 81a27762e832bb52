from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import trimesh
from PIL import Image

from pipeline import predict
from pipeline.answers import network
from tests.constant_system import write_checkpoint
from tests.photos import photo


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trained system that answers every photo with a box, systems that answer with points, and photos."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    probabilities = torch.full((16, 16, 16), 0.01)
    probabilities[4:12, 6:10, 2:14] = 0.6
    write_checkpoint(network.CHECKPOINTS / "constant.pt", probabilities)
    write_checkpoint(network.CHECKPOINTS / "cloud.pt", torch.rand(30, 3), "points")
    photo(tmp_path / "a.png", (255, 255, 255))
    (tmp_path / "photos").mkdir()
    photo(tmp_path / "photos/b.png", (20, 90, 160))
    photo(tmp_path / "photos/a.PNG", (9, 9, 9, 0), "RGBA")
    (tmp_path / "photos/notes.txt").write_text("no photo")
    (tmp_path / "photos/.hidden.png").write_text("no photo")
    return tmp_path


def command(*names: str, out: str, **more: Any) -> None:
    given: dict[str, Any] = {
        name: Path(value) if name in ("mask", "checkpoint") else value for name, value in more.items()
    }
    predict.main([Path(name) for name in names], Path(out), **{"system": "constant"} | given)


def files(folder: str = "out") -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def test_one_photo_becomes_one_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command("a.png", out="out/mesh.GLB")
    mesh = trimesh.load_mesh("out/mesh.GLB")
    assert mesh.is_watertight and mesh.extents == pytest.approx([8 / 12, 4 / 12, 1], abs=0.05)
    assert files() == ["mesh.GLB"]
    first, second = capsys.readouterr().out.splitlines()
    assert first == "a.png: cut out by its uniform background"
    path = re.escape(str(network.CHECKPOINTS / "constant.pt"))
    assert re.fullmatch(rf"out/mesh.GLB: \d+ vertices, \d+ faces, by constant from {path}", second)


def test_a_background_is_kept_with_a_word_where_the_network_knows_none(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command("a.png", out="out/mesh.glb", keep_background=True, show=True)
    told = capsys.readouterr()
    assert told.err == "warning: constant was not trained with backgrounds: --keep-background confuses it\n"
    assert "a.png: cut out by its uniform background, its surroundings kept\n" in told.out
    assert Image.open("out/mesh_seen.png").getpixel((0, 0)) == 255


def test_one_photo_may_go_to_a_folder(project: Path) -> None:
    command("a.png", out="out")
    command("a.png", out="out", format="OBJ")
    command("a.png", out="out.d/x", format=".stl")
    assert files() == ["a.glb", "a.obj"] and files("out.d/x") == ["a.stl"]
    command("a.png", out="out.d")  # which is there
    assert files("out.d") == ["a.glb", "x"]


def test_every_photo_is_an_object_of_its_own(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command("photos", "a.png", "phot*/*.png", "photos/b.png", out="out", format="ply")
    assert files() == ["a-2.ply", "a.ply", "b.ply"]
    command("photos", out="out.v2", format="ply")
    assert files("out.v2") == ["a.ply", "b.ply"]
    told = capsys.readouterr().out
    assert "photos/a.PNG: cut out by its alpha channel\nout/a.ply: " in told and "a.png: cut out by its unif" in told
    assert "3/3" in told  # of the bar


def test_photos_may_be_views_of_one(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command("photos", "a.png", out="one.glb", together=True, show=True)
    assert Path("one.glb").is_file() and not Path("out").exists()
    assert Image.open("one_seen.png").size == (3 * 16, 12)
    assert capsys.readouterr().out.count("cut out by") == 3


def test_what_fails_costs_itself(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (50, 50), "white").save("photos/a2.png")
    Path("photos/c.png").write_text("hello")
    with pytest.raises(ValueError, match="^2 of 4 photos failed, for the reasons above; the others are in out$"):
        command("photos", out="out")
    assert files() == ["a.glb", "b.glb"]
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("failed: photos/a2.png: expected an object, got a picture in one colour; a plain backgr")
    assert second == "failed: photos/c.png: expected a picture, got 5 bytes that Pillow can't identify"
    with pytest.raises(ValueError, match="^photos/a2.png: expected an object, got a picture in one colour; "):
        command("photos/a2.png", out="out")


def test_nothing_is_loaded_or_written_where_a_photo_is_missing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "load", lambda *_: pytest.fail("it was loaded"))
    Path("empty").mkdir()
    missing = r"no.png, empty, none\*.png: expected photos, found none"
    with pytest.raises(ValueError, match=missing):
        command("a.png", "no.png", "empty", "none*.png", out="out")
    for out, more, message in (
        ("mesh.doc", {}, "--out: expected a folder or a name in .glb, .*, got 'mesh.doc'"),
        ("mesh.glb", {"format": "obj"}, "--format: expected that of 'mesh.glb' or none, got 'obj'"),
        ("out", {"format": "doc"}, "--format: expected one of glb, .*, got 'doc'"),
        ("out", {"cut_out": "magic"}, "--cut-out: expected one of auto, .*, got 'magic'"),
        ("out", {"cut_out": "uniform", "mask": "a.png"}, "--cut-out: expected none beside --mask, got 'uniform'"),
        ("out", {"size": 0.0}, "--size: expected a number over 0 and up to 1e\\+30, got 0.0"),
        ("out", {"size": 1e39}, "--size: expected a number over 0 and up to 1e\\+30, got 1e\\+39"),
        ("out", {"faces": 2}, "--faces: expected 4 or more, got 2"),
        ("out", {"mask": "no.png"}, "--mask: expected a mask for a.png at 'no.png', found 0"),
    ):
        with pytest.raises(ValueError, match=message):
            command("a.png", out=out, **more)
    with pytest.raises(ValueError, match="expected a folder for 2 photos, got 'm.glb'; --together makes one shape"):
        command("photos", out="m.glb")
    with pytest.raises(ValueError, match="--mask: expected a folder of masks for 2 photos, got 'a.png'"):
        command("photos", out="out", mask="a.png")
    assert not Path("out").exists() and not list(Path().glob("m*.*"))


def test_formats_are_those_of_the_network(project: Path) -> None:
    with pytest.raises(ValueError, match=r"--out: .* .glb, .obj, .ply, .xyz from constant, got 'cloud.stl'"):
        command("a.png", out="cloud.stl", system="cloud")
    with pytest.raises(ValueError, match=r"--out: .* .stl, .binvox, .npz from constant, got 'a.xyz'"):
        command("a.png", out="out", format="xyz")
    with pytest.raises(ValueError, match="--threshold: expected none for constant, its output is points"):
        command("a.png", out="cloud.ply", system="cloud", threshold=0.5)
    command("a.png", out="out", format="npz")
    command("a.png", out="out/cloud.xyz", system="cloud")
    assert files() == ["a.npz", "cloud.xyz"]


def test_masks_are_found_by_name(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        mask = Image.new("L", (80, 60))
        mask.paste(255, (20, 20, 40, 40))
        (project / "masks").mkdir(exist_ok=True)
        mask.save(f"masks/{name}.png")
    command("photos", out="out", mask="masks")
    told = capsys.readouterr().out
    assert "photos/a.PNG: cut out by the mask masks/a.png\n" in told and "photos/b.png: cut out by the mask mas" in told
    command("a.png", out="out", mask="masks/a.png")
    Path("masks/b.png").unlink()
    with pytest.raises(ValueError, match="--mask: expected a mask for photos/b.png at 'masks', found 0"):
        command("photos", out="out", mask="masks")


def test_pictures_beside_a_shape_are_no_photos_and_replace_none(project: Path) -> None:
    command("photos", out="photos", show=True)
    assert {"a.glb", "a_seen.png", "b.glb", "b_seen.png"} <= {*files("photos")}
    before = Path("photos/b_seen.png").read_bytes()
    command("photos", out="photos")
    assert "b_seen.glb" not in files("photos")
    with pytest.raises(ValueError, match="--out: expected another place for 'photos/b_seen.png', which is one of the"):
        command("photos/b.png", "photos/b_seen.png", out="photos", show=True)
    assert Path("photos/b_seen.png").read_bytes() == before


@pytest.mark.long
def test_a_preview_is_written_where_it_is_asked_for(project: Path) -> None:
    command("a.png", out="out/chair.glb", preview=True)
    assert files() == ["chair.glb", "chair_preview.png"]
    assert Image.open("out/chair_preview.png").width > 600


def test_patterns_and_folders_give_photos_and_nothing_that_lies_beside_them(project: Path) -> None:
    names = ("a.png", "a_seen.png", "b_preview.png", ".hidden.png", "notes.txt", "shape.glb", "c.JPG")
    (project / "mixed").mkdir()
    for name in names:
        (project / "mixed" / name).touch()
    expected = [Path("mixed/a.png"), Path("mixed/c.JPG")]
    assert predict.find([Path("mixed")]) == predict.find([Path("mixed/*")]) == expected
    assert predict.find([Path("mixed/a_seen.png")]) == [Path("mixed/a_seen.png")]  # by name, anything is


def test_options_of_surfaces_are_refused_for_points(project: Path) -> None:
    write_checkpoint(network.CHECKPOINTS / "dots.pt", torch.rand(30, 3) - 0.5, output="points")
    for option, name in (({"faces": 100}, "--faces"), ({"all_pieces": True}, "--all-pieces")):
        with pytest.raises(ValueError, match=f"{name}: expected none for constant, whose shapes are points"):
            command("a.png", out="cloud.ply", system="dots", **option)
