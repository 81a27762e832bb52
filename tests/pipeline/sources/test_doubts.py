"""A file of notes that can't be read puts those models in doubt that it may speak of, and no others."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import catalog
from pipeline.records import catalogue
from pipeline.runtime.params import Dataset
from pipeline.sources.registry import find
from tests.pipeline.sources import trees

B = trees.ids("abo", ["a", "b"])
UIDS = trees.ids("objaverse", ["a", "b", "c"])
DEEP = b"[" * 100_000


def partnet(root: Path) -> None:
    trees.write_partnet(root, ["a", "b"])
    trees.write(root / "data_v0" / "b" / "meta.json", b'{"model_cat": 5}')


def partnet_lists(root: Path) -> None:
    trees.write_partnet(root, ["a", "b"])
    trees.write(root / "train_val_test_split" / "Desk.train.json", json.dumps([{"anno_id": "a"}]).encode())
    trees.write(root / "train_val_test_split" / "Desk.test.json", b'[{"anno_id": ')


def gso(root: Path) -> None:
    trees.write_gso(root, ["a", "b"])
    (root / "b" / "metadata.pbtxt").unlink()
    (root / "b" / "metadata.pbtxt").symlink_to("/dev/zero")


def abo(root: Path) -> None:
    trees.write_abo(root, ["a", "b"])
    known = {"3dmodel_id": B[0], "product_type": [{"value": "DESK"}]}
    trees.write(root / "listings" / "metadata" / "listings_0.json.gz", gzip.compress(json.dumps(known).encode()))
    trees.write(root / "listings" / "metadata" / "listings_1.json.gz", b"\x1f\x8b\x08")


def objaverse_lvis(root: Path) -> None:
    """One of two lists; the other names the first."""
    trees.write_objaverse(root, ["a", "b"])
    trees.write(root / "lvis-annotations.json.gz", gzip.compress(json.dumps({"Desk": UIDS[:1]}).encode()))
    trees.write(root / "old" / "lvis-annotations.json", DEEP)


def objaverse_notes(root: Path) -> None:
    """Of one folder of three; in it lies one that LVIS names."""
    trees.write_objaverse(root, ["a"])
    for n, uid in enumerate(UIDS[1:], 1):
        trees.write(root / "glbs" / f"000-00{n}" / f"{uid}.glb", trees.box_glb())
    trees.write(root / "metadata" / "000-000.json.gz", b"")
    trees.write(root / "metadata" / "000-001.json", b"[1]")


def thingi10k(root: Path) -> None:
    trees.write_thingi10k(root, ["a", "b"])
    trees.write(root / "input_summary.csv", b"ID, Thing ID\n0, 70\n1, 71\n")
    trees.write(root / "contextual_data.csv", b"Thing ID, Category\n70, Desk\n" + b"x" * 200_000)


CASES: dict[str, tuple[Callable[[Path], None], list[str], str]] = {
    "partnet": (partnet, ["b"], "data_v0/b/meta.json: expected a list of model_cat and model_id, got an entry"),
    "partnet lists": (partnet_lists, ["b"], "Desk.test.json: expected a list of anno_id, got Expecting value"),
    "gso": (gso, ["b"], "expected a file below dataset.root"),
    "abo": (abo, B[1:], "listings_1.json.gz: expected a file of gzip"),
    "objaverse lvis": (
        objaverse_lvis,
        UIDS[1:2],
        "old/lvis-annotations.json: expected a list of uids by category, got m",
    ),
    "objaverse notes": (objaverse_notes, UIDS[1:2], "metadata/000-001.json: .* got an entry of another kind"),
    "thingi10k": (
        thingi10k,
        ["1"],
        "contextual_data.csv: expected a list of rows with Thing ID and Category, got field",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_others_go_on(case: str, tmp_path: Path) -> None:
    write, doubtful, why = CASES[case]
    write(tmp_path)
    models = find(tmp_path).models
    assert len(models) > len(doubtful) and {model.ref.layout for model in models} == {case.split()[0]}
    assert [model.ref.model_id for model in models if model.doubt] == doubtful
    with pytest.raises(ValueError, match=why):
        raise ValueError(next(model.doubt for model in models if model.doubt))


def test_the_doubtful_are_counted_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    partnet_lists(tmp_path / "raw")
    catalog.catalog(Dataset(str(tmp_path / "raw"), "auto", ("desk",), 0.5))
    told = "train_val_test_split/Desk.test.json: expected a list of anno_id, got Expecting value: line 1 column 14"
    assert f"catalog: 1 models in doubt and left out, as desk/b: {told}" in capsys.readouterr().out
    with (catalogue.CATALOG / "desk.csv").open() as file:
        rows = {row["model_id"]: row for row in csv.DictReader(file)}
    assert rows["a"]["status"] == "ok" and rows["b"]["status"] == "doubtful" and told in rows["b"]["detail"]
