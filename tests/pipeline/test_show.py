from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import show
from pipeline.runtime.params import Dataset
from pipeline.sources.layout import ModelRef
from tests.pipeline.sources import trees


def test_models_are_picked_evenly_from_the_categories_that_are_meant() -> None:
    refs = [ModelRef("03001627", f"m{n}", "folders", "m.obj") for n in range(9)]
    refs += [ModelRef("sofa", "s", "folders", "s.obj"), ModelRef("sofa", "none", "folders")]
    assert [ref.model_id for ref in show.pick(refs, ("chair", "bed"), 3)] == ["m0", "m4", "m8"]
    assert [ref.model_id for ref in show.pick(refs, ("sofa",), 3)] == ["s"]
    assert len(show.pick(refs, ("bed",), 100)) == 10 and show.pick([], ("bed",), 2) == []


@pytest.mark.long
def test_a_wrong_axis_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tall box, in Z-up files, stands only once it is said that they are."""
    monkeypatch.chdir(tmp_path)
    mesh = trees.box_mesh(np.array([0.1, 0.1, 0.5]))
    for name in ("a", "b"):
        trees.write(tmp_path / "raw" / "post" / f"{name}.obj", mesh)
    trees.write(tmp_path / "raw" / "post" / "c.obj", b"v 0 0 0\n")
    tall = []
    for up in ("", "z"):
        monkeypatch.setattr(show, "load", lambda *_, up=up: Dataset("raw", "auto", ("post",), 0, up=up))
        show.main(Path("axes.png"), 3)
        with Image.open("axes.png") as picture:
            inked = np.asarray(picture.convert("L"))[:150, :200] < 250
        rows, columns = inked.any(axis=1).sum(), inked.any(axis=0).sum()
        tall.append(rows > 1.5 * columns)
    assert tall == [False, True]
    told = capsys.readouterr()
    assert "recognised 3 models of folders" in told.out and "axes.png: 2 models, from the front" in told.out
    assert "post/c: expected faces, found none" in told.err
    with pytest.raises(ValueError, match="expected a file ending in .png and at least one model, got 'a.jpg' and 3"):
        show.main(Path("a.jpg"), 3)
