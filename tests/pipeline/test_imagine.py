from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from model import vaegan3d
from pipeline import imagine
from pipeline.answers.network import see
from pipeline.sources.photos import read_photo
from pipeline.training import checkpoints
from pipeline.training.checkpoints import CHECKPOINTS
from tests.constant_system import write_checkpoint

CONFIG = vaegan3d.Config(
    image_size=(16, 16),
    resolution=16,
    encoder_channels=(4, 4),
    encoder_kernels=(3, 3),
    encoder_strides=(2, 2),
    latent=6,
    channels=(8, 4),
)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> vaegan3d.Model:
    """A network with random weights, trained in name, and photos of a wide and of a tall thing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    torch.manual_seed(0)
    model = vaegan3d.Model(CONFIG).eval()
    for layer in (model.encoder[-2], model.generator[1], model.generator[4]):
        next(layer.parameters()).data *= 9  # so that photos differ, and shapes
    about = checkpoints.describe("vaegan3d", vaegan3d, CONFIG)
    checkpoints.save(CHECKPOINTS / "vaegan3d.pt", about | {"state": model.state_dict()})
    for name, size in (("wide.png", (30, 10)), ("tall.png", (10, 30))):
        picture = Image.new("RGB", (40, 40), "white")
        picture.paste("gray", ((40 - size[0]) // 2, (40 - size[1]) // 2, (40 + size[0]) // 2, (40 + size[1]) // 2))
        picture.save(name)
    return model


def command(**arguments: Any) -> None:
    defaults: dict[str, Any] = {"out": Path("out"), "threshold": 0.1}
    imagine.main(**defaults | arguments)


def written(folder: str = "out") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


@pytest.mark.long
def test_shapes_are_drawn_by_the_seed(model: vaegan3d.Model) -> None:
    command(count=3, seed=1)
    first = written()
    assert list(first) == ["sample-000.glb", "sample-001.glb", "sample-002.glb", "sheet.png"]
    assert trimesh.load_mesh("out/sample-002.glb").is_watertight
    assert len({*first.values()}) == 4
    command(count=3, seed=1)
    assert written() == first
    command(count=3, seed=2)
    assert not {*written().values()} & {*first.values()}


def test_a_way_leads_from_photo_to_photo(model: vaegan3d.Model) -> None:
    way = imagine.shapes(model, CONFIG, [Path("wide.png"), Path("tall.png")], 5, 0)
    ends = [model.predict(see([read_photo(Path(name))], (16, 16)))[0] for name in ("wide.png", "tall.png")]
    assert way.shape == (5, 16, 16, 16)
    assert torch.allclose(way[0], ends[0], atol=1e-4) and torch.allclose(way[-1], ends[1], atol=1e-4)
    assert not torch.allclose(way[0], way[-1], atol=1e-2)
    latents = torch.cat([model.features(see([read_photo(Path(name))], (16, 16))) for name in ("wide.png", "tall.png")])
    assert torch.allclose(way[2], model.decode(latents.mean(dim=0)[None])[0], atol=1e-4)


def test_a_way_without_photos_leads_from_draw_to_draw(model: vaegan3d.Model) -> None:
    way = imagine.shapes(model, CONFIG, [], 2, 3)
    assert torch.allclose(way, imagine.shapes(model, CONFIG, None, 2, 3), atol=1e-4)


@pytest.mark.long
def test_an_empty_shape_is_shown_as_nothing(tmp_path: Path) -> None:
    logits = torch.full((5, 8, 8, 8), -9.0)
    logits[[0, 2, 3, 4], 2:6, 2:6, 2:6] = 9
    assert imagine.save(logits, 0.5, tmp_path) == 4
    assert {path.stem for path in tmp_path.glob("*.glb")} == {"sample-000", "sample-002", "sample-003", "sample-004"}
    assert np.allclose(trimesh.load_mesh(tmp_path / "sample-003.glb").extents, 0.5, atol=1e-3)  # 4 of 8 cells
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    height, width = sheet.shape[0] // 2, sheet.shape[1] // 4
    cells = [sheet[h : h + height, w : w + width] for h in (0, height) for w in range(0, 4 * width, width)]
    ink = [(cell < 250).any(axis=-1).sum() for cell in cells]
    assert min(ink[0], ink[2], ink[3], ink[4]) > 5 * ink[1] > 0 == sum(ink[5:])


def test_what_can_not_be_imagined_is_said(model: vaegan3d.Model) -> None:
    write_checkpoint(CHECKPOINTS / "constant.pt", torch.full((16, 16, 16), 0.5))
    with pytest.raises(ValueError, match="--system: expected one that has shapes without a photo, .* got constant"):
        command(system="constant")
    with pytest.raises(ValueError, match="--between: expected two photos or none, got 1"):
        command(between=[Path("wide.png")])
    with pytest.raises(ValueError, match="--count: expected 2 or more, got 1"):
        command(between=[], count=1)
    with pytest.raises(ValueError, match="expected cells of occupancy over 1.0, got at most .*; try --threshold"):
        command(threshold=1.0)
    with pytest.raises(ValueError, match="--threshold: expected a number over 0 and up to 1, got -1"):
        command(threshold=-1.0)
    with pytest.raises(ValueError, match=r"--seed: expected a number from 0 to 2\^63, got -1"):
        command(seed=-1)
    assert not Path("out").exists()
