from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.answers import nearest
from pipeline.answers.network import WEIGHTS, trained
from pipeline.sources.photos import Photo
from tests.constant_system import write_checkpoint
from tests.samples import SYNSETS, write_boxes

PARAMS = """dataset:
  root: data
  split: auto
  categories: ["02691156", "03001627"]
  max_rejected: 0.1
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    nearest.packed.cache_clear()
    return tmp_path


def bar(height: int, width: int) -> Photo:
    """All object."""
    gray = np.full((height, width), 90, np.uint8)
    return Photo(gray, np.ones((height, width), bool), np.repeat(gray[..., None], 3, axis=-1), "hand")


def test_a_tall_photo_finds_a_tall_box_in_the_shards(project: Path) -> None:
    assert nearest.packed() is None
    nearest.packed.cache_clear()
    write_boxes(project / "data/shards", 16)
    Path("params.yaml").write_text(PARAMS)
    shapes = nearest.packed()
    assert shapes and len(shapes.keys) == len(shapes.views) == 3 * 2 * 6
    for photo, name, extreme in ((bar(80, 30), "airplane", max), (bar(24, 80), "chair", min)):
        found, words = shapes.nearest([photo])
        assert words.startswith(name) and found.field is not None
        sides = [int(np.ptp(places)) for places in np.nonzero(found.field)]
        assert sides[1] == extreme(sides) and sides.count(sides[1]) == 1, words


def test_few_views_stand_for_many(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "MOST", 10)
    write_boxes(project / "data/shards", 16)
    Path("params.yaml").write_text(PARAMS)
    shapes = nearest.packed()
    assert shapes and len(shapes.keys) <= 10
    assert shapes.nearest([bar(80, 30)])[1].startswith("airplane")


def test_another_projects_shards_are_none(project: Path) -> None:
    write_boxes(project / "data/shards", 16)
    Path("params.yaml").write_text(PARAMS.replace(", ".join(f'"{name}"' for name in SYNSETS), '"02828884"'))
    assert nearest.packed() is None


def test_what_a_network_remembers_is_one_of_its_shapes(project: Path) -> None:
    network = trained(WEIGHTS, None)
    found = nearest.remembered(network, [bar(30, 80)])
    assert found and found.field is not None
    packed = np.packbits(found.field.astype(bool))
    assert (network.model.grids.numpy() == packed).all(axis=1).any()
    write_checkpoint(project / "constant.pt", torch.full((8, 8, 8), 0.6))
    assert nearest.remembered(trained(project / "constant.pt", None), [bar(30, 80)]) is None
