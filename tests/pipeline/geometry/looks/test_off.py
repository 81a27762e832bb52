from __future__ import annotations

import numpy as np
import pytest

from pipeline.geometry import meshes
from pipeline.geometry.looks import off
from pipeline.geometry.looks.appearance import GRAY, fitted

SQUARE = ("0 0 0", "2 0 0", "2 1 0", "0 1 0")
RED, BLUE, HALF = "255 0 0 255", "0 0 255 255", "51 102 0 255"


def shown(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Corners (M, 3, 3) of the faces, and their colours."""
    mesh = meshes.read(text.encode(), "off")
    looks = fitted(mesh, off.read(text.encode()))
    faces = slice(len(mesh.faces))
    return mesh.vertices[mesh.faces], looks.shade[faces] * looks.colours[looks.material[faces], None]


@pytest.mark.parametrize(
    ("head", "colours"),
    [
        ("COFF\n4 1 0", (RED, BLUE, HALF, RED)),
        ("COFF 4 1 0", ("1.0 0.0 0.0 1.0", "0 0 1. 1", ".2 .4 0 1", "1.0 0 0 1")),
        ("# theirs\nCOFF # too\n4 1 0", tuple(colour.rpartition(" ")[0] for colour in (RED, BLUE, HALF, RED))),
    ],
)
def test_colours_of_vertices(head: str, colours: tuple[str, ...]) -> None:
    rows = [f"{place} {colour}" for place, colour in zip(SQUARE, colours, strict=True)]
    corners, got = shown("\n".join([head, *rows, "4 0 1 2 3"]))
    expected = {(0, 0): (1, 0, 0), (2, 0): (0, 0, 1), (2, 1): (0.2, 0.4, 0), (0, 1): (1, 0, 0)}
    for (x, y, _), colour in zip(corners.reshape(-1, 3), got.reshape(-1, 3), strict=True):
        assert np.allclose(colour, expected[x, y])


def test_colours_of_faces() -> None:
    _, got = shown("\n".join(["OFF", "4 3 0", *SQUARE, "3 0 1 2 255 0 0", "3 0 2 3", "3 0 1 3 7"]))
    assert np.allclose(got[:, 0], np.array([[1, 0, 0], [GRAY] * 3, [GRAY] * 3]))


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(["OFF", "4 1 0", *SQUARE, "4 0 1 2 3"]),
        "\n".join(["OFF", "4", "1", "0", " ".join(SQUARE), "4 0 1 2", "3"]),
        "\n".join(["4 1 0", *SQUARE, "4 0 1 2 3"]),
        "\n".join(["4OFF", "4 1 0", *(f"{place} 2" for place in SQUARE), "4 0 1 2 3"]),
    ],
)
def test_none_where_it_says_nothing_of_colours(text: str) -> None:
    assert len(meshes.read(text.encode(), "off").faces) == 2 and off.read(text.encode()) is None


@pytest.mark.parametrize("head", ["off 4 1", "COFF4 1 0", "COFF\n4\n1\n0"])
def test_heads_however_they_are_written(head: str) -> None:
    colour = f" {RED}" if head.startswith("C") else ""
    _, got = shown("\n".join([head, *(place + colour for place in SQUARE), "4 0 1 2 3 255 0 0"]))
    assert np.allclose(got, [1, 0, 0])
