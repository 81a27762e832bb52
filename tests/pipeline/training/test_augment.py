from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pipeline.geometry import renderer
from pipeline.geometry.meshes import Mesh, normalise
from pipeline.geometry.solid import solid
from pipeline.training.augment import Augment, augmented, mirrored


def wedge() -> Mesh:
    """A closed solid without any symmetry: a tetrahedron of four different edges at its corner."""
    corners = np.array([[0, 0, 0], [0.9, 0.1, 0], [0.2, 0.5, 0.1], [0.1, 0, 0.6]], np.float64)
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
    return normalise(Mesh(corners, faces))[0]


def batch(count: int = 6) -> dict[str, Any]:
    rng = torch.Generator().manual_seed(0)
    images = torch.zeros(count, 2, 2, 24, 32)
    images[..., 6:18, 8:24] = 0.2 + 0.6 * torch.rand(count, 2, 2, 12, 16, generator=rng)
    occupancy = (torch.rand(count, 8, 8, 8, generator=rng) < 0.5).float()
    cover = torch.zeros(count, 2, 1, 24, 32)
    cover[..., 6:18, 8:24] = 1
    points = torch.rand(count, 5, 3, generator=rng) - 0.5
    return {"images": images, "cover": cover, "occupancy": occupancy, "points": points}


def test_a_mirrored_view_is_the_view_of_the_mirrored_shape_in_mirrored_light(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = wedge()
    flipped = Mesh(mesh.vertices * [-1, 1, 1], mesh.faces[:, ::-1].copy())
    seen = np.array([[25, 10, 3, 30], [140, -5, 3, 30], [250, 40, 3, 30]], np.float32)
    views, masks, depth = renderer.render(mesh, seen, 48, 64, maps=["depth"])
    monkeypatch.setattr(renderer, "LIGHT_TO_VIEW", (-renderer.LIGHT_TO_VIEW[0], *renderer.LIGHT_TO_VIEW[1:]))
    other = renderer.render(flipped, seen * np.array([-1, 1, 1, 1], np.float32), 48, 64, maps=["depth"])
    edge = masks ^ other[1][..., ::-1]
    assert edge.mean() < 0.002  # a ray that just grazes an edge
    both = masks & other[1][..., ::-1]
    assert np.abs(views.astype(int) - other[0][..., ::-1])[both].max() <= 1
    assert np.abs(depth - other[2][..., ::-1])[both].max() < 0.02


def test_views_and_grids_and_points_are_mirrored_as_meshes_are() -> None:
    mesh = wedge()
    grid = solid(mesh.vertices, mesh.faces, 16)[0]
    turned = solid(mesh.vertices * [-1, 1, 1], mesh.faces[:, ::-1].copy(), 16)[0]
    given = {
        "images": torch.arange(12.0).view(1, 1, 1, 3, 4),
        "occupancy": torch.from_numpy(grid)[None].float(),
        "points": torch.from_numpy(mesh.vertices)[None].float(),
    }
    found = mirrored(given, torch.tensor([True]))
    assert torch.equal(found["images"][0, 0, 0, 0], torch.tensor([3.0, 2, 1, 0]))
    assert np.array_equal(found["occupancy"][0].numpy() > 0, turned)
    assert torch.equal(found["points"][0], torch.from_numpy(mesh.vertices * [-1, 1, 1]).float())
    same = mirrored(given, torch.tensor([False]))
    assert all(torch.equal(same[name], given[name]) for name in given)


def test_nothing_changes_where_all_is_off_and_the_shape_only_where_it_is_mirrored() -> None:
    given = batch()
    assert augmented(given, Augment(), 0, 0) is given
    changed = augmented(given, Augment(scale=0.2, shift=0.1, brightness=0.3, contrast=0.3, noise=0.1, erase=1.0), 0, 0)
    assert torch.equal(changed["occupancy"], given["occupancy"])
    assert torch.equal(changed["points"], given["points"])
    some = augmented(given, Augment(mirror=0.5), 0, 0)
    flipped = [torch.equal(a, b.flip(-1)) for a, b in zip(some["images"], given["images"], strict=True)]
    assert 0 < sum(flipped) < len(flipped)
    for n, turned in enumerate(flipped):
        grid = given["occupancy"][n]
        assert torch.equal(some["occupancy"][n], grid.flip(0) if turned else grid)


def test_the_background_follows_the_object_and_leaves_its_shape() -> None:
    """Where the object is its pixels are those of the same seed on black, wherever it was moved; the rest is filled."""
    given, how = batch(), {"mirror": 0.5, "scale": 0.2, "shift": 0.1}
    plain = augmented(given, Augment(**how), 3)
    filled = augmented(given, Augment(**how, background=1.0), 3)
    assert "cover" in given and "cover" not in filled
    assert torch.equal(filled["occupancy"], plain["occupancy"]) and torch.equal(filled["points"], plain["points"])
    seen, black = filled["images"][:, :, :1], plain["images"][:, :, :1]
    inside = torch.nn.functional.avg_pool2d((black > 0).float().flatten(0, 1), 5, 1, 2).view_as(black) > 0.99
    assert torch.allclose(seen[inside], black[inside], atol=1e-5) and inside.sum() > 500
    assert (seen[black == 0] > 0).float().mean() > 0.95
    assert torch.equal(filled["images"][:, :, 1:], plain["images"][:, :, 1:])  # depth has none
    some = augmented(given, Augment(background=0.5), 3)["images"]
    same = [torch.equal(a, b) for a, b in zip(some, given["images"], strict=True)]
    assert 0 < sum(same) < len(same)  # all views of a sample, or none


@pytest.mark.parametrize("name", ["scale", "shift", "brightness", "contrast", "noise", "erase", "background"])
def test_each_change_is_a_function_of_the_seed(name: str) -> None:
    given, how = batch(), Augment(**{name: 0.9 if name == "erase" else 0.2})
    first, again, other = (augmented(given, how, *seed)["images"] for seed in ((1, 2), (1, 2), (1, 3)))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, given["images"])
    assert first.shape == given["images"].shape
    assert 0 <= first.min() <= first.max() <= 1
    assert first[:, :, 0, 0, 0].any() == (name == "background")  # or else it stays black


def test_scale_and_shift_by_hand() -> None:
    images = torch.zeros(200, 1, 1, 40, 40)
    images[..., 15:25, 15:25] = 1
    larger = augmented({"images": images}, Augment(scale=0.2), 0)["images"]
    sides = larger.sum(dim=(1, 2, 3, 4)).sqrt() / 10
    assert 0.79 < sides.min() < 0.85
    assert 1.15 < sides.max() < 1.21
    moved = augmented({"images": images}, Augment(shift=0.1), 0)["images"]
    assert moved.sum(dim=(1, 2, 3, 4)) == pytest.approx(100, abs=0.1)
    centres = (moved.sum(dim=(1, 2, 3)) * torch.arange(40)).sum(1) / 100 - 19.5
    assert 3.5 < centres.abs().max() <= 4.01


def test_gray_values_by_hand() -> None:
    images = torch.full((400, 1, 1, 4, 4), 0.5)
    bright = augmented({"images": images}, Augment(brightness=0.2), 0)["images"]
    assert bright.amin().item() == pytest.approx(0.4, abs=0.01)
    assert bright.amax().item() == pytest.approx(0.6, abs=0.01)
    power = augmented({"images": images}, Augment(contrast=0.5), 0)["images"]
    assert power.amin().item() == pytest.approx(0.5 ** np.exp(0.5), abs=0.01)
    assert power.amax().item() == pytest.approx(0.5 ** np.exp(-0.5), abs=0.01)
    noisy = augmented({"images": images}, Augment(noise=0.1), 0)["images"] - 0.5
    assert noisy.std().item() == pytest.approx(
        0.1 / 3**0.5, rel=0.1
    )  # the root mean square of deviations from 0 to 0.1


def test_colours_change_alike_and_only_on_the_object() -> None:
    """The factor and the power of a picture are those of its three channels, and depth has none."""
    images = torch.zeros(300, 1, 4, 4, 4)
    images[:, :, :, 1:3, 1:3] = torch.tensor([0.4, 0.2, 0.0, 0.7])[:, None, None]
    bright = augmented({"images": images}, Augment(brightness=0.2), 0)["images"][..., 1, 1]
    assert torch.allclose(bright[..., 0], 2 * bright[..., 1]) and bright[..., 0].std() > 0.02
    assert not bright[..., 2].any() and (bright[..., 3] == 0.7).all()
    power = augmented({"images": images}, Augment(contrast=0.5), 0)["images"][..., 1, 1]
    ratio = power[..., 0].log() / power[..., 1].log()
    assert torch.allclose(ratio, torch.full_like(ratio, np.log(0.4) / np.log(0.2)), atol=1e-4)
    noisy = augmented({"images": images}, Augment(noise=0.3), 0)["images"]
    assert noisy[:, :, 2, 1:3, 1:3].any() and not noisy[..., 0, 0].any()  # on the object, where it has no blue


def test_patches_have_the_size_that_is_asked_for() -> None:
    images = torch.ones(2000, 1, 2, 32, 32)
    erased = augmented({"images": images}, Augment(erase=0.5), 0)["images"] == 0
    assert torch.equal(erased[:, :, 0], erased[:, :, 1])
    share = erased[:, 0, 0].float().mean(dim=(1, 2))
    assert (share > 0).float().mean() == pytest.approx(0.5, abs=0.05)
    assert share.max() <= 0.25


def test_a_strength_that_can_not_be_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"^mirror: expected a share from 0 to 1, got 1.5$"):
        Augment(mirror=1.5)
    with pytest.raises(ValueError, match=r"^scale: expected a share from 0 to 1, got 1$"):
        Augment(scale=1)
