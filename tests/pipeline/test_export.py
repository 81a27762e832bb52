from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model import recall, view2voxel
from pipeline import export
from pipeline.training import checkpoints
from pipeline.training.checkpoints import load_checkpoint
from tests.model.test_recall import SMALL, remembered, sixteen


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def trained() -> recall.Model:
    """A system that remembers, trained and scored."""
    network = remembered(sixteen()).eval()
    about = checkpoints.describe("mine", recall, network.config)
    checkpoints.save(checkpoints.CHECKPOINTS / "mine.pt", about | {"state": network.state_dict(), "commit": "abc"})
    Path("data/scores/mine").mkdir(parents=True)
    Path("data/scores/mine/figures.json").write_text('{"overall": {"threshold": 0.35}}')
    return network


def test_what_was_exported_predicts_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    network, images = trained(), sixteen()["images"]
    export.main("mine", Path("out/mine.safetensors"))
    assert "out/mine.safetensors: " in capsys.readouterr().out
    assert "**to be filled in**" in Path("out/mine.safetensors.md").read_text()
    got, config, info = load_checkpoint(Path("out/mine.safetensors"))
    assert config == recall.Config(**SMALL) and info["threshold"] == 0.35
    assert info["system"] == "mine" and info["commit"] == "abc"
    with torch.inference_mode():
        assert torch.allclose(got.predict(images), network.predict(images), atol=0.1)
    assert {value.dtype for value in got.state_dict().values() if value.is_floating_point()} == {torch.float32}
    assert Path("out/mine.safetensors").stat().st_size < 0.7 * Path("data/checkpoints/mine.pt").stat().st_size


def test_a_graph_and_its_card() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    trained()
    Path("data/scores/mine/figures.json").unlink()  # of a system that was not scored
    export.main("mine", Path("mine.onnx"), "CC BY 4.0")
    card = Path("mine.onnx.md").read_text()
    assert "| licence | CC BY 4.0 |" in card and '(occupancy,) = session.run(None, {"photos": pictures})' in card
    (given,) = onnxruntime.InferenceSession("mine.onnx").get_inputs()
    assert given.name == "photos" and given.shape == [1, 1, *SMALL["image_size"]]


def test_a_system_that_was_not_scored_has_no_threshold() -> None:
    config = view2voxel.Config(image_size=(16, 16), resolution=16, encoder_channels=(4,), encoder_blocks=1)
    about = checkpoints.describe("other", view2voxel, config)
    state = view2voxel.Model(config).state_dict()
    checkpoints.save(checkpoints.CHECKPOINTS / "other.pt", about | {"state": state})
    export.main("other", Path("other.safetensors"))
    assert "threshold" not in load_checkpoint(Path("other.safetensors"))[2]


def test_what_can_not_be_exported_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="--out: expected a file ending in .safetensors or .onnx, got 'mine.pt'"):
        export.main("mine", Path("mine.pt"))
    with pytest.raises(ValueError, match="data/checkpoints/mine.pt: expected a trained system, found no file"):
        export.main("mine", Path("mine.safetensors"))
    assert not Path("mine.safetensors").exists()
