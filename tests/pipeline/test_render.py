from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from pipeline import catalog, render
from pipeline.geometry import renderer
from pipeline.geometry.meshes import Mesh
from pipeline.records import records
from pipeline.runtime.params import Dataset
from tests.meshes import CHAIR, box, stool, write_v2

PARAMS = render.Params(
    seed=0,
    views=5,
    height=48,
    width=64,
    fov_deg=(30.0, 30.0),
    elevation_deg=(-5.0, 50.0),
    distance=(1.0, 1.25),
    depth=False,
    normals=False,
)


def test_maps_are_in_the_record_where_asked_for() -> None:
    mesh = stool()
    plain = render.compute("s/m", mesh, np.eye(4), PARAMS)
    both = render.compute("s/m", mesh, np.eye(4), dataclasses.replace(PARAMS, depth=True, normals=True))
    assert set(both) - set(plain) == {"depth", "normals"}
    assert both["depth"].shape == (5, 48, 64) and both["normals"].shape == (5, 48, 64, 3)
    for name, array in plain.items():
        assert np.array_equal(array, both[name]), name


def test_known_points_are_found_where_the_stored_camera_puts_them() -> None:
    corners = np.array([[0.4, 0.1, 0.0], [-0.3, 0.35, 0.2], [0.1, -0.4, -0.35], [0.0, 0.0, 0.45]])
    for n, corner in enumerate(corners):
        ball = trimesh.creation.icosphere(2, 0.04)
        mesh = Mesh(ball.vertices + corner, np.asarray(ball.faces))
        params = render.Params(n, 3, 96, 128, (30.0, 30.0), (-5.0, 50.0), (1.0, 1.3), False, False)
        record = render.compute("s/m", mesh, np.eye(4), params)
        masks = np.unpackbits(record["masks"], axis=-1)[..., :128]
        for view in range(3):
            # By hand: view frame, then a pinhole whose shorter side (96 pixels) spans the field of view.
            x, y, z, _ = record["world_to_view"][view] @ [*corner, 1]
            focal = 48 / np.tan(np.radians(record["cameras"][view, 3]) / 2)
            expected = np.array([48 - focal * y / z, 64 - focal * x / z])  # +X left, +Y up
            rows, columns = np.nonzero(masks[view])
            assert len(rows) > 3
            assert np.allclose([rows.mean() + 0.5, columns.mean() + 0.5], expected, atol=0.6)


def test_cameras_depend_on_seed_and_model_alone() -> None:
    first = render.draw_cameras("s/a", 0.5, PARAMS)
    assert np.array_equal(first, render.draw_cameras("s/a", 0.5, PARAMS))
    assert not np.array_equal(first, render.draw_cameras("s/b", 0.5, PARAMS))
    assert (first[:, 0] >= 0).all() and (first[:, 0] < 360).all()
    assert (first[:, 1] >= -5).all() and (first[:, 1] <= 50).all()
    nearest = 0.5 / np.sin(np.radians(15))
    assert (first[:, 2] >= nearest * 0.999).all() and (first[:, 2] <= nearest * 1.251).all()


def test_fields_of_view_are_drawn_and_the_model_fills_the_picture_in_each() -> None:
    params = dataclasses.replace(PARAMS, views=300, fov_deg=(20.0, 60.0))
    drawn, usual = render.draw_cameras("s/a", 0.5, params), render.draw_cameras("s/a", 0.5, PARAMS)
    assert 20 <= drawn[:, 3].min() < 22 and 58 < drawn[:, 3].max() <= 60 and (usual[:, 3] == 30).all()
    nearness = drawn[:, 2] * np.sin(np.radians(drawn[:, 3]) / 2) / 0.5
    assert 0.999 <= nearness.min() < 1.02 and 1.23 < nearness.max() <= 1.251


def test_lights_are_drawn_within_so_many_degrees() -> None:
    usual = np.array(renderer.LIGHT_TO_VIEW)
    assert (render.draw_lights("s/a", PARAMS) == usual.astype(np.float32)).all()
    drawn = render.draw_lights("s/a", dataclasses.replace(PARAMS, views=2000, light_deg=40.0))
    assert np.allclose(np.linalg.norm(drawn, axis=1), np.linalg.norm(usual))
    angles = np.degrees(np.arccos((drawn @ usual / (usual @ usual)).clip(-1, 1)))
    assert angles.max() <= 40.001
    # Evenly over the cap: its share within an angle a is (1 - cos a) / (1 - cos 40), a fifth of it at 17.7 degrees.
    assert np.mean(angles < 17.7) == pytest.approx(0.2, abs=0.03)
    assert np.abs((drawn / np.linalg.norm(usual)).mean(axis=0) - usual / np.linalg.norm(usual) * 0.883).max() < 0.03
    assert not np.array_equal(drawn[:5], render.draw_lights("s/b", dataclasses.replace(PARAMS, light_deg=40.0)))


def test_a_drawn_light_changes_brightness_and_nothing_else() -> None:
    mesh = stool()
    plain = render.compute("s/m", mesh, np.eye(4), PARAMS)
    lit = render.compute("s/m", mesh, np.eye(4), dataclasses.replace(PARAMS, light_deg=40.0))
    assert lit["cameras"].shape == (5, 4)
    for name in ("masks", "cameras", "world_to_view"):
        assert np.array_equal(plain[name], lit[name]), name
    masks = np.unpackbits(plain["masks"], axis=-1)[..., :64].astype(bool)
    for n in range(5):
        assert (plain["views"][n] != lit["views"][n])[masks[n]].mean() > 0.5
    assert (lit["views"][~masks] == 255).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"views": 0}, "views: expected sizes of at least 1"),
        ({"fov_deg": (30.0, 180.0)}, r"fov_deg: expected a range within \(0, 180\), got \[30.0, 180.0\]"),
        ({"light_deg": 91.0}, "light_deg: expected degrees from 0 to 90, got 91.0"),
        ({"elevation_deg": (10.0, 5.0)}, "elevation_deg: expected a range within"),
        ({"distance": (0.5, 1.0)}, "distance: expected a range from 1 up"),
    ],
)
def test_refuses_impossible_cameras(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render.Params(**{**PARAMS.__dict__, **change})


def test_what_the_pictures_are_made_on_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEVIEW_DEVICE", "auto")
    dataset = Dataset(str(write_v2(tmp_path / "raw", {(CHAIR, "m"): box(1, 2, 3)})), "hash", (CHAIR,), 0.0)
    (tmp_path / "params.yaml").write_text(
        json.dumps({"dataset": dataclasses.asdict(dataset), "render": dataclasses.asdict(PARAMS)})
    )
    catalog.catalog(dataset)
    render.main(CHAIR)
    assert f"render {CHAIR}: by rays on the CPU, 370 views/s a core" in capsys.readouterr().out
    with records.Archive(records.RENDERS / f"{CHAIR}.zip") as archive:
        assert archive["m"]["views"].shape == (5, 48, 64)
