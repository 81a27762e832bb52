from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import predict
from model import view2points
from pipeline.sources.photos import read_photo
from pipeline.training import checkpoints


@pytest.mark.parametrize(
    ("kind", "how"), [("alpha", "its alpha channel"), ("uniform", "its uniform background"), ("grabcut", "GrabCut")]
)
def test_a_ball_is_cut_out_as_its_kind_says(tmp_path: Path, kind: str, how: str) -> None:
    predict.draw(path := tmp_path / ("a.png" if kind == "alpha" else "a.jpg"), kind, 480, 0)
    read = read_photo(path)
    assert read.how.startswith(how)
    assert read.mask.mean() == pytest.approx(np.pi / 4, abs=0.05)  # a disc in its square
    assert read.mask.shape == pytest.approx((288, 288), rel=0.08)


def test_what_each_further_photo_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "call", lambda photos, *_: (2 + len(photos), 1 + 0.5 * len(photos)))
    found = predict.measure([Path(f"{n}.png") for n in range(5)], Path("a.pt"), tmp_path, 2)
    assert found == {
        "first": {"clock_s": 3.0, "processors_s": 1.5},
        "further": {"clock_s": 1.0, "processors_s": 0.5},
    }


@pytest.mark.long
def test_a_call_makes_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = view2points.Config(image_size=(16, 16), encoder_channels=(4,), encoder_blocks=1, hidden=(8,), points=30)
    about = checkpoints.describe("a", view2points, config)
    checkpoints.save(tmp_path / "a.pt", about | {"state": view2points.Model(config).state_dict()})
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    predict.draw(tmp_path / "b.jpg", "uniform", 60, 0)
    seconds, processors = predict.call([tmp_path / "b.jpg"], tmp_path / "a.pt", tmp_path / "out")
    assert processors > 0.2 and seconds < 120
