"""The page of `oneview web`: what it shows of a photo, and what it leaves on the disk meanwhile.

Gradio takes its temporary folder, the room of all that, from the environment when it is imported, with this module.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from pipeline.answers.nearest import packed, remembered
from pipeline.answers.network import Network, trained
from pipeline.answers.shape import Shape, finished
from pipeline.runtime.files import told
from pipeline.scoring.predictions import Prediction
from pipeline.sources.cutting.methods import CUT_OUTS
from pipeline.sources.photos import HELP, Photo, read_photo

MEGABYTES, MEGAPIXELS = 20, 50  # of a photo, at most
SHOWN = 240  # pixels along the shorter side of what the network saw, at least
VIEW = (60, 70, 2.2)  # of the camera at first: degrees about Y and from it, and how far it is
WAYS = [name for name in CUT_OUTS if name != "rembg"]  # of cutting out
ALIKE = "Nearest training shape"
WORDS = f"""# One photo in, one shape out

Drop a photo of one object, on a plain background if you can: JPEG, PNG or WebP, at most {MEGABYTES} MB and {MEGAPIXELS}
megapixels. A network knows what it was trained on; of anything else it says one of those shapes, or nothing like it."""

Outputs = tuple[Any, ...]  # words, cut out, seen, shape, one that is alike, files


@dataclass(frozen=True)
class Visits:
    """What pages have left on the disk.

    Attributes:
        room: the folder for all of it.
        folders: by session, those that go with it.
    """

    room: Path
    folders: defaultdict[str, set[Path]] = field(default_factory=lambda: defaultdict(set))

    def folder(self, session: str) -> Path:
        """A new one."""
        made = Path(tempfile.mkdtemp(dir=self.room))
        self.folders[session].add(made)
        return made

    def end(self, session: str) -> None:
        """Removes what a session has left; an upload that another has made as well stays."""
        for left in self.folders.pop(session, set()) - set().union(*self.folders.values()):
            shutil.rmtree(left, ignore_errors=True)


@dataclass(frozen=True)
class Answers:
    """What the page asks for.

    Attributes:
        files: name -> file of the systems.
    """

    files: dict[str, Path]
    visits: Visits

    def __call__(
        self, upload: dict[str, Any] | None, name: str, cut_out: str, all_pieces: bool, session: str
    ) -> Outputs:
        """Of an upload as Gradio has it; what fails is said, and nothing else shown."""
        nothing = None, None, None, gr.Model3D(value=None, label=ALIKE), None
        if not isinstance(upload, dict) or not isinstance(upload.get("path"), str):
            return "", *nothing
        path = Path(upload["path"]).resolve()  # a way through `..` may seem to lie in the room
        if path.parent.parent == self.visits.room:  # an example is not
            self.visits.folders[session].add(path.parent)
        folder = self.visits.folder(session)
        try:
            found = self.answered(path, name, cut_out, all_pieces, folder)
        except (ValueError, OSError) as error:
            words = told(error).replace(str(path), path.name).replace(HELP, "a plain or a transparent background helps")
            found = f"**No shape:** {words}", *nothing
        if folder in self.visits.folders[session]:
            return found
        self.visits.end(session)  # the page was closed meanwhile
        shutil.rmtree(folder, ignore_errors=True)
        return "", *nothing

    def answered(self, path: Path, name: str, cut_out: str, all_pieces: bool, folder: Path) -> Outputs:
        refuse_forged("System", name, list(self.files))
        refuse_forged("Cut out by", cut_out, WAYS)
        photo, network = opened(path, cut_out), kept(self.files[name])
        shape = network.answer([photo], all_pieces=all_pieces)
        files = [folder / f"{path.stem}{end}" for end in network.formats]
        for file in files:
            shape.save(file)
        how, _, _ = photo.how.partition(": --")  # options, which a page has not
        words = f"Cut out by {how}. {shape.told[0].upper()}{shape.told[1:]}, by {network.name}."
        beside = gr.Model3D(value=None, label=f"{ALIKE}: none is known")
        if found := alike(network, photo):
            finished(found[0], 0.5, shape.seen, shape.how, all_pieces=True).save(near := folder / "beside/nearest.glb")
            beside = gr.Model3D(value=str(near), label=f"{ALIKE}: {found[1]}")
        return words, *pictures(photo, shape, folder), str(files[0]), beside, [str(file) for file in files]


def refuse_forged(label: str, value: object, offered: list[str]) -> None:
    """ValueError of what no list of the page offers: it may come from elsewhere, or from a page of before."""
    if value not in offered:
        raise ValueError(f"{label}: expected one of {', '.join(offered)}, got {str(value)[:40]!r}")


@lru_cache(4)
def kept(path: Path) -> Network:
    return trained(path, None)


def opened(path: Path, cut_out: str) -> Photo:
    """A photo that is not too large; ValueError as `read_photo`, or where it is."""
    with contextlib.suppress(OSError, Image.DecompressionBombError), Image.open(path) as image:  # `read_photo` tells
        if (pixels := image.width * image.height / 1e6) > MEGAPIXELS:
            raise ValueError(f"{path}: expected a photo of at most {MEGAPIXELS} megapixels, got {pixels:.0f}")
    return read_photo(path, cut_out)


def pictures(photo: Photo, shape: Shape, folder: Path) -> tuple[str, str]:
    """Files of what was cut out and of what the network saw."""
    cut, seen = str(folder / "cut-out.png"), str(folder / "seen.png")
    Image.fromarray(np.dstack([photo.gray, 255 * photo.mask.astype(np.uint8)])).save(cut)
    looks = shape.looks()
    factor = -(-SHOWN // min(looks.size))
    looks.resize((factor * looks.width, factor * looks.height), Image.Resampling.NEAREST).save(seen)
    return cut, seen


def alike(network: Network, photo: Photo) -> tuple[Prediction, str] | None:
    """The training shape that looks most alike, and what it is; None where none is known."""
    if (found := remembered(network, [photo])) is not None:
        return found, f"remembered by {network.name}"
    shapes = packed()
    return shapes.nearest([photo]) if shapes else None


def page(answers: Answers, examples: Sequence[str]) -> gr.Blocks:
    """The page; `examples` are photos to try."""

    def answer(upload: dict[str, Any] | None, name: str, how: str, all_pieces: bool, request: gr.Request) -> Outputs:
        return answers(upload, name, how, all_pieces, request.session_hash or "")

    def leave(request: gr.Request) -> None:
        answers.visits.end(request.session_hash or "")

    with gr.Blocks(title="oneview", analytics_enabled=False) as made:
        gr.Markdown(WORDS)
        with gr.Row():
            with gr.Column(min_width=300):
                photo = gr.Image(label="Photo", type="filepath", sources=["upload", "clipboard"], height=300)
                system = gr.Dropdown(list(answers.files), label="System")
                how = gr.Dropdown(WAYS, label="Cut out by")
                pieces = gr.Checkbox(label="Pieces beside the largest as well")
                gr.Examples([[path] for path in examples], [photo], label="Examples")
            with gr.Column(min_width=300, scale=2):
                said = gr.Markdown(elem_id="said")
                with gr.Row():
                    cut, seen = (
                        gr.Image(label=label, interactive=False, height=200, buttons=["download", "fullscreen"])
                        for label in ("Cut out", "What the network saw")
                    )
                with gr.Row():
                    shape, near = (
                        gr.Model3D(label=label, elem_id=name, interactive=False, height=360, camera_position=VIEW)
                        for label, name in (("Shape: drag to turn it", "shape"), (ALIKE, "near"))
                    )
                files = gr.File(label="Download", interactive=False)
        # Unprocessed, so that what is no picture comes to where that is told; Gradio sees to it that it is an upload.
        asked: dict[str, Any] = {
            "fn": answer,
            "inputs": [photo, system, how, pieces],
            "outputs": [said, cut, seen, shape, near, files],
            "preprocess": False,
            "api_visibility": "private",
        }
        for event in (photo.change, system.change, how.change, pieces.change):
            event(**asked)
        made.unload(leave)
    return made
