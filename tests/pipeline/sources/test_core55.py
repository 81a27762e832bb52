from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.sources import core55
from pipeline.sources.registry import find
from tests.meshes import CHAIR
from tests.pipeline.sources import trees


def test_split_by_folder_and_names_by_the_official_table(tmp_path: Path) -> None:
    trees.write_core55(tmp_path, ["000007", "000008"])
    trees.write(tmp_path / "test_imgs" / "000009" / "000.png", trees.picture(alpha=False))
    (tmp_path / "all.csv").write_text(f"id,synsetId,subSynsetId,modelId,split\n000007,{CHAIR},{CHAIR},abc,test\n")
    found = find(tmp_path).models
    rows = [(m.ref.synset, m.ref.model_id, m.split, m.split_source, bool(m.ref.views), bool(m.ref.grid)) for m in found]
    assert rows == [
        (CHAIR, "abc", "train", "core55 folders", True, True),
        ("core55", "000008", "train", "core55 folders", True, True),
        ("core55", "000009", "test", "core55 folders", True, False),
    ]
    names = core55.parts(tmp_path, found[0].ref)
    pictures = [f"train_imgs/000007/{n:03}.png" for n in range(12)]
    assert names == [*pictures, "train_voxels/000007/model.mat"]


def test_masks_from_the_background_or_alpha(tmp_path: Path) -> None:
    trees.write_core55(tmp_path, ["000007"])
    trees.write(tmp_path / "train_imgs" / "000007" / "003.png", trees.picture(alpha=True))
    ref = find(tmp_path)[0][0].ref
    made = core55.views(tmp_path, ref, (24, 32))
    assert made.views.shape == (12, 40, 40) and (made.masks.sum(axis=(1, 2)) == 400).all()
    assert (made.views[made.masks] == 90).all() and (made.views[~made.masks] == 255).all()
    assert np.isnan(made.source_to_view).all() and np.isnan(made.fov_deg).all()


def test_the_grid_as_it_comes(tmp_path: Path) -> None:
    trees.write_core55(tmp_path, ["000007"])
    found = core55.grid(tmp_path, find(tmp_path)[0][0].ref)
    assert np.array_equal(found.occupancy, trees.box_grid(64)) and np.array_equal(found.affine, np.eye(4))
