"""Command show: some models as they come out in the project's frame, so that a wrong axis is seen.

    python -m pipeline.show axes.png
    python -m pipeline.show axes.png --models 12

Draws models of dataset.root, evenly picked from dataset.categories (from all that are there, where none of those is),
each from the front and, turned by half, from behind. One that lies on its back, or is seen from behind first, wants
`dataset.up` or `dataset.front`: nothing else notices, since a network learns shapes in any frame.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pathlib import Path

    from pipeline.runtime.command import argument, run

    run(
        "pipeline.show",
        argument("out", "the picture that is written", type=Path, metavar="FILE.png"),
        argument("--models", "how many at most (default: %(default)s)", type=int, default=6, metavar="N"),
    )

import sys
from pathlib import Path

import numpy as np

from pipeline.geometry import meshes
from pipeline.runtime.command import progress
from pipeline.runtime.files import atomic_write, told
from pipeline.runtime.params import Dataset, load
from pipeline.sources import survey
from pipeline.sources.categories import category, meant
from pipeline.sources.layout import ModelRef
from pipeline.sources.registry import find, rotation

NAMED = 24  # letters of a model's name that stand below it


def pick(refs: list[ModelRef], categories: tuple[str, ...], count: int) -> list[ModelRef]:
    """At most `count` models with a mesh, evenly from the given categories, or from all where none is there."""
    synsets = {ref.synset for ref in refs}
    wanted = {meant(entry, synsets) for entry in categories} - {None} or synsets
    own = [ref for ref in refs if ref.mesh and ref.synset in wanted]
    return [own[n] for n in np.linspace(0, len(own) - 1, min(count, len(own))).round().astype(int)]


def main(out: Path, models: int) -> None:
    """Writes the picture.

    Raises:
        ValueError: the root is missing or broken, or no mesh in it can be read.
    """
    if out.suffix.lower() != ".png" or models < 1:
        raise ValueError(f"expected a file ending in .png and at least one model, got '{out}' and {models}")
    dataset = load("dataset", Dataset)
    root = survey.root_of(dataset)
    looked = find(root)
    print(f"show: {survey.recognised(looked)}")
    chosen = pick([survey.stood(model, dataset).ref for model in looked.models], dataset.categories, models)
    from pipeline.pages.pictures import gallery, turned

    surfaces, captions = [], []
    with progress("show", len(chosen), "model") as bar:
        for ref in chosen:
            try:
                mesh, _ = meshes.normalise(meshes.read(ref.read(root), ref.extension), rotation(ref))
            except (ValueError, OSError) as error:
                print(f"{ref.synset}/{ref.model_id}: {told(error)}", file=sys.stderr)
            else:
                name = f"{category(ref.synset)} {ref.model_id}"[:NAMED]
                surfaces += [(mesh.vertices, mesh.faces), (turned(mesh.vertices), mesh.faces)]
                captions += [f"{name}, front", "from behind"]
            bar.update()
    if not surfaces:
        raise ValueError(f"dataset.root: expected meshes in '{root}', found none that can be read")
    with atomic_write(out) as temporary:
        gallery(surfaces, captions).save(temporary, "PNG")
    print(f"{out}: {len(surfaces) // 2} models, from the front and from behind")
