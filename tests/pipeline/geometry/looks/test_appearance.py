from __future__ import annotations

import dataclasses

import numpy as np
import trimesh

from pipeline.geometry.looks.appearance import GRAY, WHITE, Looks, Surface, fitted, flat, joined, plain
from pipeline.geometry.meshes import Mesh

COLOURS = np.linspace(0, 1, 18, dtype=np.float32).reshape(6, 3)


def cube() -> tuple[Mesh, Surface]:
    """A cube, each side of a colour, with colours and coordinates at the corners that tell them apart."""
    box = trimesh.creation.box((1, 1, 1))
    mesh = Mesh(np.asarray(box.vertices), np.asarray(box.faces))
    side = np.unique(np.round(box.face_normals).astype(int), axis=0, return_inverse=True)[1].ravel()
    corners = mesh.vertices[mesh.faces]
    looks = dataclasses.replace(
        flat(side, COLOURS), shade=(corners + 0.5).astype(np.float32), uv=corners[..., :2].astype(np.float32)
    )
    return mesh, Surface(corners, looks)


def shuffled(found: Surface) -> Surface:
    """The same triangles in another order, each beginning at another corner."""
    order, turn = np.random.default_rng(0).permutation(len(found.corners)), np.array([1, 2, 0])
    looks = dataclasses.replace(
        found.looks,
        material=found.looks.material[order],
        uv=found.looks.uv[order][:, turn],
        shade=found.looks.shade[order][:, turn],
    )
    return Surface(found.corners[order][:, turn], looks)


def test_faces_find_their_looks_by_place_corner_for_corner() -> None:
    mesh, found = cube()
    looks = fitted(mesh, shuffled(found))
    for name in ("material", "uv", "shade"):
        assert np.array_equal(getattr(looks, name), getattr(found.looks, name)), name
    assert np.array_equal(looks.colours[:6], COLOURS) and np.array_equal(looks.behind, np.arange(12))


def test_faces_that_are_cut_in_another_way_take_the_looks_of_where_they_lie() -> None:
    """A square cut along the other diagonal: coordinates go on over it; one that lies elsewhere is gray."""
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [5, 5, 5], [6, 5, 5], [5, 6, 5]], float)
    corners = square[[[0, 1, 2], [0, 2, 3]]]
    looks = dataclasses.replace(
        flat(np.array([0, 0]), COLOURS[3:4]), uv=(2 * corners[..., :2] + 0.25).astype(np.float32)
    )
    got = fitted(Mesh(square, np.array([[0, 1, 3], [1, 2, 3], [4, 5, 6]])), Surface(corners, looks))
    assert np.allclose(got.uv[0], [[0.25, 0.25], [2.25, 0.25], [0.25, 2.25]], atol=1e-6)
    assert np.allclose(got.uv[1], [[2.25, 0.25], [2.25, 2.25], [0.25, 2.25]], atol=1e-6)
    assert np.allclose(got.colours[got.material], [COLOURS[3], COLOURS[3], [GRAY] * 3])
    assert (got.shade == 1).all() and all(texture is WHITE for texture in got.textures)


def test_of_two_faces_in_one_place_each_side_shows_its_own() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    mesh = Mesh(vertices, np.array([[0, 1, 2], [1, 0, 2], [0, 1, 3]]))  # the second is the first from behind
    looks = dataclasses.replace(flat(np.array([0, 1, 2]), COLOURS[:3]), uv=np.random.rand(3, 3, 2).astype(np.float32))
    got = fitted(mesh, Surface(vertices[mesh.faces], looks))
    assert got.behind.tolist() == [3, 4, 2]
    assert got.material.tolist() == [0, 1, 2, 1, 0]
    assert np.array_equal(got.uv[3], looks.uv[1][[1, 0, 2]]) and np.array_equal(got.uv[4], looks.uv[0][[1, 0, 2]])


def test_of_faces_in_one_place_each_has_its_own_looks() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0.0]])
    mesh = Mesh(vertices, np.array([[0, 1, 2], [1, 2, 0], [2, 1, 0]]))
    looks = flat(np.array([4, 5, 3]), COLOURS)
    assert fitted(mesh, Surface(vertices[mesh.faces], looks)).material[:3].tolist() == [4, 5, 3]


def test_parts_are_joined() -> None:
    _, found = cube()
    both = joined([found, shuffled(found)])
    assert both is not None and joined([]) is None
    assert np.array_equal(both.looks.material, [*found.looks.material, *(6 + shuffled(found).looks.material)])
    assert np.array_equal(both.looks.colours, [*COLOURS, *COLOURS]) and len(both.looks.textures) == 12
    assert np.array_equal(both.corners[12:], shuffled(found).corners)


def test_without_colours_all_is_gray() -> None:
    mesh, _ = cube()
    for looks in (fitted(mesh, None), plain(12)):
        assert np.allclose(looks.colours[looks.material], GRAY) and (looks.shade == 1).all()


def test_mirrored_looks_go_with_faces_that_are_named_the_other_way_round() -> None:
    mesh, found = cube()
    looks: Looks = fitted(mesh, found).mirrored()
    assert np.array_equal(looks.uv[:, ::-1], found.looks.uv) and np.array_equal(looks.shade[:, ::-1], found.looks.shade)
