from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch3d.renderer import look_at_view_transform
from scipy import ndimage

from pipeline import render, voxelize
from pipeline.geometry import meshes, solid
from pipeline.geometry.meshes import MeshError
from pipeline.records import ready
from pipeline.sources.layout import Grid, ModelRef, Views
from pipeline.sources.registry import find
from tests.pipeline.sources import trees

VIEWS = render.Params(0, 2, 24, 32, (30.0, 30.0), (0.0, 40.0), (1.0, 1.2), False, False)
GRIDS = voxelize.Params(seed=0, resolution=16, points=500)


def only(root: Path) -> ModelRef:
    return find(root)[0][0].ref


def reason(root: Path, ref: ModelRef, params: render.Params | voxelize.Params) -> str:
    with pytest.raises(MeshError, match="expected") as caught:
        (ready.views if isinstance(params, render.Params) else ready.grid)(root, ref, params)
    return caught.value.reason


def test_angles_and_distance_are_those_of_pytorch3d() -> None:
    drawn = torch.tensor([[10.0, -20, 1.5], [100, 0, 2], [190, 45, 3], [359, 80, 1]])
    turns, shift = look_at_view_transform(drawn[:, 2], drawn[:, 1], drawn[:, 0])
    matrix = np.tile(np.eye(4), (4, 1, 1))
    matrix[:, :3, :3], matrix[:, :3, 3] = turns.transpose(1, 2).numpy(), shift.numpy()
    made = Views(np.empty(0), np.empty(0), matrix, np.full(4, 30.0))
    assert np.allclose(ready.cameras(matrix, made), np.c_[drawn.numpy(), np.full(4, 30)], atol=1e-3)


def test_a_camera_of_the_source_sees_the_same_in_the_normalised_frame() -> None:
    rng = np.random.default_rng(0)
    mesh = meshes.Mesh(rng.normal(size=(9, 3)) * [3, 5, 2] + [10, 20, 30], np.arange(9).reshape(3, 3))
    quarter_turn = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    normalised, affine = meshes.normalise(mesh, quarter_turn)
    turn, shift = look_at_view_transform(40, 20, 30, at=((10, 20, 30),))
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn[0].T.numpy(), shift[0].numpy()
    matrix = ready.world_to_view(pose[None], affine)[0]
    assert np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-6)
    there, here = (
        points @ m[:3, :3].T + m[:3, 3] for points, m in ((mesh.vertices, pose), (normalised.vertices, matrix))
    )
    assert np.allclose(there[:, :2] / there[:, 2:], here[:, :2] / here[:, 2:], atol=1e-6)
    assert np.allclose(there / here, there[0, 2] / here[0, 2], rtol=1e-4)


@pytest.mark.parametrize("pose", [np.diag([-1.0, 1, 1, 1]), np.diag([1.0, 2, 1, 1]), np.zeros((4, 4))])
def test_mirrors_and_sheared_poses_are_refused(pose: np.ndarray) -> None:
    with pytest.raises(MeshError, match="expected") as caught:
        ready.world_to_view(pose[None], np.eye(4))
    assert caught.value.reason == "bad_view"


def test_meshes_are_rendered_and_voxelized(tmp_path: Path) -> None:
    trees.write_shapenet_v2(tmp_path, ["a"])
    ref = only(tmp_path)
    assert ready.views(tmp_path, ref, VIEWS) is None and ready.grid(tmp_path, ref, GRIDS) is None
    assert reason(tmp_path, replace(ref, grid=""), replace(GRIDS, grids="ready")) == "no_grid"


def test_reasons(tmp_path: Path) -> None:
    trees.write_r2n2(tmp_path, ["a"])
    ref = only(tmp_path)
    assert reason(tmp_path, replace(ref, views=""), VIEWS) == "no_views"
    assert reason(tmp_path, replace(ref, grid=""), GRIDS) == "no_grid"
    assert reason(tmp_path, ref, replace(VIEWS, depth=True)) == "no_maps"
    assert reason(tmp_path, ref, replace(VIEWS, normals=True, color=True)) == "no_maps"
    assert reason(tmp_path, ref, replace(GRIDS, resolution=24)) == "resolution"
    with pytest.raises(MeshError, match=r"to divide a grid of 32\^3 \(2, 4, 8, 16, 32\), got 64"):
        ready.grid(tmp_path, ref, replace(GRIDS, resolution=64))
    trees.write(tmp_path / ref.grid, trees.binvox(np.zeros((32, 32, 32), bool)))
    assert reason(tmp_path, ref, GRIDS) == "empty_grid"
    trees.write(tmp_path / ref.views / "01.png", b"no picture")
    assert reason(tmp_path, ref, VIEWS) == "bad_view"


@pytest.mark.parametrize("layout", ["r2n2", "core55", "pix3d"])
def test_ready_made_views_in_colour_are_the_very_pictures(layout: str, tmp_path: Path) -> None:
    """A square, or a box on blue, repainted: its luma is that of the grayscale view."""
    getattr(trees, f"write_{layout}")(tmp_path, ["0001"])
    for path in tmp_path.rglob("*.png"):
        if "mask" not in path.parts:
            pixels = np.asarray(Image.open(path).convert("RGBA")).copy()
            pixels[(pixels[..., :3] == 90).all(axis=-1), :3] = 200, 60, 10
            trees.write(path, trees.png(pixels))
    ref = only(tmp_path)
    plain, record = ready.views(tmp_path, ref, VIEWS), ready.views(tmp_path, ref, replace(VIEWS, color=True))
    assert plain is not None and record is not None and set(record) - set(plain) == {"color"}
    assert all(np.array_equal(plain[name], record[name], equal_nan=True) for name in plain)
    color, masks = record["color"], np.unpackbits(record["masks"], axis=-1)[..., : record["views"].shape[-1]] > 0
    assert color.shape == (*record["views"].shape, 3) and color.dtype == np.uint8
    inner = ndimage.binary_erosion(masks, np.ones((1, 3, 3)))
    assert inner.any() and (color[inner] == [200, 60, 10]).all()
    luma = np.asarray(Image.fromarray(color.reshape(-1, color.shape[2], 3)).convert("L")).reshape(record["views"].shape)
    assert np.abs(luma.astype(int) - record["views"]).max() <= 1


def test_ready_made_views_without_colours_are_refused_where_these_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees.write_r2n2(tmp_path, ["a"])
    ref = only(tmp_path)
    source = ready.LAYOUTS[ref.layout]
    gray = replace(source, views=lambda *given: replace(source.views(*given), color=None))  # type: ignore[misc]
    monkeypatch.setitem(ready.LAYOUTS, ref.layout, gray)
    assert reason(tmp_path, ref, replace(VIEWS, color=True)) == "no_maps"
    assert ready.views(tmp_path, ref, VIEWS) is not None


def test_a_model_without_a_mesh_takes_its_grid_cell_for_cell(tmp_path: Path) -> None:
    trees.write_core55(tmp_path, ["a"], side=32)
    ref = only(tmp_path)
    two = trees.box_grid(32, np.array([0.1, 0.1, 0.1]))
    two[1:3, 1:3, 1:3] = True
    trees.write(tmp_path / ref.grid, trees.mat("input", two.astype(np.uint8)))
    record = ready.grid(tmp_path, ref, replace(GRIDS, resolution=32))
    assert record is not None and np.array_equal(np.unpackbits(record["occupancy"]).reshape(32, 32, 32), two)
    assert record["notes"].tolist() == [np.float32(two.mean()), 2, 0, 0, 0]
    halved = ready.grid(tmp_path, ref, GRIDS)
    expected = ndimage.maximum_filter(two, 2, origin=-1)[::2, ::2, ::2]
    assert halved is not None
    assert np.array_equal(np.unpackbits(halved["occupancy"]).reshape(16, 16, 16).astype(bool), expected)
    # Points lie on the faces of full cells, half a cell from a centre of theirs.
    centres = (np.argwhere(two) + 0.5) / 32 - 0.5
    gap = np.abs(record["points"][:, None] - centres).max(axis=2).min(axis=1) * 32
    assert record["points"].shape == (500, 3) and gap.max() <= 0.5 + 1e-4


def test_resampling_follows_the_affines() -> None:
    """A grid in a frame of its own that is shifted and three times as large, against the same box made directly."""
    affine = np.diag([3.0, 3, 3, 1])
    affine[:3, 3] = [0.3, -0.6, 0.9]
    source = Grid(trees.box_grid(96, np.array([0.4, 0.3, 0.2])), affine)
    to_source = np.diag([2.4, 2.4, 2.4, 1])
    to_source[:3, 3] = [0.3, -0.6, 0.9]
    found = ready.resampled(source, to_source, 40)
    corners = np.array([0.4, 0.3, 0.2]) * 3 / 2.4  # of the box in the new frame: 0.5, 0.375, 0.25
    box = meshes.read(trees.box_mesh(corners), "obj")
    assert np.array_equal(found, solid.solid(box.vertices, box.faces, 40)[0])
    finer = ready.resampled(source, to_source, 160)
    assert finer.mean() == pytest.approx(8 * corners.prod(), rel=0.05)
    beside = to_source.copy()
    beside[0, 3] += 100
    assert not ready.resampled(source, beside, 40).any()
