from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch3d.datasets.r2n2.utils import compute_extrinsic_matrix
from pytorch3d.renderer import look_at_view_transform

from pipeline.geometry.meshes import MeshError
from pipeline.sources import r2n2
from pipeline.sources.layout import ModelRef
from pipeline.sources.registry import LAYOUTS, find
from tests.meshes import CHAIR
from tests.pipeline.sources import trees

SIZE = (24, 32)
TO_PYTORCH3D = np.diag([-1.0, 1, -1, 1])  # OpenGL's +X right, outward, as its data set class turns it


def test_cameras_are_those_of_pytorch3d() -> None:
    rng = np.random.default_rng(0)
    for azimuth, elevation, distance in rng.uniform([0, -30, 1], [360, 80, 2], (20, 3)):
        expected = TO_PYTORCH3D @ compute_extrinsic_matrix(azimuth, elevation, distance).numpy()
        assert np.allclose(r2n2.camera(azimuth, elevation, distance), expected, atol=1e-5)


def test_views_grids_and_what_is_missing(tmp_path: Path) -> None:
    trees.write_r2n2(tmp_path, ["a", "b", "c"])
    (tmp_path / "ShapeNetVox32" / CHAIR / "b" / "model.binvox").unlink()
    for path in (tmp_path / "ShapeNetRendering" / CHAIR / "c" / "rendering").iterdir():
        path.unlink()
    found = [model.ref for model in find(tmp_path)[0]]
    there = [(ref.model_id, bool(ref.mesh), bool(ref.views), bool(ref.grid)) for ref in found]
    assert there == [("a", False, True, True), ("b", False, True, False), ("c", False, False, True)]
    names = LAYOUTS["3d-r2n2"].parts(tmp_path, found[0])
    folder = f"ShapeNetRendering/{CHAIR}/a/rendering"
    pictures = [f"{folder}/0{n}.png" for n in range(3)]
    assert names == [f"{folder}/rendering_metadata.txt", *pictures, f"ShapeNetVox32/{CHAIR}/a/model.binvox"]


def test_pictures_on_white_with_their_masks(tmp_path: Path) -> None:
    trees.write_r2n2(tmp_path, ["a"])
    made = r2n2.views(tmp_path, find(tmp_path)[0][0].ref, SIZE)
    assert made.views.shape == made.masks.shape == (3, 137, 137)
    assert (made.masks.sum(axis=(1, 2)) == 400).all()
    assert (made.views[made.masks] == 90).all() and (made.views[~made.masks] == 255).all()
    # 35 mm on 32 mm are 149.8 pixels at 137.
    assert 137 / 2 / np.tan(np.radians(made.fov_deg) / 2) == pytest.approx([149.84] * 3, abs=0.01)
    # Azimuth 0 looks at v1's front, +X; the project's azimuth of its front is 180.
    normalised = made.source_to_view[:, :3, :3] @ LAYOUTS["3d-r2n2"].rotation.T
    turns, shift = look_at_view_transform(0.8 * 1.75, 25.5, torch.tensor([180.0, 90.0, 0.0]))
    assert np.allclose(normalised, turns.transpose(1, 2).numpy(), atol=1e-5)
    assert np.allclose(made.source_to_view[:, :3, 3], shift.numpy(), atol=1e-5)


def test_the_grid_is_turned_to_this_projects_axes(tmp_path: Path) -> None:
    trees.write_r2n2(tmp_path, ["a"])
    ref = find(tmp_path)[0][0].ref
    found = r2n2.grid(tmp_path, ref)
    assert np.array_equal(found.occupancy, trees.box_grid(32))
    point = np.array([0.1, 0.2, 0.3, 1])  # -Z in front: v1's X is -Z
    assert np.allclose(found.affine @ point, [-0.3, 0.2, 0.1, 1])
    one = np.zeros((4, 4, 4), bool)
    one[3, 2, 0] = True  # front, up, v1's -Z
    trees.write(tmp_path / ref.grid, trees.binvox(one))
    assert np.argwhere(r2n2.grid(tmp_path, ref).occupancy).tolist() == [[0, 2, 0]]


@pytest.mark.parametrize("text", ["", "1 2 3\n", "a b c d e\n", "0 0 5 1 25\n", "0 0 0 -1 25\n", "0 nan 0 1 25\n"])
def test_refuses_broken_metadata(tmp_path: Path, text: str) -> None:
    trees.write(tmp_path / "v" / "rendering_metadata.txt", text.encode())
    with pytest.raises(MeshError, match="expected rows of azimuth, elevation, 0") as caught:
        r2n2.parts(tmp_path, ModelRef(CHAIR, "a", "3d-r2n2", views="v"))
    assert caught.value.reason == "bad_view"


def test_pictures_of_several_sizes_are_refused(tmp_path: Path) -> None:
    trees.write_r2n2(tmp_path, ["a"])
    ref = find(tmp_path)[0][0].ref
    trees.write(tmp_path / ref.views / "01.png", trees.picture(alpha=True, size=50))
    with pytest.raises(ValueError, match=r"expected pictures of one size, got .*50, 50.*137, 137"):
        r2n2.views(tmp_path, ref, SIZE)
