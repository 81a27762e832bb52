from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from model.view2mesh import Config, Model, edges_of, icosphere, laplacian_smoothing, sample_surface
from pipeline.scoring.distances import chamfer_unsquared
from tests.model.boxes import ENCODER, boxes, linear, overfit, parameters, small_encoder


def test_the_default_decoder_has_the_parameters_and_sizes_of_the_seed() -> None:
    model = Model(Config())
    vertices = 10 * 4**4 + 2
    assert parameters(model.decoder) == linear(512, 1024) + linear(1024, 2048) + linear(2048, 3 * vertices)
    assert model.template.shape == (vertices, 3)
    assert model.template.norm(dim=1).allclose(torch.tensor(0.25))


def test_a_smaller_network_has_the_parameters_counted_by_hand() -> None:
    model = Model(Config(**ENCODER, hidden=(24, 40), level=1))
    assert parameters(model) == small_encoder() + linear(32, 24) + linear(24, 40) + linear(40, 3 * 42)
    meshes = model.predict(torch.rand(3, 2, 1, *ENCODER["image_size"]))
    assert [(vertices.shape, faces.shape) for vertices, faces in meshes] == 3 * [((42, 3), (80, 3))]


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_the_template_is_the_icosphere_of_trimesh(level: int) -> None:
    vertices, faces = icosphere(level)
    ours, theirs = trimesh.Trimesh(vertices, faces, process=False), trimesh.creation.icosphere(level)
    assert vertices.shape == theirs.vertices.shape == (10 * 4**level + 2, 3)
    assert faces.shape == theirs.faces.shape == (20 * 4**level, 3)
    assert ours.is_watertight and ours.is_winding_consistent and ours.volume > 0
    assert (ours.face_normals * ours.triangles_center).sum(1).min() > 0
    assert ours.volume == pytest.approx(theirs.volume, rel=1e-5)
    for name in ("edges_unique_length", "area_faces"):
        assert np.allclose(np.sort(getattr(ours, name)), np.sort(getattr(theirs, name)), atol=1e-6)
    assert len(edges_of(faces)) == len(theirs.edges_unique) == 30 * 4**level


def test_smoothing_is_that_of_pytorch3d() -> None:
    structures, loss = pytest.importorskip("pytorch3d.structures"), pytest.importorskip("pytorch3d.loss")
    vertices, faces = icosphere(2)
    torch.manual_seed(0)
    ours = (vertices + 0.1 * torch.randn(3, *vertices.shape)).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    found = laplacian_smoothing(ours, edges_of(faces))
    expected = loss.mesh_laplacian_smoothing(structures.Meshes(theirs, faces.expand(3, -1, -1)), method="uniform")
    found.backward()
    expected.backward()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_smoothing_by_hand_and_where_it_has_no_slope() -> None:
    _, faces = icosphere(0)
    vertices = torch.zeros(1, 12, 3)
    vertices[0, 0, 1] = 1.0  # its 5 neighbours see it at a fifth, it sees them at 1
    assert laplacian_smoothing(vertices, edges_of(faces)).item() == pytest.approx((1 + 5 / 5) / 12)
    flat = torch.zeros(1, 12, 3, requires_grad=True)
    laplacian_smoothing(flat, edges_of(faces)).backward()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()


def test_points_lie_on_the_surface_in_proportion_to_its_area() -> None:
    vertices = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 3]]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])  # areas 1/2 and 3/2
    torch.manual_seed(0)
    points = sample_surface(vertices, faces, 20_000)[0]
    first, second = points[points[:, 2] == 0], points[points[:, 2] > 0]
    assert len(first) / 20_000 == pytest.approx(0.25, abs=0.015)
    torch.testing.assert_close(first.mean(0), torch.tensor([1 / 3, 1 / 3, 0]), atol=0.02, rtol=0)
    torch.testing.assert_close(second.mean(0), torch.tensor([0, 1 / 3, 1.0]), atol=0.02, rtol=0)
    # Uniform in the triangle, not only right on average: a corner of half the size holds a quarter.
    assert (first.sum(1) < 0.5).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_a_sampled_point_is_moved_by_the_corners_of_its_face() -> None:
    vertices = torch.rand(1, 3, 3, requires_grad=True)
    points = sample_surface(vertices, torch.tensor([[0, 1, 2]]), 10)
    points.sum().backward()
    torch.testing.assert_close(vertices.grad.sum(1), torch.full((1, 3), 10.0))  # type: ignore[union-attr]


def test_surfaces_without_area_or_of_nan_are_sampled_all_the_same() -> None:
    faces = torch.tensor([[0, 1, 2]])
    assert torch.equal(sample_surface(torch.ones(1, 3, 3), faces, 4), torch.ones(1, 4, 3))
    assert sample_surface(torch.full((1, 3, 3), torch.nan), faces, 4).isnan().all()


def test_the_first_mesh_is_the_sphere_and_has_its_weighted_losses() -> None:
    model = Model(Config(**ENCODER, hidden=(8,), level=4, points=4000, laplacian_weight=0.5)).eval()
    batch = boxes(1) | {"points": 2 * icosphere(4)[0][None]}  # radius 2 about 0.25
    vertices, _ = model.predict(batch["images"])[0]
    torch.testing.assert_close(vertices, model.template, atol=2e-3, rtol=0)
    losses = model.losses(batch, "reconstruction")
    assert losses["chamfer"].item() == pytest.approx(2 * 1.75**2, rel=0.01)
    smoothing = laplacian_smoothing(model.template[None], model.edges).item()
    assert losses["laplacian"].item() == pytest.approx(0.5 * smoothing, rel=0.1)


def test_predicted_vertices_stay_in_the_unit_cube() -> None:
    model = Model(Config(**ENCODER, hidden=(8,), level=1)).eval()
    torch.nn.init.uniform_(model.decoder[-1].bias, -2, 2)  # type: ignore[arg-type]
    (vertices, faces), _ = model.predict(boxes(2)["images"])
    assert vertices.abs().max() == 0.5
    assert torch.equal(faces, icosphere(1)[1])


@pytest.mark.long
def test_sixteen_samples_are_learnt_by_heart() -> None:
    torch.manual_seed(0)
    model, batch = Model(Config(**ENCODER, hidden=(128, 256), level=3, points=300)), boxes(16)
    overfit(model, batch, steps=150, lr=3e-3)
    with torch.no_grad():
        meshes = model.predict(batch["images"])
    found = [
        chamfer_unsquared(sample_surface(vertices[None], faces, 500)[0], true).item()
        for (vertices, faces), true in zip(meshes, batch["points"], strict=True)
    ]
    # As close as another draw of points from the true surface, though half as many.
    assert sum(found) < sum(chamfer_unsquared(true[:250], true[250:]).item() for true in batch["points"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"radius": 0.6}, "radius: expected a number from 0 to 0.5, got 0.6"),
        ({"laplacian_weight": -1.0}, "laplacian_weight: expected 0 or more, got -1.0"),
        ({"points": 0}, "points: expected a positive number, got 0"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Config(**changes)
