"""The gallery of the page: of test models the photo, the true shape and all answers, as pictures and as shapes."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.pages.pictures import Surface, shaded
from pipeline.pages.scores import title
from pipeline.pages.shapes import Shape, cloud, packed, simplified

QUALITY, SKY_RAYS = 70, 4  # of pictures as small as these


@dataclass(frozen=True)
class Answer:
    """What a system or a baseline gives.

    Attributes:
        picture: WebP.
        shape: as `shapes.packed` has it.
        words: its scores.
    """

    picture: bytes
    shape: str
    words: str


@dataclass(frozen=True)
class Scene:
    """How the shapes of an entry are shown.

    Attributes:
        truth: the true shape, simplified.
        rays: of the camera that sees all of them.
        faces: of a shape, at most.
    """

    truth: Shape
    rays: np.ndarray
    faces: int

    def answer(
        self, surface: Surface, colour: tuple[float, float, float], words: str, points: np.ndarray | None = None
    ) -> Answer:
        """A surface, which stands for `points` where there are any."""
        small = simplified(surface, self.faces) if points is None else cloud(points)
        return Answer(webp(shaded(surface, self.rays, colour, SKY_RAYS)), packed(small, self.truth), words)


@dataclass(frozen=True)
class Entry:
    """A view of a test model.

    Attributes:
        model: synset and model id.
        view: its number.
        category: its name.
        photo, truth: WebP.
        shape: the true one, as `shapes.packed` has it.
        answers: by name, those of the systems first.
        ranks: of every system, by its name: the model's rank in its category, of how many, and whether it failed.
    """

    model: tuple[str, str]
    view: str
    category: str
    photo: bytes
    truth: bytes
    shape: str
    answers: dict[str, Answer]
    ranks: dict[str, tuple[int, int, bool]]


def entries(found: Iterable[Entry]) -> Iterable[str]:
    """An <article> each."""
    for entry in found:
        identity = html.escape("/".join(entry.model))
        kind, model = html.escape(entry.category.replace("_", " ")), html.escape(entry.model[1][:12])
        name = f"{kind} <small>{model}, view {entry.view}</small>"
        cells = [cell("photo", entry.photo, "photo"), cell("true shape", entry.truth, "true shape")]
        shapes = [shape("truth", entry.shape)]
        for system, answer in entry.answers.items():
            rank = entry.ranks.get(system)
            words = f"<b>{title(system)}</b><br>{answer.words}"
            words += f"<br>rank {rank[0]} of {rank[1]}{', failed' if rank[2] else ''}" if rank else ""
            cells.append(cell(words, answer.picture, f"answer of {title(system)}", system if rank else ""))
            shapes.append(shape(system, answer.shape))
        ranks = html.escape(json.dumps(entry.ranks))
        yield (
            f'<article class="entry" data-id="{identity}" data-category="{html.escape(entry.category)}" '
            f'data-ranks="{ranks}"><h3>{name}</h3>'
            f'<button type="button" title="Turn them in 3D">{"".join(cells)}</button>{"".join(shapes)}</article>'
        )


def webp(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, "WEBP", quality=QUALITY, method=6)
    return content.getvalue()


def cell(words: str, picture: bytes, what: str, system: str = "") -> str:
    """A picture with words below; `system` is whose it is, for the page to leave out others'."""
    of = f' data-system="{html.escape(system)}"' if system else ""
    source = f'src="data:image/webp;base64,{base64.b64encode(picture).decode()}"'
    image = f'<img {source} alt="{what}" width="200" height="150" loading="lazy" decoding="async">'
    return f'<span class="cell"{of}>{image}<span>{words}</span></span>'


def shape(name: str, text: str) -> str:
    return f'<script type="text/plain" data-name="{html.escape(name)}">{text}</script>'
