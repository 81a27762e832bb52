"""Command explain: what a network's answer to a photo hangs on, as a picture.

    python -m pipeline.explain chair.jpg --out chair_explained.png
    python -m pipeline.explain front.jpg side.jpg --out explained --checkpoint r3d.safetensors

Shows what the network saw, the pixels that move its answer most (gradients), the parts of the picture that do so when
they are painted over (occlusion), the answer, and the answer without the part that matters most; of `r3d` also what
some positions read by attention. `answers/attribution.py` says how. Any trained system that takes a photo alone.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pathlib import Path

    from pipeline.runtime.command import argument, run

    run(
        "pipeline.explain",
        argument("photos", "photos, each by itself", type=Path, nargs="+", metavar="PHOTO"),
        argument("--out", "file ending in .png, or a folder for NAME_explained.png of each", type=Path, required=True),
        argument("--cut-out", "how, as in predict (default: %(default)s)", default="auto", metavar="HOW"),
        argument("--mask", "picture of the photo's size, white on the object, of one photo", type=Path),
        argument("--system", "which trained system (default: the first of selected_systems that is trained)"),
        argument("--checkpoint", "file of a trained system, .pt or .safetensors, instead", type=Path, metavar="FILE"),
    )

from collections.abc import Sequence
from pathlib import Path

from pipeline.runtime.command import progress
from pipeline.runtime.files import atomic_write
from pipeline.sources.cutting.methods import CUT_OUTS
from pipeline.sources.photos import read_photo

END = "_explained.png"


def targets(photos: Sequence[Path], out: Path) -> list[Path]:
    """The file of each photo's picture; ValueError where `out` does not fit them."""
    if missing := [photo for photo in photos if not photo.is_file()]:
        raise ValueError(f"{missing[0]}: expected a photo, found none")
    file = out.suffix.lower() == ".png" and not out.is_dir()
    if (file and len(photos) > 1) or (out.suffix and not file and not out.is_dir()):
        raise ValueError(f"--out: expected a folder, or for one photo a name in .png, got '{out}'")
    names = [out] if file else [out / f"{photo.stem}{END}" for photo in photos]
    if len({*names}) < len(names) or {*map(Path.resolve, names)} & {*map(Path.resolve, photos)}:
        raise ValueError("--out: expected photos of different names, and none that would be written over")
    return names


def main(
    photos: Sequence[Path],
    out: Path,
    cut_out: str = "auto",
    mask: Path | None = None,
    system: str | None = None,
    checkpoint: Path | None = None,
) -> None:
    if cut_out not in CUT_OUTS:
        raise ValueError(f"--cut-out: expected one of {', '.join(CUT_OUTS)}, got '{cut_out}'")
    if mask is not None and (len(photos) > 1 or cut_out != "auto"):
        raise ValueError("--mask: expected one photo, and no --cut-out beside it")
    names = targets(photos, out)
    read = [read_photo(photo, cut_out, mask) for photo in photos]

    from pipeline.answers.looks import look
    from pipeline.answers.network import load
    from pipeline.pages.heat import looked_into
    from pipeline.runtime.machine import one_thread

    network = load(checkpoint, system)
    with progress("photos", len(read), "photo", shown=len(read) > 1) as bar, one_thread():
        for path, photo, name in zip(photos, read, names, strict=True):
            words = f"{path.name}, cut out by {photo.how}, answered by {network.name}"
            found = look(network.model, network.see([photo]), network.threshold, words)
            with atomic_write(name) as temporary:
                looked_into([found]).save(temporary, "PNG")
            bar.write(f"{name}: {found.words}")
            bar.update()
