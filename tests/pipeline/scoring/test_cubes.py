from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.geometry import isosurface
from pipeline.geometry.meshes import sample_surface
from pipeline.scoring.cubes import marching_cubes, surface_points

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


def noise(resolution: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((resolution,) * 3).astype(np.float32).round(2)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("level", [0.22, 0.5, 0.97])
def test_the_surface_is_that_of_numpy(device, level):
    for field in (noise(1, 0), noise(17, 1), noise(24, 2) > level, np.zeros((3, 3, 3), np.float32)):
        expected = isosurface.marching_cubes(field, level)
        vertices, faces = marching_cubes(torch.from_numpy(field).to(device), level)
        assert vertices.device.type == faces.device.type == device
        assert vertices.dtype == torch.float32 and faces.dtype == torch.int64
        np.testing.assert_allclose(vertices.cpu().numpy(), expected[0], atol=1e-6)
        np.testing.assert_array_equal(faces.cpu().numpy(), expected[1])


def test_on_the_cpu_it_is_that_of_numpy_to_the_bit():
    for seed in range(20):
        expected = isosurface.marching_cubes(noise(12, seed), 0.3)
        for found, true in zip(marching_cubes(torch.from_numpy(noise(12, seed)), 0.3), expected, strict=True):
            np.testing.assert_array_equal(found.numpy(), true)


@given(st.integers(1, 9), st.integers(0, 10**6), st.booleans())
def test_noise_is_closed(resolution, seed, binary):
    import trimesh

    field = noise(resolution, seed) > 0.5 if binary else noise(resolution, seed)
    vertices, faces = marching_cubes(torch.from_numpy(field), 0.5)
    assert trimesh.Trimesh(vertices, faces).is_watertight or not (field > 0.5).any()


@pytest.mark.parametrize(
    ("field", "level", "message"),
    [
        (torch.zeros(2, 3, 2), 0.5, r"expected a field \(R, R, R\) and a level above 0, got \(2, 3, 2\) and 0.5"),
        (torch.zeros(2, 2, 2), -1.0, r"a level above 0, got \(2, 2, 2\) and -1.0"),
        (torch.full((2, 2, 2), torch.nan), 0.5, "expected finite values"),
    ],
)
def test_other_fields_are_refused(field, level, message):
    with pytest.raises(ValueError, match=f"marching_cubes: .*{message}"):
        marching_cubes(field, level)


def test_points_lie_on_the_surface_with_its_normals():
    import trimesh

    sphere = trimesh.creation.icosphere(4, 0.4)
    vertices, faces = torch.from_numpy(np.array(sphere.vertices)), torch.from_numpy(np.array(sphere.faces))
    points, normals = (a.numpy() for a in surface_points(vertices, faces, 2000, np.random.default_rng(0)))
    assert points.dtype == normals.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 0.4, atol=2e-3)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, rtol=1e-6)
    assert (points * normals).sum(1) == pytest.approx(0.4, abs=2e-3)  # outwards
    np.testing.assert_allclose(points.mean(0), 0, atol=0.02)


@pytest.mark.parametrize("device", DEVICES)
def test_points_are_those_of_the_shards(device):
    vertices, faces = isosurface.marching_cubes(noise(12, 0))
    on_device = torch.from_numpy(vertices).to(device), torch.from_numpy(faces).to(device)
    points, _ = surface_points(*on_device, 500, np.random.default_rng(3))
    expected = sample_surface(vertices, faces, 500, np.random.default_rng(3))
    np.testing.assert_allclose(points.cpu().numpy(), expected, atol=1e-6)


def test_without_area_there_are_no_points():
    for faces in (torch.tensor([[0, 1, 2]]), torch.zeros(0, 3, dtype=torch.int64)):
        found = surface_points(torch.zeros(3, 3), faces, 5, np.random.default_rng(0))
        assert [a.shape for a in found] == [(0, 3)] * 2
