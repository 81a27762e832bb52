from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import model
from pipeline.runtime import params


@dataclass(frozen=True)
class Inner:
    depth: int


@dataclass(frozen=True)
class Example:
    lr: float
    steps: int
    name: str
    on: bool
    size: tuple[int, int]
    names: tuple[str, ...]
    limit: float | None
    weights: dict[str, float]
    inner: Inner

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"steps: expected at least 0, got {self.steps}")


GOOD = {
    "lr": 1,
    "steps": 3,
    "name": "a",
    "on": True,
    "size": [2, 3],
    "names": ["x", "y", "z"],
    "limit": None,
    "weights": {"kl": 2},
    "inner": {"depth": 4},
}


def load(tmp_path: Path, **changes: object) -> Example:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({"train": GOOD | changes}))
    return params.load("train", Example, path)


def test_values_arrive_with_their_types(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    assert loaded == Example(1.0, 3, "a", True, (2, 3), ("x", "y", "z"), None, {"kl": 2.0}, Inner(4))
    assert type(loaded.lr) is float and type(loaded.weights["kl"]) is float


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": "1e-4"}, "params.yaml: train.lr: expected float, got str '1e-4'"),
        ({"lr": float("nan")}, "train.lr: expected a finite number, got nan"),
        ({"steps": 1.5}, "train.steps: expected int, got float 1.5"),
        ({"steps": True}, "train.steps: expected int, got bool True"),
        ({"on": 1}, "train.on: expected bool, got int 1"),
        ({"size": [1]}, "train.size: expected 2 values, got 1"),
        ({"size": [1, "b"]}, r"train.size\[1\]: expected int, got str 'b'"),
        ({"names": "x"}, "train.names: expected a list, got str 'x'"),
        ({"limit": "no"}, "train.limit: expected float, got str 'no'"),
        ({"weights": {"kl": "a"}}, "train.weights.kl: expected float, got str 'a'"),
        ({"inner": {"depht": 4}}, "train.inner.depht: unknown key, expected one of depth"),
        ({"inner": {}}, "train.inner.depth: missing, expected int"),
        ({"lrr": 1}, "train.lrr: unknown key, expected one of inner, limit, lr"),
        ({"steps": -1}, "train.steps: expected at least 0, got -1"),
        ({"steps": None}, "train.steps: expected int, got nothing"),
        ({"name": 7}, "train.name: expected str, got int 7; put it in quotes$"),
        ({"name": True}, "train.name: expected str, got bool True; put it in quotes$"),
    ],
)
def test_refuses_by_name(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(tmp_path, **changes)


def test_missing_and_unknown_sections(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    with pytest.raises(ValueError, match="expected a parameter file"):
        params.read("train", path)
    path.write_text("render: {}\n")
    with pytest.raises(ValueError, match="expected a section 'train'"):
        params.read("train", path)
    path.write_text("rendr: {}\n")
    with pytest.raises(ValueError, match="unknown section 'rendr'"):
        params.read("train", path)
    path.write_text("train: [\n")
    with pytest.raises(ValueError, match="^params.yaml: expected YAML, got [^\n]*$"):
        params.read("train", path)


@pytest.mark.parametrize("synset", ["03001627", "02691156"])  # all octal digits, and not
def test_a_synset_without_quotes_is_refused(tmp_path: Path, synset: str) -> None:
    path = tmp_path / "params.yaml"
    text = "dataset:\n  root: r\n  split: auto\n  max_rejected: 0.1\n  categories: # of ShapeNet\n    - "
    path.write_text(f'{text}"{synset}"\n')
    assert params.load("dataset", params.Dataset, path).categories == (synset,)
    path.write_text(f"{text}{synset}\n")
    for section in ("dataset", "train"):  # by whichever stage is the first to run
        with pytest.raises(ValueError, match=f'^params.yaml: line 6: expected "{synset}", got {synset}; put it in q'):
            params.read(section, path)


def test_selected_systems_are_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("selected_systems:\n")
    with pytest.raises(ValueError, match="^params.yaml: selected_systems: expected a mapping, got nothing$"):
        params.selected_systems(path)
    path.write_text("selected_systems: {a: r3d}\n")
    assert params.selected_systems(path) == {"a": "r3d"}


def test_categories_are_checked() -> None:
    with pytest.raises(ValueError, match="dataset.categories: expected different ones"):
        values = {"root": "r", "split": "auto", "categories": ["1", "1"], "max_rejected": 0.1}
        params.build(params.Dataset, values, "dataset")


def test_every_system_of_the_project_fits_its_file() -> None:
    path = Path(__file__).parents[3] / "params.yaml"
    entries = params.read("systems", path)
    assert {"r3d", "vaegan3d", "r2n2_residual_gru_3", "view2voxel"} < set(entries)
    for name in entries:
        # The longest name of a file that the entry's name starts with.
        files = [p.stem for p in path.parent.glob("model/*.py") if name.startswith(p.stem)]
        config = params.load(f"systems.{name}", model.system(max(files, key=len)).Config, path)
        assert config.resolution in (32, 64)
