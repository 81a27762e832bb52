"""Command score: what any other method predicts of the test photos, scored as the systems are.

    python -m pipeline.score photos --photos
    python -m pipeline.score predictions --align longest_side --name other
    python -m pipeline.score TripoSR/output --preset triposr

The first writes the photos of the test samples, to give them to a method; the others score what it made of them:
meshes, points or grids, a file a sample, named as the photos are or as `others/names.py` tells. How they come into the
frame of the shards is a rule, or several joined by `+` (`others/frames.py`): as_is, axes_A_B_C, scale_S, view, camera,
longest_side, best_of_24, scaled_icp. The rule is part of the name under which the figures stand: other@longest_side.

Reads data/shards/ and data/neighbours.csv, so stage baselines comes first. Writes data/scores/<name>/ and
data/metrics/<name>/ as `scoring/figures.py` has them, scores by score what `pipeline.metrics` writes of a system, and
data/scores/<name>/failures.csv, every sample without a usable shape and why; each has the worst scores. `dvc repro`
then brings them into the comparison and the report, and leaves them alone; they are left out once the shards or section
`metrics` have changed. To be rid of them, delete both folders.

A preset says what is known of a method's files: triposr is a folder that its run.py wrote, numbers for the photos in
the order of photos/photos.txt, with x to the camera, y right and z up.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pathlib import Path

    from pipeline.runtime.command import argument, run

    run(
        "pipeline.score",
        argument("folder", "of the predictions, a file a test sample", type=Path, metavar="FOLDER"),
        argument("--photos", "write the photos of the test samples into the folder, instead", action="store_true"),
        argument("--name", "what the method is called (default: the folder's name)"),
        argument("--align", "rules of the frame, joined by + (default: as_is, or the preset's)", metavar="RULES"),
        argument("--preset", "a method whose files are known: triposr"),
        argument("--threshold", "of grids, at the surface (default: %(default)s)", type=float, default=0.5),
        argument("--solid", "find cells of closed meshes too as those of the data set's meshes", action="store_true"),
    )

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.metrics import Params
from pipeline.others import bodies, frames, names
from pipeline.others.files import kind, read
from pipeline.others.names import Key
from pipeline.runtime.command import progress
from pipeline.runtime.files import atomic_write, told
from pipeline.runtime.params import Dataset, load
from pipeline.scoring.figures import facts, rows_of, write
from pipeline.scoring.predictions import FAR, NOTHING, Prediction
from pipeline.scoring.scorer import Answer, Scorer, sample_key, some_views
from pipeline.scoring.tables import SCORES, write_csv
from pipeline.shards.layout import SHARDS, ShardDataset, open_shard

LIST = "photos.txt"
TASTED = 7  # files, of all, by which it is told what the predictions are
SHOWN = 5  # names of what is missing, in the line that tells


@dataclass(frozen=True)
class Preset:
    """What is known of a method's files: the rules of its frame, and whether they lie in numbered folders."""

    align: str
    numbered: bool = False


# VAST-AI-Research/TripoSR: `run.py` writes <number>/mesh.obj, `tsr/utils.py` has the axes, with the camera on +x.
PRESETS = {"triposr": Preset("axes_y_z_x+view+longest_side", numbered=True)}


@dataclass(frozen=True)
class Predictions:
    """The predictions in a folder, and how they are to be taken.

    Attributes:
        dataset: the test split, with the cameras.
        files: of every sample that has one.
        align: the rules of the frame.
        threshold: of grids.
        solid: whether cells are voted on for all meshes.
        kind: what they are, in words, as most of those tasted.
        failed: why samples have no usable shape, filled while they are read.
    """

    dataset: ShardDataset
    files: dict[Key, Path]
    align: str
    threshold: float
    solid: bool
    kind: str
    failed: dict[Key, str] = field(default_factory=dict)

    @property
    def side(self) -> int:
        """Of grids that stay grids; 0 of everything else."""
        grids = self.kind.startswith("a grid") and frames.keeps_grids(self.align)
        return int(self.kind.rpartition(" ")[2]) if grids else 0

    @property
    def resolution(self) -> int:
        """R at which they are scored: the shards', or that of coarser grids."""
        side, whole = self.side, self.dataset.resolution
        if side and whole % side and side % whole:
            raise ValueError(f"expected grids whose side divides {whole} or is a multiple of it, got {self.kind}")
        return min(side, whole) if side else whole

    def answers(self, items: Sequence[int]) -> Iterator[Answer]:
        """What is predicted for the items, in their order."""
        with progress("score", len(items), "view") as bar:
            for item in items:
                key = sample_key(self.dataset, item)
                try:
                    if key not in self.files:
                        raise ValueError("no file")
                    prediction = self.prediction(key, item)
                except (ValueError, OSError) as error:
                    self.failed[key] = told(error)
                    prediction = self.nothing
                yield [item], prediction
                bar.update()

    def prediction(self, key: Key, item: int) -> Prediction:
        """The shape of a sample in the shards' frame; ValueError where it can't be had."""
        found = read(self.files[key])
        if kind(found) != self.kind:
            raise ValueError(f"expected {self.kind}, as the others are, got {kind(found)}")
        known = self.dataset.model(item // self.dataset.groups, [key[2]])
        sample = frames.Sample(known["points"], known["world_to_view"][key[2]])
        placed = frames.placed(found, self.align, sample, self.threshold, np.random.default_rng(0))
        if placed.field is not None:
            parts = max(
                1, self.side // self.resolution
            )  # a coarser cell is as probable as the most probable of its parts
            pooled = placed.field.reshape(*[self.resolution, parts] * 3).max(axis=(1, 3, 5))
            return Prediction(field=pooled)
        points = placed.points if placed.mesh is None else placed.mesh[0]
        if points is not None and not (np.abs(points) < FAR).all():
            raise ValueError(f"expected a shape in the unit cube, got one that reaches to {np.abs(points).max():.3g}")
        return bodies.filled(placed, self.resolution, self.solid)

    @property
    def nothing(self) -> Prediction:
        """A failure, with the scores that the others have."""
        if self.kind == "points":
            return Prediction(points=NOTHING)
        if not self.side:
            return Prediction(mesh=(NOTHING, NOTHING.astype(np.int64)))
        return Prediction(field=np.zeros((self.resolution,) * 3, np.float32))


def taste(files: Sequence[Path]) -> str:
    """What most of some files are, in words; ValueError where none of them can be read."""
    found: Counter[str] = Counter()
    reasons = []
    for path in files[:: max(1, len(files) // TASTED)]:
        try:
            found[kind(read(path))] += 1
        except (ValueError, OSError) as error:
            reasons.append(f"{path}: {told(error)}")
    if not found:
        raise ValueError(f"expected predictions, got none that can be read: {reasons[0]}")
    return found.most_common(1)[0][0]


def write_photos(folder: Path, dataset: ShardDataset, items: Sequence[int]) -> None:
    """The view of every item as a PNG, its background transparent, and their list in the order of the items.

    In colour, where the shards have it.
    """
    keys = [sample_key(dataset, item) for item in items]
    with progress("photos", len(items), "photo") as bar:
        for item, key in zip(items, keys, strict=True):
            raw = dataset[item]
            picture = Image.fromarray(raw["color" if "color" in raw else "views"][0]).convert("RGBA")
            mask = np.unpackbits(raw["masks"][0], axis=-1)[:, : picture.width]
            picture.putalpha(Image.fromarray(mask * np.uint8(255)))
            with atomic_write(folder / names.photo(key)) as temporary:
                picture.save(temporary)
            bar.update()
    with atomic_write(folder / LIST) as temporary:
        temporary.write_text("".join(f"{names.photo(key)}\n" for key in keys), encoding="utf-8")
    print(f"{folder}: {len(keys)} photos, {LIST} has their order")


def failures(rows: Sequence[dict[str, Any]], reasons: dict[Key, str], otherwise: str) -> list[dict[str, Any]]:
    """Rows of failures.csv from those of samples.csv."""
    failed = [row for row in rows if row["failed"]]
    keys = [(row["synset"], row["model_id"], row["view"]) for row in failed]
    return [
        dict(zip(("synset", "model_id", "view"), key, strict=True)) | {"reason": reasons.get(key, otherwise)}
        for key in keys
    ]


def tell(failed: Sequence[dict[str, Any]], rest: Sequence[Path], folder: Path) -> None:
    """Prints which samples have no shape, and which files are no sample's."""
    for row in failed[:SHOWN]:
        print(f"failed: {row['synset']}/{row['model_id']}, view {row['view']}: {row['reason']}")
    if len(failed) > SHOWN:
        print(f"failed: {len(failed) - SHOWN} more, in failures.csv")
    if rest:
        some = ", ".join(str(path.relative_to(folder)) for path in rest[:SHOWN])
        print(f"{len(rest)} files are of no test sample that is scored: {some}{', ...' * (len(rest) > SHOWN)}")


def main(
    folder: Path,
    name: str | None = None,
    align: str | None = None,
    preset: str | None = None,
    threshold: float = 0.5,
    solid: bool = False,
    photos: bool = False,
) -> None:
    if preset is not None and preset not in PRESETS:
        raise ValueError(f"--preset: expected one of {', '.join(PRESETS)}, got '{preset}'")
    method = PRESETS[preset] if preset else Preset(frames.AS_IS)
    align = align or method.align
    frames.steps(align)
    called = name or preset or folder.resolve().name
    if not re.fullmatch(r"\w[\w.-]*", called):
        raise ValueError(f"--name: expected letters, digits, '.', '_' and '-', got '{called}'")
    if not 0 < threshold < 1:
        raise ValueError(f"--threshold: expected a number between 0 and 1, got {threshold}")
    params, categories = load("metrics", Params), load("dataset", Dataset).categories
    test = ShardDataset(SHARDS, categories, "test", targets=("occupancy", "points", "world_to_view"))
    items = some_views(test, params.views)
    if photos:
        with open_shard(test.shards[0].path) as file:
            seen = ("color",) if "color" in file else ()
        write_photos(folder, ShardDataset(SHARDS, categories, "test", targets=seen), items)
        return
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder of predictions, found none")
    known = facts(test)
    keys = [sample_key(test, item) for item in items]
    files, rest = (names.numbered if method.numbered else names.named)(folder, keys)
    predictions = Predictions(test, files, align, threshold, solid, taste(sorted(files.values())))
    scorer = Scorer(test, predictions.resolution, params.points, params.matched, params.seed, params.views)
    rows = rows_of(test, scorer(predictions.answers(items), threshold), known)
    full = f"{called}@{align}{'+solid' * solid}"
    overall = write(full, rows, test.split_source, threshold if predictions.side else None, terms=scorer.terms)
    empty = "an empty shape" + f" at --threshold {threshold}" * predictions.kind.startswith("a grid")
    if failed := failures(rows, predictions.failed, empty):
        with atomic_write(SCORES / full / "failures.csv") as temporary:
            write_csv(temporary, failed)
    tell(failed, rest, folder)
    print(f"{full}: {', '.join(f'{key} {value}' for key, value in overall.items())}", flush=True)
    print("`dvc repro` puts it beside the systems and baselines")
