"""params.yaml -> frozen dataclasses, strictly.

Each stage module declares a frozen dataclass `Params` and reads its own section with `load`. A key too many, a key
missing or a value of the wrong type is refused by name, so that a typo never trains a different network in silence.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml

T = TypeVar("T")
PARAMS_FILE = Path("params.yaml")
SECTIONS = "dataset synthesize render voxelize pack train metrics report selected_systems systems".split()


@dataclasses.dataclass(frozen=True)
class Variants:
    """Section `dataset.variants`: copies of the training models that are stretched and mirrored, for training alone.

    Attributes:
        count: of each model; 0 for none.
        stretch: most by which one is longer or shorter along an axis before it is normalised again, 1 or more.
        seed: of what is drawn.
    """

    count: int = 0
    stretch: float = 1.3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"count: expected 0 or more, got {self.count}")
        if self.stretch < 1:
            raise ValueError(f"stretch: expected a factor from 1 up, got {self.stretch}")


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Section `dataset`, which several stages read.

    Attributes:
        root: folder of the raw meshes, absolute or relative to the project.
        split: `auto` (a list of the field that lies in the root, otherwise a hash), `hash`, or the name of such a list
            in the root; see `sources/splits.py`.
        categories: those that are processed, by synset or name, or by folder where the data set has no synsets; their
            files are called as they are here.
        max_rejected: share of the models of a category that may be rejected before a stage fails.
        variants: of the training models, by which they become more.
        up, front: axes of meshes (`z`, `-y`, ...) where the layout does not tell them, or tells them wrong; both or the
            front empty for what is usual.
        follow_links: whether links may lead out of root; those of DVC to its cache may anyway.
    """

    root: str
    split: str
    categories: tuple[str, ...]
    max_rejected: float
    variants: Variants = Variants()
    follow_links: bool = False
    up: str = ""
    front: str = ""

    def __post_init__(self) -> None:
        if not self.categories or len(set(self.categories)) != len(self.categories):
            raise ValueError(f"categories: expected different ones, got {list(self.categories)}")
        if not 0 <= self.max_rejected <= 1:
            raise ValueError(f"max_rejected: expected a share in [0, 1], got {self.max_rejected}")


def load(section: str, cls: type[T], path: Path | None = None) -> T:
    """The section of params.yaml as an instance of the dataclass `cls`.

    Args:
        section: dotted name, as `render` or `systems.r3d`.
        cls: frozen dataclass whose field types are int, float, str, bool, X | None, tuple[...], dict[str, X] or
            dataclasses of these.
        path: another file than ./params.yaml.

    Raises:
        ValueError: the file or section is missing, a key is unknown or missing, a value has the wrong type.
    """
    return build(cls, read(section, path), f"{(path or PARAMS_FILE).name}: {section}")


def selected_systems(path: Path | None = None) -> dict[str, str]:
    """Section `selected_systems`: entry of `systems` -> its file in model/."""
    path = path or PARAMS_FILE
    return _convert(dict[str, str], read("selected_systems", path), f"{path.name}: selected_systems")


def read(section: str, path: Path | None = None) -> Any:
    """The plain value of a dotted section; ValueError where it is missing."""
    path = path or PARAMS_FILE
    if not path.is_file():
        raise ValueError(f"{path}: expected a parameter file, found none")
    try:
        with path.open(encoding="utf-8") as file:
            value = yaml.load(file, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{path.name}: expected YAML, got {' '.join(str(error).split())}") from error
    unknown = sorted(str(key) for key in set(value or ()) - set(SECTIONS)) if isinstance(value, dict) else []
    if unknown:
        raise ValueError(f"{path.name}: unknown section '{unknown[0]}', expected {', '.join(SECTIONS)}")
    for key in section.split("."):
        if not isinstance(value, dict) or key not in value:
            raise ValueError(f"{path.name}: expected a section '{section}', found none")
        value = value[key]
    return value


class _Loader(yaml.SafeLoader):
    """Takes no bare 03001627: YAML 1.1 reads it as octal (and 02691156 as text), DVC's YAML 1.2 without its zero."""

    def refuse(self, node: yaml.ScalarNode) -> None:
        where = f"{Path(node.start_mark.name).name}: line {node.start_mark.line + 1}"
        raise ValueError(f'{where}: expected "{node.value}", got {node.value}; put it in quotes')


_Loader.add_constructor("!bare", _Loader.refuse)
# Before all others, as the first that matches is taken.
_Loader.yaml_implicit_resolvers = {
    **yaml.SafeLoader.yaml_implicit_resolvers,
    "0": [("!bare", re.compile("0[0-9_]+$")), *yaml.SafeLoader.yaml_implicit_resolvers["0"]],
}


def build(cls: type[T], values: Any, where: str) -> T:
    """An instance of the dataclass `cls` from a mapping; `where` names the mapping in error messages.

    A dataclass may check ranges in `__post_init__` by raising ValueError; `where` is put before its message.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected a mapping, got {_shown(values)}")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(str(key) for key in set(values) - set(fields))
    if unknown:
        raise ValueError(f"{where}.{unknown[0]}: unknown key, expected one of {', '.join(sorted(fields))}")
    hints = typing.get_type_hints(cls)
    arguments = {}
    for name, field in fields.items():
        if name in values:
            arguments[name] = _convert(hints[name], values[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{where}.{name}: missing, expected {_named(hints[name])}")
    try:
        return cls(**arguments)
    except ValueError as error:
        raise ValueError(f"{where}.{error}") from error


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return build(typing.cast(type, kind), value, where)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in inner:
            return None
        return _convert(next(k for k in inner if k is not type(None)), value, where)
    if origin is tuple and isinstance(value, list):
        kinds = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        if len(kinds) != len(value):
            raise ValueError(f"{where}: expected {len(kinds)} values, got {len(value)}: {value!r}")
        return tuple(_convert(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if origin is dict and isinstance(value, dict):
        return {_convert(inner[0], k, where): _convert(inner[1], v, f"{where}.{k}") for k, v in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is float and isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where}: expected a finite number, got {value}")
    if origin is None and isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    hint = "; put it in quotes" if kind is str and isinstance(value, int | float) else ""
    raise ValueError(f"{where}: expected {_named(kind)}, got {_shown(value)}{hint}")


def _named(kind: Any) -> str:
    return {dict: "a mapping", tuple: "a list"}.get(
        typing.get_origin(kind) or kind, getattr(kind, "__name__", str(kind))
    )


def _shown(value: Any) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r}"
