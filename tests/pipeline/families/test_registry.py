from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_fill_holes
from scipy.spatial import Delaunay

from pipeline.families.registry import FAMILIES
from pipeline.families.solids import Panel, Part, Shape, bar, box, chain, leaned, mirrored, ring, taper

SYNSETS = sorted(FAMILIES)
CHAIR, CAR, AIRPLANE, CABINET = "03001627", "02958343", "02691156", "02933112"


def draw(synset: str, index: int) -> Shape:
    return FAMILIES[synset][1](np.random.default_rng([7, int(synset), index]))


def as_trimesh(part: Part) -> trimesh.Trimesh:
    return trimesh.Trimesh(part.vertices, part.faces, process=False)


def occupancy(shape: Shape, resolution: int) -> np.ndarray:
    """Cells whose centre is inside, (R, R, R), of a cube around the shape, centred on its bounding box."""
    corners = np.concatenate([piece.vertices for piece in shape.pieces])
    low, high = corners.min(0), corners.max(0)
    cells = np.stack(np.meshgrid(*[np.arange(resolution)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    points = (low + high) / 2 + ((cells + 0.5) / resolution - 0.5) * (high - low).max() / 0.9
    return shape.contains(points).reshape((resolution,) * 3)


def test_there_are_eight_families_of_3d_r2n2() -> None:
    expected = "02691156 02828884 02933112 02958343 03001627 03636649 04256520 04379243"
    assert expected.split() == SYNSETS


def test_box_holds_what_lies_between_its_spans() -> None:
    part = box((0, 1), (2, 4), (-1, 0))
    points = np.array([(0.5, 3, -0.5), (1.01, 3, -0.5), (0.5, 1.99, -0.5), (0.5, 3, 0.01), (1, 4, 0)])
    assert part.contains(points).tolist() == [True, False, False, False, True]
    assert len(part.faces) == 12 and len(part.planes) == 6


def test_volumes_by_formula() -> None:
    sides, a, b, height = 16, 0.5, 0.2, 3.0
    polygon = 0.5 * sides * np.sin(2 * np.pi / sides)
    cone = polygon * height / 3 * (a * a + a * b + b * b)
    assert as_trimesh(bar((1, 2, 3), (1, 2, 6), a, b, sides)).volume == pytest.approx(cone)
    # Each of the 12 edges loses a prism, each of the 8 corners a cube of the bevel's size but for a sixth of it.
    bevelled = 8 - 12 * (2 - 2 * 0.3) * 0.3**2 / 2 - 8 * 5 / 6 * 0.3**3
    assert as_trimesh(box((0, 2), (0, 2), (0, 2), 0.3)).volume == pytest.approx(bevelled)
    pyramid = taper((0, 3), ((-1, 1), (-1, 1)), ((-0.5, 0.5), (-0.5, 0.5)))
    assert as_trimesh(pyramid).volume == pytest.approx(3 / 3 * (4 + 2 + 1))


@pytest.mark.parametrize("synset", SYNSETS)
def test_every_part_is_closed_convex_and_faces_outward(synset: str) -> None:
    for index in range(6):
        for part in draw(synset, index).parts:
            mesh = as_trimesh(part)
            assert mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0
            assert mesh.is_convex
            assert np.unique(part.faces).tolist() == list(range(len(part.vertices)))


@pytest.mark.parametrize("synset", SYNSETS)
def test_contains_agrees_with_delaunay_triangulations_of_the_parts(synset: str) -> None:
    shape = draw(synset, 0)
    corners = np.concatenate([part.vertices for part in shape.parts])
    points = np.random.default_rng(0).uniform(corners.min(0), corners.max(0), (4000, 3))
    expected = np.zeros(len(points), dtype=bool)
    for part in shape.parts:
        expected |= Delaunay(part.vertices).find_simplex(points) >= 0
    assert expected.any()
    assert np.array_equal(shape.contains(points), expected)


def test_monte_carlo_volume_agrees_with_the_mesh() -> None:
    part = max(draw(CAR, 0).parts, key=lambda part: as_trimesh(part).volume)
    low, high = part.vertices.min(0), part.vertices.max(0)
    points = np.random.default_rng(0).uniform(low, high, (40_000, 3))
    assert part.contains(points).mean() * np.prod(high - low) == pytest.approx(as_trimesh(part).volume, rel=0.02)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_mapped_part_contains_the_mapped_points(seed: int) -> None:
    rng = np.random.default_rng(seed)
    part, matrix, offset = Part.hull(rng.normal(size=(12, 3))), rng.normal(size=(3, 3)), rng.normal(size=3)
    points = rng.normal(size=(200, 3))
    mapped = part.mapped(matrix, offset)
    assert np.array_equal(mapped.contains(points @ matrix.T + offset), part.contains(points))
    assert as_trimesh(mapped).volume == pytest.approx(abs(np.linalg.det(matrix)) * as_trimesh(part).volume)


def test_transformed_shape_contains_the_transformed_points() -> None:
    shape, offset = draw(CHAIR, 3), np.array([0.1, -2.0, 0.5])
    points = np.random.default_rng(0).uniform(-0.5, 1.0, (3000, 3))
    moved = shape.transformed(0.25, offset)
    assert np.array_equal(moved.contains(0.25 * points + offset), shape.contains(points))


def test_a_panel_has_a_surface_and_no_volume() -> None:
    square = Panel.polygon([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)])
    assert trimesh.Trimesh(square.vertices, square.faces).area == pytest.approx(1)
    assert not Shape.of([square]).contains(np.array([(0.5, 0.5, 0.0)])).any()


def test_leaning_and_mirroring_move_the_top_and_the_side() -> None:
    part = box((1, 2), (0, 1), (0, 1))
    (leant,) = leaned([part], 0, 0.5)
    assert leant.vertices[leant.vertices[:, 1] == 1][:, 2].tolist() == pytest.approx([0.5, 1.5, 0.5, 1.5])
    assert Shape.of(mirrored([part])).contains(np.array([(1.5, 0.5, 0.5), (-1.5, 0.5, 0.5)])).all()


def test_chain_joins_neighbouring_sections() -> None:
    sections = [ring((0, 0, z), (r, r), axis=2) for z, r in ((0, 1.0), (1, 0.5), (2, 1.0))]
    hourglass = Shape.of(chain(sections))
    points = np.array([(0.7, 0, 0.1), (0.7, 0, 1.0), (0.7, 0, 1.9), (0.4, 0, 1.0)])
    assert hourglass.contains(points).tolist() == [True, False, True, True]


@pytest.mark.parametrize("synset", SYNSETS)
def test_no_family_encloses_an_empty_space(synset: str) -> None:
    for index in range(4):
        solid = occupancy(draw(synset, index), 48)
        assert binary_fill_holes(solid).sum() <= 1.002 * solid.sum()


@pytest.mark.parametrize("synset", [CHAIR, CAR])
def test_left_and_right_are_mirror_images(synset: str) -> None:
    for index in range(4):
        solid = occupancy(draw(synset, index), 32)
        assert np.array_equal(solid, solid[::-1])


@pytest.mark.parametrize("synset", [CHAIR, AIRPLANE, "04256520"])
def test_backs_and_fins_are_behind(synset: str) -> None:
    """The front is -Z: the quarter nearest to it is lower than the quarter farthest from it."""
    for index in range(8):
        corners = np.concatenate([piece.vertices for piece in draw(synset, index).pieces])
        depth = (corners[:, 2] - corners[:, 2].min()) / np.ptp(corners[:, 2])
        assert corners[depth > 0.75, 1].max() > corners[depth < 0.25, 1].max()


def test_a_cabinet_opens_towards_the_front() -> None:
    for index in range(6):
        shape = draw(CABINET, index)
        assert all(panel.vertices[:, 2].min() > 0 for panel in shape.panels) and shape.panels


@pytest.mark.parametrize("synset", SYNSETS)
def test_no_two_models_are_alike(synset: str) -> None:
    solids = [occupancy(draw(synset, index), 32).ravel() for index in range(10)]
    for first in range(len(solids)):
        for second in range(first):
            union = (solids[first] | solids[second]).sum()
            assert (solids[first] & solids[second]).sum() / union < 0.95


def test_the_same_generator_draws_the_same_shape() -> None:
    first, second = draw(CHAIR, 5), draw(CHAIR, 5)
    assert all(np.array_equal(a.vertices, b.vertices) for a, b in zip(first.pieces, second.pieces, strict=True))
