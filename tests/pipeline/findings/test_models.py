from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh
from pytorch3d.renderer import FoVPerspectiveCameras, look_at_view_transform

from pipeline.findings.models import faults, grid, on_grid, on_masks, photo

SIZE = 60, 80


def test_points_on_full_cells_and_beside_them() -> None:
    occupancy = np.zeros((10, 10, 10), bool)
    occupancy[5, 5, 5] = True  # from 0 to 0.1 on each axis
    inside, beside, off, lost = [0.05, 0.05, 0.05], [-0.05, 0.15, 0.05], [0.25, 0.05, 0.05], [np.nan, 0, 0]
    assert on_grid(occupancy, np.array([inside, beside])) == 1
    assert on_grid(occupancy, np.array([inside, beside, off, lost, [9, 9, 9]])) == pytest.approx(2 / 5)
    corner = np.zeros((10, 10, 10), bool)
    corner[9, 9, 9] = True
    assert on_grid(corner, np.array([[0.5, 0.5, 0.5], [-0.5, -0.5, -0.5]])) == 0.5  # nothing wraps around


def seen(azimuth: float, elevation: float) -> dict[str, np.ndarray]:
    """A model whose mask is where PyTorch3D's camera sees its points, and a pixel around."""
    points = trimesh.creation.box((0.3, 0.5, 0.9)).sample(4000).astype(np.float32)
    rotation, translation = look_at_view_transform(2.5, elevation, azimuth)
    camera = FoVPerspectiveCameras(R=rotation, T=translation, fov=40.0)
    places = camera.transform_points_screen(torch.from_numpy(points), image_size=(SIZE,))[:, :2].floor().long().numpy()
    mask = np.zeros((1, *SIZE), bool)
    mask[0, places[:, 1], places[:, 0]] = True
    matrix = camera.get_world_to_view_transform().get_matrix().transpose(1, 2).numpy()
    return {
        "views": np.where(mask, 90, 255).astype(np.uint8),
        "masks": np.packbits(mask, axis=-1),
        "cameras": np.array([[azimuth, elevation, 2.5, 40]], np.float32),
        "world_to_view": matrix,
        "points": points,
    }


@pytest.mark.parametrize(("azimuth", "elevation"), [(0, 0), (140, 30), (260, -20)])
def test_points_lie_where_pytorch3d_sees_them(azimuth: float, elevation: float) -> None:
    model = seen(azimuth, elevation)
    assert on_masks(model)[0] == 1 and not any(faults(model).values())
    mirrored = model | {"masks": np.packbits(np.unpackbits(model["masks"], axis=-1)[..., ::-1, :], axis=-1)}
    turned = model | {"world_to_view": seen(azimuth + 60, elevation)["world_to_view"]}
    assert on_masks(turned)[0] < 0.95
    if azimuth == 140:
        assert on_masks(mirrored)[0] < 0.95
        assert "on the mask of view 0" in faults(turned)["masks, cameras and points agree"]
    assert on_masks(model | {"cameras": np.full((1, 4), np.nan)})[0] == 1  # nobody knows
    lost = model["points"].copy()
    lost[::4] = np.nan
    assert on_masks(model | {"points": lost})[0] == 0.75


def test_grids_are_unpacked_as_they_were_packed() -> None:
    occupancy = np.random.default_rng(0).random((6, 6, 6)) < 0.3
    assert np.array_equal(grid({"occupancy": np.packbits(occupancy)}), occupancy)


def test_a_photo_is_the_object_on_white() -> None:
    view, mask = np.full((30, 40), 7, np.uint8), np.zeros((30, 40), bool)
    mask[10:20, 5:15] = True
    view[mask] = 100
    picture = photo(view, mask)
    assert set(np.unique(picture)) == {100, 255} and (picture == 100).all(axis=0).sum() == picture.shape[0]
