from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import catalog, pack, render, voxelize
from pipeline.records import catalogue, checks, records
from pipeline.runtime.params import Dataset
from pipeline.shards import layout
from pipeline.shards.batches import make_batch
from pipeline.shards.layout import ShardDataset
from tests.meshes import CHAIR
from tests.pipeline.sources import trees

RENDER = render.Params(0, 2, 24, 32, (30.0, 30.0), (0.0, 40.0), (1.0, 1.2), False, False)
NAMES = ["m0001", "m0022", "other-0003"]


def travel(root: Path, synset: str, grids: str, max_rejected: float = 0) -> dict[str, dict[str, str]]:
    """All stages from the catalogue to the shards, in this process; rows of status.csv by model."""
    catalog.catalog(Dataset(str(root), "auto", (synset,), 0.5))
    entries = catalogue.read_table(catalogue.CATALOG / f"{synset}.csv")
    solids = voxelize.Params(seed=0, resolution=16, points=200, grids=grids)
    for job, out in ((render.job(RENDER), records.RENDERS), (voxelize.job(solids), records.VOXELS)):
        records.make(job, root, entries, out / f"{synset}.zip", max_rejected)
    pack.pack(synset, pack.Params(1000), Path("shards"))
    with (Path("shards") / synset / "status.csv").open() as file:
        return {row["model_id"]: row for row in csv.DictReader(file)}


def samples(synset: str) -> dict[str, dict]:
    """First item of each model."""
    found = {}
    for split in layout.SPLITS:
        if list(Path("shards", synset).glob(f"{split}-*")):
            dataset = ShardDataset(Path("shards"), [synset], split, targets=("occupancy", "points"))
            for n, (_, model_id) in enumerate(dataset.models):
                found[model_id] = dataset[n * dataset.groups]
    return found


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    monkeypatch.setattr(records, "parallel", in_turn)
    monkeypatch.setattr(checks, "parallel", in_turn)


def in_turn(function: Callable, arguments: list[tuple], *_: object) -> list[tuple]:
    """Without worker processes, which take seconds to start."""
    return [(n, function(*values)) for n, values in enumerate(arguments)]


def wide(name: str) -> np.ndarray:
    """Half sizes in the normalised frame: meshes are scaled to it, grids without a mesh stay as they are."""
    return trees.HALF if name in ("r2n2", "core55") else trees.HALF / 0.8 * 15 / 16


@pytest.mark.parametrize(
    ("name", "synset", "views"),
    [
        ("shapenet_v2", CHAIR, (2, 24, 32)),
        ("r2n2", CHAIR, (3, 137, 137)),
        ("core55", "core55", (12, 40, 40)),
        ("pix3d", "desk", (1, 24, 32)),
        ("modelnet", "desk", (2, 24, 32)),
        ("partnet", "desk", (2, 24, 32)),
        ("future3d", "king-size-bed", (2, 24, 32)),
        ("folders", "kitchen-chairs", (2, 24, 32)),
    ],
)
def test_from_the_data_set_to_the_network(tmp_path: Path, name: str, synset: str, views: tuple[int, ...]) -> None:
    root = tmp_path / "raw"
    getattr(trees, f"write_{name}")(root, NAMES)
    status = travel(root, synset, "ready" if name in ("shapenet_v2", "pix3d") else "computed")
    names = trees.ids(name, NAMES)
    assert {model_id: row["status"] for model_id, row in status.items()} == dict.fromkeys(names, "packed")
    found = samples(synset)
    assert sorted(found) == sorted(names)
    for sample in found.values():
        assert sample["views"].shape == (1, *views[1:])
        cells = np.unpackbits(sample["occupancy"]).reshape(16, 16, 16)
        filled = [np.ptp(np.flatnonzero(cells.any(axis=other))) + 1 for other in ((1, 2), (0, 2), (0, 1))]
        assert np.abs(np.array(filled) / 16 - 2 * wide(name)).max() <= 2.01 / 16  # cells that it touches on either side
        half = np.abs(sample["points"]).max(axis=0)
        assert np.abs(half - wide(name)).max() <= 1.01 / 16
        raw = {key: torch.from_numpy(value)[None] for key, value in sample.items() if isinstance(value, np.ndarray)}
        batch = make_batch(raw, (24, 32), 16)
        assert batch["images"].shape == (1, 1, 1, 24, 32) and batch["images"].max() > 0.2
    (path, *_) = Path("shards", synset).glob("*.h5")
    with layout.open_shard(path) as file:
        assert file["views"].shape[1:] == views
        known = name != "core55"
        assert np.isfinite(file["cameras"][:]).all() == known and np.isfinite(file["world_to_view"][:]).all() == known


def test_models_with_half_of_it_end_with_a_reason(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    trees.write_r2n2(root, ["a", "b", "c"])
    (root / "ShapeNetVox32" / CHAIR / "b" / "model.binvox").unlink()
    for path in (root / "ShapeNetRendering" / CHAIR / "c" / "rendering").iterdir():
        path.unlink()
    status = travel(root, CHAIR, "computed", max_rejected=0.5)
    found = {model_id: (row["status"], row["reason"]) for model_id, row in status.items()}
    assert found == {"a": ("packed", ""), "b": ("voxelize", "no_grid"), "c": ("render", "no_views")}
