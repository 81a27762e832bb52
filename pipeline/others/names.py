"""Which file of a folder answers which test sample.

<synset>/<model>_<view>.obj     a view of a model; any ending of ENDINGS, the view with leading zeros or without
<synset>/<model>/<view>.obj     the same
<synset>/<model>.obj            all views of a model
<model>_<view>.obj, ...         each of these without the synset, where no other has a model of that name
<number>/mesh.obj               numbered: the samples in the order of the photos' list, from 0; any name, if it is
                                the only shape in its folder
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.others.files import ENDINGS

Key = tuple[str, str, int]  # synset, model id, view


def photo(key: Key) -> str:
    """What the photo of a sample is called."""
    synset, model, view = key
    return f"{synset}/{model}_{view}.png"


def named(folder: Path, keys: Sequence[Key]) -> tuple[dict[Key, Path], list[Path]]:
    """The file of every sample that has one, and those that are no sample's.

    Raises:
        ValueError: the folder has no shape that is a sample's, or two for one name.
    """
    files = _by_name(folder)
    models: Counter[str] = Counter(model for _, model in {key[:2] for key in keys})
    found = {}
    for key in keys:
        if name := next((name for name in _candidates(key, models[key[1]] == 1) if name in files), None):
            found[key] = files[name]
    if not found:
        expected = f"shapes called as the test samples, {photo(keys[0])[:-4]}.obj say"
        raise ValueError(f"{folder}: expected {expected}; got {_some(files) or 'no shape'}")
    return found, sorted(set(files.values()) - set(found.values()))


def numbered(folder: Path, keys: Sequence[Key]) -> tuple[dict[Key, Path], list[Path]]:
    """The same of folders that are called by numbers, which are there for samples without a shape as well.

    Raises:
        ValueError: there are not as many folders as samples, or a folder has several shapes.
    """
    folders = {path.name for path in folder.iterdir() if path.is_dir() and path.name.isdigit()}
    if folders != {str(number) for number in range(len(keys))}:
        raise ValueError(f"{folder}: expected folders 0 to {len(keys) - 1}, as many as samples, got {len(folders)}")
    found = {}
    for number, key in enumerate(keys):
        shapes = sorted(path for path in (folder / str(number)).iterdir() if path.suffix.lower() in ENDINGS)
        if len(shapes) > 1:
            raise ValueError(f"{folder / str(number)}: expected one shape, got {', '.join(p.name for p in shapes)}")
        if shapes:
            found[key] = shapes[0]
    return found, []


def _by_name(folder: Path) -> dict[str, Path]:
    """Shapes by their path in the folder without its ending."""
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in ENDINGS and not any(part[0] == "." for part in path.relative_to(folder).parts):
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in files:
                raise ValueError(f"{folder}: expected one shape called {name}, got {files[name].name} and {path.name}")
            files[name] = path
    return files


def _candidates(key: Key, alone: bool) -> Iterator[str]:
    """Names of a sample's file, the most exact first; without the synset where the model is `alone` by its name."""
    synset, model, view = key
    for where in [f"{synset}/", *[""] * alone]:
        for number in dict.fromkeys((f"{view}", f"{view:02}", f"{view:03}")):
            yield from (f"{where}{model}_{number}", f"{where}{model}/{number}")
        yield f"{where}{model}"


def _some(files: dict[str, Path]) -> str:
    names = [path.name for path in list(files.values())[:3]]
    return ", ".join(names) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
