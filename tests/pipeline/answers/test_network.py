from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from model import view2mesh, view2points
from pipeline import synthesize
from pipeline.answers import network
from pipeline.answers.network import load, see, trained, where
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
        seen = see([photos.read_photo(tmp_path / "a.png")], (48, 64))[0]
        expected = prepare(torch.from_numpy(view)[None], torch.from_numpy(alpha)[None], (48, 64))
        assert (seen - expected).abs().max() < 0.2 and (seen - expected).abs().mean() < 0.002


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trained system that answers every photo with a box, 8 of 16 cells wide, 4 high and 12 deep, and a crumb."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    probabilities = torch.full((16, 16, 16), 0.01)
    probabilities[4:12, 6:10, 2:14] = 0.6
    probabilities[0:2, 0:2, 0:2] = 0.6
    write_checkpoint(network.CHECKPOINTS / "constant.pt", probabilities)
    photo(tmp_path / "a.png", (255, 255, 255))
    return tmp_path


TINY: dict[str, Any] = {"image_size": (16, 16), "encoder_channels": (4,), "encoder_blocks": 1, "hidden": (8,)}


def write_network(module: Any, config: Any, change: float = 0.0) -> Any:
    """A checkpoint of a network with random weights, to which `change` is added; returns the network."""
    torch.manual_seed(0)
    model = module.Model(config).eval()
    for parameter in model.parameters():
        parameter.data += change
    name = module.__name__.rpartition(".")[2]
    about = checkpoints.describe(name, module, config)
    checkpoints.save(network.CHECKPOINTS / f"{name}.pt", about | {"state": model.state_dict()})
    return model


def seen(*names: str) -> torch.Tensor:
    """(1, V, 1, 16, 16), each photo by itself through the preprocessing of training."""
    read = [photos.read_photo(Path(name)) for name in names]
    pairs = [(torch.from_numpy(photo.gray.copy())[None], torch.from_numpy(photo.mask)[None]) for photo in read]
    return torch.stack([prepare(gray, mask, (16, 16)) for gray, mask in pairs], dim=1)


def test_a_system_in_colour_sees_photos_in_colour(project: Path) -> None:
    pixels = np.full((40, 40, 3), 255, np.uint8)
    pixels[10:30, 10:30] = 200, 100, 0
    Image.fromarray(pixels).save("orange.png")
    Image.fromarray(pixels[..., ::-1].copy()).save("blue.png")
    write_network(view2mesh, view2mesh.Config(**TINY, level=1, color=True))
    answering = load(system="view2mesh")
    orange, blue = (answering.predict(name) for name in ("orange.png", "blue.png"))
    assert orange.seen.shape == (1, 16, 16, 3) and orange.seen[0, 8, 8].tolist() == [200, 100, 0]
    assert blue.seen[0, 8, 8].tolist() == [0, 100, 200] and not np.array_equal(orange.vertices, blue.vertices)
    assert orange.looks().mode == "RGB" and orange.picture().mode == "RGB"
    gray = see([photos.read_photo(Path("orange.png"))], (16, 16))
    assert gray.shape == (1, 1, 1, 16, 16)


def test_with_its_background_an_object_is_framed_as_without(project: Path) -> None:
    """What is kept is around the object, and beyond the photo its border."""
    answering = load(system="constant")
    cut = answering.predict("a.png").seen[0]
    kept = answering.predict("a.png", keep_background=True).seen[0]
    photo(Path("blue.png"), (20, 90, 160))
    blue = answering.predict("blue.png", keep_background=True).seen[0]
    assert kept[0, 0] == kept[-1, -1] == 255 and cut[0, 0] == cut[-1, -1] == 0
    assert blue[0, 0] == blue[-1, -1] == round(0.299 * 20 + 0.587 * 90 + 0.114 * 160)
    inside = (kept == blue) & (cut > 0)
    assert inside.sum() > 20 and np.array_equal(kept[inside], cut[inside])


def test_whether_it_was_trained_with_backgrounds_is_known_of_a_network(project: Path) -> None:
    path = network.CHECKPOINTS / "constant.pt"
    assert not load(checkpoint=path).backgrounds
    for share in (0, 0.5):
        params = f"train: {{augment: {{mirror: 0.5, background: {share}}}}}"
        checkpoints.save(Path("b.pt"), checkpoints.load(path) | {"params": params})
        assert load(checkpoint="b.pt").backgrounds == (share > 0)


def fitted(points: np.ndarray) -> np.ndarray:
    """Centred, the longest side 1."""
    low, high = points.min(axis=0), points.max(axis=0)
    return (points - (low + high) / 2) / (high - low).max()


def test_three_lines(project: Path) -> None:
    answering = load(system="constant")
    shape = answering.predict("a.png")
    shape.save("out/chair.glb")
    mesh = trimesh.load_mesh("out/chair.glb")
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.body_count == 1 and mesh.volume > 0
    assert shape.how == ("its uniform background",)
    assert shape.seen.shape == (1, 12, 16) and shape.seen.dtype == np.uint8
    expected = see([photos.read_photo(Path("a.png"))], (12, 16))
    assert np.abs(shape.seen[0] / 255 - expected[0, 0, 0].numpy()).max() <= 0.5 / 255 + 1e-6


def test_a_photo_is_answered_by_one_thread(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, before = [], torch.get_num_threads()
    predict = network.predict

    def counted(model: Any, images: torch.Tensor) -> Any:
        found.append(torch.get_num_threads())
        return predict(model, images)

    monkeypatch.setattr(network, "predict", counted)
    load(system="constant").predict("a.png")
    assert found == [1] and torch.get_num_threads() == before


def test_the_crumb_goes_and_the_size_is_that_asked_for(project: Path) -> None:
    answering = load(system="constant")
    vertices = answering.predict("a.png", size=24).vertices
    # At half of the way from 0.01 to 0.6 the surface lies about half-way between cell centres; smoothing rounds edges.
    assert np.ptp(vertices, axis=0) == pytest.approx([16, 8, 24], abs=1.1)
    assert np.allclose(vertices.min(axis=0), -vertices.max(axis=0), atol=1e-4)
    crumbs = answering.predict("a.png", all_pieces=True)
    assert trimesh.Trimesh(crumbs.vertices, crumbs.faces).body_count == 2
    few = answering.predict("a.png", faces=100).faces
    assert few is not None and crumbs.faces is not None and len(few) <= 100 < len(crumbs.faces)


def test_what_can_not_be_is_refused(project: Path) -> None:
    answering = load(system="constant")
    for size in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="--size: expected a number over 0 and up to 1e\\+30, got"):
            answering.predict("a.png", size=size)
    with pytest.raises(ValueError, match="--faces: expected 4 or more, got 3"):
        answering.predict("a.png", faces=3)
    with pytest.raises(ValueError, match="expected photos and a mask for each or none, got 1 and 2"):
        answering.predict("a.png", masks=["a.png", "b.png"])
    with pytest.raises(ValueError, match="expected photos and a mask for each or none, got 0 and 0"):
        answering.predict()
    with pytest.raises(ValueError, match="a.png: expected cells of occupancy over 0.9, got at most 0.600; try --thre"):
        load(system="constant", threshold=0.9).predict("a.png")


def test_a_mask_reaches_the_network(project: Path) -> None:
    Image.fromarray(np.pad(np.full((10, 20), 255, np.uint8), ((5, 45), (30, 30)))).save("m.png")
    shape = load(system="constant").predict("a.png", masks=["m.png"])
    assert shape.how == ("the mask m.png",)
    assert (shape.seen[0] > 128).mean() == pytest.approx(2 / 3 / 1.1**2, abs=0.1)  # twice as wide as high in 4:3


def test_a_predicted_mesh_keeps_its_vertices(project: Path) -> None:
    model = write_network(view2mesh, view2mesh.Config(**TINY, level=1))
    load(system="view2mesh").predict("a.png").save("mesh.obj")
    vertices, faces = (part.detach().numpy() for part in model.predict(seen("a.png"))[0])
    written = trimesh.load_mesh("mesh.obj", process=False)
    assert np.allclose(written.vertices[written.faces], fitted(vertices)[faces], atol=1e-5)


def test_several_photos_are_views_of_one_object(project: Path) -> None:
    photo(project / "b.png", (20, 90, 160))
    picture = Image.new("RGB", (60, 40), "white")
    picture.paste("blue", (10, 15, 50, 25))
    picture.save("b.png")
    model = write_network(view2points, view2points.Config(**TINY, points=30))
    together, alone = seen("a.png", "b.png"), seen("a.png")
    shape = load(system="view2points").predict("a.png", "b.png")
    assert np.allclose(shape.vertices, fitted(model.predict(together)[0].detach().numpy()), atol=1e-5)
    assert not np.allclose(shape.vertices, fitted(model.predict(alone)[0].detach().numpy()), atol=1e-3)
    assert shape.seen.shape == (2, 16, 16) and shape.looks().size == (32, 16)
    assert shape.faces is None and len(shape.how) == 2


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply", ".xyz"])
def test_a_photo_becomes_a_point_cloud(project: Path, suffix: str) -> None:
    model = write_network(view2points, view2points.Config(**TINY, points=30))
    load(system="view2points").predict("a.png", size=2).save(f"cloud{suffix}")
    (cloud,) = trimesh.load_scene(f"cloud{suffix}").geometry.values()
    assert isinstance(cloud, trimesh.PointCloud)
    expected = 2 * fitted(model.predict(seen("a.png"))[0].detach().numpy())
    assert np.allclose(cloud.vertices, expected * ([-1, 1, -1] if suffix == ".glb" else 1), atol=1e-5)


def test_a_prediction_that_is_no_number_is_said(project: Path) -> None:
    write_network(view2points, view2points.Config(**TINY, points=30), torch.nan)
    write_checkpoint(network.CHECKPOINTS / "constant.pt", torch.full((16, 16, 16), torch.nan))
    for system in ("view2points", "constant"):
        with pytest.raises(ValueError, match="a.png: expected a shape, got a prediction that is empty or not finite"):
            load(system=system).predict("a.png")


def test_another_projects_parameters_are_none_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("prepare: {split: 0.2}")
    assert where(None, None) == network.WEIGHTS


def test_who_answers(project: Path) -> None:
    for name in ("a", "b"):
        write_checkpoint(network.CHECKPOINTS / f"{name}.pt", torch.full((16, 16, 16), 0.6))
    assert where(None, None) == network.WEIGHTS
    (project / "params.yaml").write_text("selected_systems: {gone: view2voxel, b: view2voxel, a: view2voxel}")
    assert where(None, None) == network.CHECKPOINTS / "b.pt"
    (project / "params.yaml").write_text("selected_systems: {gone: view2voxel}")
    assert where(None, None) == network.WEIGHTS
    assert where("a", None) == network.CHECKPOINTS / "a.pt"
    assert where(None, Path("other.pt")) == Path("other.pt")
    with pytest.raises(ValueError, match="--checkpoint: expected it or --system, got 'other.pt' and 'a'"):
        load("other.pt", "a")


def test_a_checkpoint_answers_by_its_own_threshold(project: Path) -> None:
    """Not by what metrics tuned for a system here that is called alike."""
    (project / "data/scores/constant").mkdir(parents=True)
    (project / "data/scores/constant/figures.json").write_text('{"overall": {"threshold": 0.2}}')
    contents = checkpoints.read(network.CHECKPOINTS / "constant.pt")
    weights.write(project / "other.safetensors", contents | {"threshold": 0.45})
    checkpoints.save(project / "bare.pt", contents)
    assert trained(project / "other.safetensors", None).threshold == 0.45
    assert trained(project / "other.safetensors", 0.7).threshold == 0.7
    assert trained(project / "bare.pt", None).threshold == 0.5
    for path in (network.CHECKPOINTS / "constant.pt", (network.CHECKPOINTS / "constant.pt").resolve()):
        assert trained(path, None).threshold == 0.2
    assert load("other.safetensors").predict("a.png").threshold == 0.45
