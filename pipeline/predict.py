"""Command predict: photos in, shapes out.

    python -m pipeline.predict chair.jpg --out chair.glb
    python -m pipeline.predict photos --out shapes
    python -m pipeline.predict front.jpg side.jpg --together --out chair.obj

Every photo is an object by itself, unless all are views of one (--together). What is asked of many goes on where one
fails, says which failed and why, and ends with code 1.

A photo's object is cut out by --mask, or by its alpha channel, or against a uniform background, or else by GrabCut,
which guesses; from there it goes through the preprocessing of the training. The shape is its largest piece, smoothed,
centred, with its longest side 1. GLB is turned to glTF's axes, with the front at +Z; the other formats keep the frame
of `geometry/meshes.py`, with the front at -Z. Where nothing is trained yet, the network that comes along answers, from
data/weights.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pathlib import Path

    from pipeline.runtime.command import argument, run

    run(
        "pipeline.predict",
        argument("photos", "photos, folders of photos, patterns in quotes", type=Path, nargs="+", metavar="PHOTO"),
        argument(
            "--out",
            "file of a shape (.glb, .obj, .off, .ply, .stl; of occupancy .binvox, .npz as well; of points .glb, .obj, "
            ".ply, .xyz), or a folder for them",
            type=Path,
            required=True,
        ),
        argument("--format", "of shapes in a folder (default: glb)"),
        argument("--together", "all photos are views of one object", action="store_true"),
        argument(
            "--cut-out",
            "how: auto, alpha, uniform, grabcut, or rembg where that is installed (default: %(default)s)",
            default="auto",
            metavar="HOW",
        ),
        argument("--mask", "picture of the photo's size, white on the object; or a folder of them, by name", type=Path),
        argument(
            "--keep-background",
            "show the network what is around the object, too, if it was trained so (train.augment.background)",
            action="store_true",
        ),
        argument("--size", "longest side of a shape (default: %(default)s)", type=float, default=1.0),
        argument("--faces", "at most so many faces", type=int, metavar="N"),
        argument(
            "--all-pieces", "keep pieces beside the largest, as a back that hangs over a seat", action="store_true"
        ),
        argument("--show", "write what the network saw as well, NAME_seen.png", action="store_true"),
        argument("--preview", "write a picture of the shape as well, NAME_preview.png", action="store_true"),
        argument("--system", "which trained system (default: the first of selected_systems that is trained)"),
        argument("--checkpoint", "file of a trained system, .pt or .safetensors, instead", type=Path, metavar="FILE"),
        argument("--threshold", "occupancy at the surface, from 0 to 1 (default: as tuned on validation)", type=float),
    )

import glob
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.answers.shape import FORMATS, check
from pipeline.runtime.command import progress
from pipeline.runtime.files import atomic_write, told
from pipeline.sources.cutting.methods import CUT_OUTS

if TYPE_CHECKING:  # which waits for torch; what is asked for is looked at before
    from pipeline.answers.network import Network

PICTURES = (".heic", ".heif", ".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
SEEN, PREVIEW = "_seen.png", "_preview.png"  # ends of the names of pictures beside a shape


@dataclass(frozen=True)
class Task:
    """Photos of one object, a mask for each or none, and the file that its shape becomes."""

    photos: tuple[Path, ...]
    masks: tuple[Path, ...]
    target: Path

    def beside(self, end: str) -> Path:
        return self.target.with_name(self.target.stem + end)


def find(names: Iterable[Path]) -> list[Path]:
    """The photos that files, folders and patterns name, each once: a folder's pictures in the order of their names.

    Pictures that this command writes are no photos of a folder or a pattern.

    Raises:
        ValueError: a file is not there, or a folder or a pattern has no picture.
    """
    found, missing = [], []
    for name in names:
        if name.is_dir():
            files = [file for file in name.iterdir() if is_photo(file)]
        elif name.is_file() or not glob.has_magic(str(name)):
            files = [name] * name.is_file()
        else:
            files = [file for file in map(Path, glob.glob(str(name), recursive=True)) if is_photo(file)]
        found += sorted(files)
        missing += [] if files else [str(name)]
    if missing:
        raise ValueError(f"{', '.join(missing)}: expected photos, found none")
    return list({file.resolve(): file for file in found}.values())


def is_photo(file: Path) -> bool:
    """Whether a file that nobody named is a photo: a picture, but none that this command writes."""
    picture = file.suffix.lower() in PICTURES and file.name[0] != "." and file.is_file()
    return picture and not file.name.endswith((SEEN, PREVIEW))


def plan(photos: Sequence[Path], out: Path, format: str | None, together: bool, mask: Path | None) -> list[Task]:
    """What is to be made of which photos; ValueError where `out`, the format or the mask don't fit them."""
    several = len(photos) > 1 and not together
    suffix = f".{format.lower().removeprefix('.')}" if format else ".glb"
    if suffix not in FORMATS:
        raise ValueError(f"--format: expected one of {', '.join(end[1:] for end in FORMATS)}, got '{format}'")
    file = out.suffix.lower() in FORMATS and not out.is_dir()
    if file and several:
        raise ValueError(f"--out: expected a folder for {len(photos)} photos, got '{out}'; --together makes one shape")
    if out.suffix and not (file or several or out.is_dir()):
        raise ValueError(f"--out: expected a folder or a name in {', '.join(FORMATS)}, got '{out}'")
    if file and format and suffix != out.suffix.lower():
        raise ValueError(f"--format: expected that of '{out}' or none, got '{format}'")
    groups = [(photo,) for photo in photos] if several else [tuple(photos)]
    taken: set[str] = set()
    tasks = []
    for group in groups:
        masks = () if mask is None else tuple(_mask(mask, photo, len(photos)) for photo in group)
        tasks.append(Task(group, masks, out if file else out / _free(group[0].stem, suffix, taken)))
    return tasks


def _free(stem: str, suffix: str, taken: set[str]) -> str:
    """A name for a photo's shape, numbered where another has it, be it in capitals, which some disks take alike."""
    number, name = 1, stem
    while name.lower() in taken:
        name = f"{stem}-{(number := number + 1)}"
    taken.add(name.lower())
    return name + suffix


def _mask(mask: Path, photo: Path, count: int) -> Path:
    """The mask of one of `count` photos."""
    if not mask.is_dir():
        if count > 1:
            raise ValueError(f"--mask: expected a folder of masks for {count} photos, got '{mask}'")
        found = [mask] if mask.is_file() else []
    else:
        found = [file for file in mask.iterdir() if file.stem == photo.stem and file.suffix.lower() in PICTURES]
    if len(found) != 1:
        raise ValueError(f"--mask: expected a mask for {photo} at '{mask}', found {len(found)}")
    return found[0]


def spare(tasks: Sequence[Task], ends: Sequence[str]) -> None:
    """ValueError where a picture that is to be written would replace one that is read."""
    given = {file.resolve() for task in tasks for file in (*task.photos, *task.masks)}
    for path in (task.beside(end) for task in tasks for end in ends):
        if path.resolve() in given:
            raise ValueError(f"--out: expected another place for '{path}', which is one of the photos")


def fits(network: Network, tasks: Sequence[Task], meant: Sequence[str]) -> None:
    """ValueError where a network's shapes can't be files of the formats asked for, or have no such options."""
    if meant and network.model.output == "points":
        raise ValueError(f"{meant[0]}: expected none for {network.name}, whose shapes are points")
    for task in tasks:
        if task.target.suffix.lower() not in network.formats:
            known = ", ".join(network.formats)
            raise ValueError(f"--out: expected a file ending in {known} from {network.name}, got '{task.target.name}'")


def main(
    photos: Sequence[Path],
    out: Path,
    system: str | None = None,
    threshold: float | None = None,
    checkpoint: Path | None = None,
    format: str | None = None,
    together: bool = False,
    cut_out: str = "auto",
    mask: Path | None = None,
    size: float = 1.0,
    faces: int | None = None,
    all_pieces: bool = False,
    show: bool = False,
    preview: bool = False,
    keep_background: bool = False,
) -> None:
    check(size, faces)
    if cut_out not in CUT_OUTS:
        raise ValueError(f"--cut-out: expected one of {', '.join(CUT_OUTS)}, got '{cut_out}'")
    if mask is not None and cut_out != "auto":
        raise ValueError(f"--cut-out: expected none beside --mask, got '{cut_out}'")
    tasks = plan(find(photos), out, format, together, mask)
    ends = [SEEN] * show + [PREVIEW] * preview
    spare(tasks, ends)

    from pipeline.answers.network import load

    meant = ["--faces"] * (faces is not None) + ["--all-pieces"] * all_pieces
    fits(network := load(checkpoint, system, threshold), tasks, meant)
    if keep_background and not network.backgrounds:
        print(
            f"warning: {network.name} was not trained with backgrounds: --keep-background confuses it", file=sys.stderr
        )
    failed = []
    with progress("photos", len(tasks), "photo", shown=len(tasks) > 1) as bar:
        for task in tasks:
            try:
                shape = network.predict(
                    *task.photos,
                    cut_out=cut_out,
                    masks=task.masks,
                    size=size,
                    faces=faces,
                    all_pieces=all_pieces,
                    keep_background=keep_background,
                )
                shape.save(task.target)
                for end in ends:
                    with atomic_write(task.beside(end)) as temporary:
                        (shape.looks() if end == SEEN else shape.picture()).save(temporary)
            except (ValueError, OSError) as error:
                if len(tasks) == 1:
                    raise
                failed.append(told(error))
            else:
                for photo, how in zip(task.photos, shape.how, strict=True):
                    bar.write(f"{photo}: cut out by {how}")
                bar.write(f"{task.target}: {shape.told}, by {network.name} from {network.path}")
            bar.update()
    if failed:
        print(*(f"failed: {reason}" for reason in failed), sep="\n", file=sys.stderr)
        raise ValueError(f"{len(failed)} of {len(tasks)} photos failed, for the reasons above; the others are in {out}")
