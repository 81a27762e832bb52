from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from model import view2mesh, view2points
from pipeline import predict, synthesize
from pipeline.geometry import meshes, renderer
from pipeline.shards.views import prepare
from pipeline.sources import photos
from pipeline.training import checkpoints, weights
from tests.constant_system import write_checkpoint
from tests.photos import photo


@pytest.mark.parametrize("synset", ["03001627", "04379243"])
def test_a_rendered_view_on_white_reaches_the_network_as_in_training(tmp_path: Path, synset: str) -> None:
    model = synthesize.build(synset, 3, synthesize.Params(0, 4, doubled=1.0, flipped=1.0, opened=0.0))
    mesh, _ = meshes.normalise(meshes.Mesh(model.vertices, model.faces))
    drawn = np.array([[150, 20, 3, 30], [240, 5, 3, 30]], np.float32)
    for view, alpha in zip(*renderer.render(mesh, drawn, 192, 256), strict=True):
        Image.fromarray(view).save(tmp_path / "a.png")
        gray, mask = photos.read_photo(tmp_path / "a.png")
        seen = prepare(torch.from_numpy(gray.copy())[None], torch.from_numpy(mask)[None], (48, 64))
        trained = prepare(torch.from_numpy(view)[None], torch.from_numpy(alpha)[None], (48, 64))
        assert (seen - trained).abs().max() < 0.2 and (seen - trained).abs().mean() < 0.002


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trained system that answers every photo with a box, 8 of 16 cells wide, 4 high and 12 deep."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    probabilities = torch.full((16, 16, 16), 0.01)
    probabilities[4:12, 6:10, 2:14] = 0.6
    write_checkpoint(predict.CHECKPOINTS / "constant.pt", probabilities)
    photo(tmp_path / "a.png", (255, 255, 255))
    return tmp_path


def command(out: str, *more: str, system: str = "constant", threshold: float | None = None) -> None:
    predict.main([Path("a.png"), *map(Path, more)], Path(out), system, threshold)


@pytest.mark.parametrize("suffix", predict.MESHES)
def test_a_photo_becomes_a_mesh_in_the_normalised_frame(project: Path, suffix: str) -> None:
    (project / "data/scores/constant").mkdir(parents=True)
    (project / "data/scores/constant/figures.json").write_text('{"overall": {"threshold": 0.305}}')
    command(f"out/mesh{suffix}")
    mesh = trimesh.load_mesh(project / "out" / f"mesh{suffix}")
    assert mesh.is_watertight
    # At half of the way from 0.01 to 0.6 the surface lies half-way between cell centres: on the box's cell faces.
    assert np.allclose(mesh.bounds, np.array([[-4, -2, -6], [4, 2, 6]]) / 16, atol=1e-4)


def test_nothing_over_the_threshold_is_said(project: Path) -> None:
    with pytest.raises(ValueError, match="a.png: expected cells of occupancy over 0.9, got at most 0.600"):
        command("mesh.glb", threshold=0.9)
    with pytest.raises(ValueError, match="--out: expected a file ending in .glb, .*, got 'mesh.doc'"):
        command("mesh.doc")
    assert not list(project.glob("mesh*"))


TINY: dict[str, Any] = {"image_size": (16, 16), "encoder_channels": (4,), "encoder_blocks": 1, "hidden": (8,)}


def write_network(module: Any, config: Any, change: float = 0.0) -> Any:
    """A checkpoint of a network with random weights, to which `change` is added; returns the network."""
    torch.manual_seed(0)
    model = module.Model(config).eval()
    for parameter in model.parameters():
        parameter.data += change
    name = module.__name__.rpartition(".")[2]
    about = checkpoints.describe(name, module, config)
    checkpoints.save(predict.CHECKPOINTS / f"{name}.pt", about | {"state": model.state_dict()})
    return model


def seen(*names: str) -> torch.Tensor:
    """(1, V, 1, 16, 16), each photo by itself through the preprocessing of training."""
    pictures = [[torch.from_numpy(part.copy())[None] for part in photos.read_photo(Path(name))] for name in names]
    return torch.stack([prepare(gray, mask, (16, 16)) for gray, mask in pictures], dim=1)


def read(path: Path) -> trimesh.PointCloud:
    (cloud,) = trimesh.load_scene(path).geometry.values()
    assert isinstance(cloud, trimesh.PointCloud)
    return cloud


@pytest.mark.parametrize("suffix", predict.POINTS)
def test_a_photo_becomes_a_point_cloud(project: Path, suffix: str) -> None:
    model = write_network(view2points, view2points.Config(**TINY, points=30))
    command(f"cloud{suffix}", system="view2points")
    assert np.allclose(read(project / f"cloud{suffix}").vertices, model.predict(seen("a.png"))[0].detach(), atol=1e-6)


@pytest.mark.parametrize("suffix", predict.MESHES)
def test_a_predicted_mesh_is_written_as_it_is(project: Path, suffix: str) -> None:
    model = write_network(view2mesh, view2mesh.Config(**TINY, level=1))
    command(f"mesh{suffix}", system="view2mesh")
    vertices, faces = (part.detach().numpy() for part in model.predict(seen("a.png"))[0])
    written = trimesh.load_mesh(project / f"mesh{suffix}", process=False).triangles
    assert np.allclose(written, vertices[faces], atol=1e-6)


def test_several_photos_are_views_of_one_object(project: Path) -> None:
    Image.new("RGB", (40, 10), "blue").save(project / "b.png")
    model = write_network(view2points, view2points.Config(**TINY, points=30))
    together, alone = seen("a.png", "b.png"), seen("a.png")
    assert torch.equal(predict.look([Path("a.png"), Path("b.png")], (16, 16)), together)
    command("cloud.ply", "b.png", system="view2points")
    points = read(project / "cloud.ply").vertices
    assert np.allclose(points, model.predict(together)[0].detach(), atol=1e-6)
    assert not np.allclose(points, model.predict(alone)[0].detach(), atol=1e-3)


def test_what_does_not_fit_the_output_is_refused(project: Path) -> None:
    write_network(view2points, view2points.Config(**TINY, points=30))
    with pytest.raises(ValueError, match=r"--out: .* .glb, .obj, .ply, .xyz from view2points, got 'cloud.stl'"):
        command("cloud.stl", system="view2points")
    with pytest.raises(ValueError, match="--threshold: expected none for view2points, its output is points"):
        command("cloud.ply", system="view2points", threshold=0.5)
    with pytest.raises(ValueError, match="from constant, got 'mesh.xyz'"):
        command("mesh.xyz")


def test_a_prediction_that_is_no_number_is_said(project: Path) -> None:
    write_network(view2points, view2points.Config(**TINY, points=30), torch.nan)
    with pytest.raises(ValueError, match="a.png: expected a shape, got a prediction that is empty or not finite"):
        command("cloud.ply", system="view2points")
    write_checkpoint(predict.CHECKPOINTS / "constant.pt", torch.full((16, 16, 16), torch.nan))
    with pytest.raises(ValueError, match="a.png: expected a shape, got a prediction that is empty or not finite"):
        command("mesh.ply")
    assert not list(project.glob("*.ply"))


@pytest.mark.parametrize(
    ("output", "prediction"),
    [
        ("points", torch.zeros(1, 0, 3)),
        ("mesh", [(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))]),
        ("mesh", [(torch.zeros(3, 3), torch.zeros(0, 3, dtype=torch.int64))]),
    ],
)
def test_an_empty_prediction_is_said(output: str, prediction: Any) -> None:
    model = SimpleNamespace(output=output, predict=lambda images: prediction)
    with pytest.raises(ValueError, match="expected a shape, got a prediction that is empty or not finite"):
        predict.reconstruct(model, torch.zeros(1, 1, 1, 16, 16), 0.5)


def test_who_answers(project: Path) -> None:
    for name in ("a", "b"):
        write_checkpoint(predict.CHECKPOINTS / f"{name}.pt", torch.full((16, 16, 16), 0.6))
    assert predict.where(None, None) == predict.WEIGHTS
    (project / "params.yaml").write_text("selected_systems: {gone: view2voxel, b: view2voxel, a: view2voxel}")
    assert predict.where(None, None) == predict.CHECKPOINTS / "b.pt"
    (project / "params.yaml").write_text("selected_systems: {gone: view2voxel}")
    assert predict.where(None, None) == predict.WEIGHTS
    assert predict.where("a", None) == predict.CHECKPOINTS / "a.pt"
    assert predict.where(None, Path("other.pt")) == Path("other.pt")
    with pytest.raises(ValueError, match="--checkpoint: expected it or --system, got 'other.pt' and 'a'"):
        predict.where("a", Path("other.pt"))


def test_a_checkpoint_answers_by_its_own_threshold(project: Path) -> None:
    """Not by what metrics tuned for a system here that is called alike."""
    (project / "data/scores/constant").mkdir(parents=True)
    (project / "data/scores/constant/figures.json").write_text('{"overall": {"threshold": 0.2}}')
    contents = checkpoints.read(predict.CHECKPOINTS / "constant.pt")
    weights.write(project / "other.safetensors", contents | {"threshold": 0.45})
    checkpoints.save(project / "bare.pt", contents)
    assert predict.trained(project / "other.safetensors", None).threshold == 0.45
    assert predict.trained(project / "other.safetensors", 0.7).threshold == 0.7
    assert predict.trained(project / "bare.pt", None).threshold == 0.5
    assert predict.trained(predict.CHECKPOINTS / "constant.pt", None).threshold == 0.2
    predict.main([Path("a.png")], Path("mesh.glb"), checkpoint=Path("other.safetensors"))
    assert trimesh.load_mesh(project / "mesh.glb").is_watertight
