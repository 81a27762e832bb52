from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pipeline.runtime.files import sha256
from pipeline.sources import splits

HEADER = "id,synsetId,subSynsetId,modelId,split\n"


def test_a_hash_is_70_10_20_and_knows_the_name_alone() -> None:
    drawn = [splits.hashed(f"model{i}") for i in range(10000)]
    for split, share in {"train": 0.7, "val": 0.1, "test": 0.2}.items():
        assert drawn.count(split) / 10000 == pytest.approx(share, abs=3 * (share * (1 - share) / 10000) ** 0.5)
    assert splits.Split("hash", {}).of("03001627", "photo7", "shape") == splits.hashed("shape")


def test_shrec16_and_pix2vox(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text(HEADER + "000772,02691156,02690373,521e,test\n1,2691156,2690373,50da,val\n")
    pix2vox = [{"taxonomy_id": "02691156", "train": ["a", "b"], "val": ["c"], "test": [], "baseline": {}}]
    (tmp_path / "ShapeNet.json").write_text(json.dumps(pix2vox))
    official, digest = splits.find(tmp_path, "auto"), sha256((tmp_path / "all.csv").read_bytes())[:8]
    assert official.source == f"all.csv:{digest}"
    assert official.models == {("02691156", "521e"): "test", ("02691156", "50da"): "val"}
    choy = splits.find(tmp_path, "ShapeNet.json")
    assert [choy.of("02691156", name, name) for name in "abcd"] == ["train", "train", "val", ""]
    assert splits.find(tmp_path, "hash") == splits.Split("hash", {})
    (tmp_path / "all.csv").unlink()
    assert splits.find(tmp_path, "auto") == choy


def test_a_list_of_ones_own_may_name_categories(tmp_path: Path) -> None:
    """By name or synset, as folders may; of either, whichever the data set has."""
    (tmp_path / "all.csv").write_text("synsetId,modelId,split\nchair,a,test\nGarden Bench,b,val\n4379243,c,train\n")
    own = splits.find(tmp_path, "auto")
    assert [own.of(name, "a", "") for name in ("chair", "03001627", "table")] == ["test", "test", ""]
    assert own.of("garden-bench", "b", "") == "val"
    assert own.of("04379243", "c", "") == own.of("table", "c", "") == "train"
    assert own.lists("03001627") == ["a"] and own.lists("sofa") == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("all.csv", HEADER + "1,02691156,0,m0,tset\n", "model m0: expected split train, val or test, got 'tset'"),
        ("all.csv", "id,modelId\n", "expected a column split"),
        (
            "all.csv",
            HEADER + "1,02691156,0,m0,val\n2,2691156,0,m0, test\n",
            "model m0: expected one split, got 'val' and 'te",
        ),
        ("all.csv", HEADER, "expected a list of models with their splits, got an empty one"),
        ("all.csv", HEADER + "1,02691156\n", "expected a synset, a model and a split in each row, got a shorter one"),
        ("all.csv", b"\xff\xfe\x00", "expected a table of splits"),
        ("ShapeNet.json", "{", "expected a list of taxonomy_id, train, val and test, got Expecting property"),
        ("ShapeNet.json", '[{"taxonomy_id": "1"}]', "expected a list .* got an entry without 'train'$"),
        (
            "ShapeNet.json",
            '[{"taxonomy_id": "1", "train": [["a"]], "val": [], "test": []}]',
            "expected a list .* got an entry of another kind$",
        ),
        ("ShapeNet.json", "[null]", "expected a list .* got an entry of another kind$"),
    ],
)
def test_broken_lists_are_named(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        splits.find(tmp_path, name)


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"dataset.split: expected auto, hash or a file in '.*', got 'al.csv'"):
        splits.find(tmp_path, "al.csv")


REAL = Path(os.environ.get("ONEVIEW_SPLITS_ROOT", ""))


@pytest.mark.skipif("ONEVIEW_SPLITS_ROOT" not in os.environ, reason="needs ONEVIEW_SPLITS_ROOT, real lists")
def test_the_real_lists_have_the_published_counts() -> None:
    def counts(split: splits.Split) -> list[int]:
        return [list(split.models.values()).count(name) for name in splits.SPLITS]

    assert counts(splits.find(REAL, "all.csv")) == [35765, 5159, 10266]
    choy = splits.find(REAL, next(path.name for path in REAL.glob("*ShapeNet.json")))
    assert len(choy.models) == 43784
    chairs = [split for (synset, _), split in choy.models.items() if synset == "03001627"]
    assert [chairs.count(name) for name in splits.SPLITS] == [4744, 677, 1357]
