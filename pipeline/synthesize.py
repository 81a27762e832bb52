"""Stage synthesize: the embedded data set, written as ShapeNetCore.v2 comes.

    python -m pipeline.synthesize

Writes data/embedded/: `<synset>.zip`, holding `<synset>/<id>/models/model_normalized.obj` and `.json`, `taxonomy.json`
and `all.csv`; and their hashes as `synthesized.sha256`. A folder with any other file in it is left alone.

Shapes come from `families`, in ShapeNetCore.v2's frame: +Y up, -Z front, vertex mean at the origin, bounding-box
diagonal 1. The meshes have what real ones suffer from: faces doubled, windings mixed, panels without thickness,
shells with a face missing, parts that overlap. `build` gives both the damaged mesh and the exact solid.

Model i of a category depends on the seed, the synset and i alone: a larger set begins with the smaller one,
byte for byte and split for split.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pipeline.runtime.command import run

    run("pipeline.synthesize")

import csv
import hashlib
import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from pipeline.families.registry import FAMILIES
from pipeline.families.solids import Part, Piece, Shape
from pipeline.runtime.command import progress
from pipeline.runtime.files import atomic_write, sha256
from pipeline.runtime.params import load

ROOT = Path("data/embedded")
MADE = "synthesized.sha256"  # `sha256sum --check` reads it

# 70/10/20 in every ten models in a row, and as near to it as whole numbers allow at every count before that.
SPLITS = ("train", "test", "train", "val", "train", "train", "train", "test", "train", "train")

OPEN_PARTS = 0.3  # of the closed parts of an opened model


@dataclass(frozen=True)
class Params:
    seed: int
    models_per_category: int
    doubled: float  # share of the models in which every face is there twice, once with each winding
    flipped: float  # share of the models in which half of the faces have their winding turned
    opened: float  # share of the models in which some parts have lost one flat face

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("models_per_category", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        for name in ("doubled", "flipped", "opened"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a share in [0, 1], got {getattr(self, name)}")


@dataclass(frozen=True)
class Model:
    """One model: its exact solid and the mesh written of it, both in ShapeNetCore.v2's frame.

    vertices (N, 3) float64, rounded as written; faces (M, 3) int64, damaged; groups (M,) int64, the piece of
    `shape.pieces` that each face comes from; clean_faces (K, 3) int64, parts closed and outward, before any damage;
    source (N, 3) float64, the vertices before normalisation.
    """

    model_id: str
    shape: Shape
    vertices: np.ndarray
    faces: np.ndarray
    groups: np.ndarray
    clean_faces: np.ndarray
    source: np.ndarray


def build(synset: str, index: int, params: Params) -> Model:
    """Model `index` of a category; the solid ignores the damage: an opened part counts as closed.

    Raises:
        ValueError: there is no family for the synset.
    """
    if synset not in FAMILIES:
        raise ValueError(f"synset '{synset}': expected one of {', '.join(FAMILIES)}")
    seed = [params.seed, int(synset), index]
    raw = FAMILIES[synset][1](np.random.default_rng([*seed, 0]))
    source = np.concatenate([piece.vertices for piece in raw.pieces])
    scale = float(1 / np.linalg.norm(np.ptp(source, axis=0)))
    shape = raw.transformed(scale, -scale * source.mean(axis=0))
    starts = np.cumsum([0] + [len(piece.vertices) for piece in shape.pieces])
    pieces = list(zip(shape.pieces, starts, strict=False))
    faces, groups = damaged(np.random.default_rng([*seed, 1]), pieces, params)
    vertices = np.concatenate([piece.vertices for piece in shape.pieces]).round(6) + 0.0
    clean_faces = np.concatenate([piece.faces + start for piece, start in pieces])
    return Model(model_id(params.seed, synset, index), shape, vertices, faces, groups, clean_faces, source)


def model_id(seed: int, synset: str, index: int) -> str:
    """32 hexadecimal digits, as ShapeNet's."""
    return hashlib.sha256(f"oneview/{seed}/{synset}/{index}".encode()).hexdigest()[:32]


def damaged(rng: Generator, pieces: list[tuple[Piece, int]], params: Params) -> tuple[np.ndarray, np.ndarray]:
    """The faces (M, 3) of all pieces, given with their first vertex, and the piece (M,) each belongs to."""
    doubled, flipped, opened = rng.random(3) < (params.doubled, params.flipped, params.opened)
    faces, groups = [], []
    for number, (piece, start) in enumerate(pieces):
        kept = piece.faces
        if opened and isinstance(piece, Part) and rng.random() < OPEN_PARTS:
            kept = without_one_side(rng, piece)
        if flipped:
            kept = np.where(rng.random((len(kept), 1)) < 0.5, kept[:, ::-1], kept)
        if doubled:
            kept = np.concatenate([kept, kept[:, ::-1]])
        faces.append(kept + start)
        groups.append(np.full(len(kept), number))
    return np.concatenate(faces), np.concatenate(groups)


def without_one_side(rng: Generator, part: Part) -> np.ndarray:
    """The part's faces without those on one of its planes; every vertex still has a face, on its other planes."""
    plane = part.planes[rng.integers(len(part.planes))]
    height = part.vertices @ plane[:3] + plane[3]
    return part.faces[np.any(height[part.faces] < -1e-7, axis=1)]


def obj_text(model: Model) -> str:
    """The damaged mesh as Wavefront OBJ, a group for every piece."""
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in model.vertices.tolist()]
    for group in range(len(model.shape.pieces)):
        lines += [f"g piece_{group}"]
        lines += [f"f {a} {b} {c}" for a, b, c in (model.faces[model.groups == group] + 1).tolist()]
    return "\n".join(lines) + "\n"


def json_text(model: Model) -> str:
    """What ShapeNetCore.v2 keeps of the frame before normalisation."""
    low, high, mean = (f(model.source, axis=0).round(6).tolist() for f in (np.min, np.max, np.mean))
    count = len(model.vertices)
    return json.dumps({"max": high, "centroid": mean, "id": model.model_id, "numVertices": count, "min": low})


def write_zip(path: Path, files: Iterable[tuple[str, str]]) -> None:
    """The (name, text) pairs in order, with nothing in the archive that depends on when or where it is written."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files:
            info = zipfile.ZipInfo(name)
            info.compress_type, info.create_system, info.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
            archive.writestr(info, text.encode())


def write_taxonomy(path: Path, count: int) -> None:
    synsets = [
        {"synsetId": synset, "name": name, "children": [], "numInstances": count}
        for synset, (name, _) in FAMILIES.items()
    ]
    path.write_text(json.dumps(synsets, indent=2) + "\n", encoding="utf-8")


def write_splits(path: Path, params: Params) -> None:
    """The official all.csv: its columns, its line ends, and a running number of six digits."""
    count = params.models_per_category
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "synsetId", "subSynsetId", "modelId", "split"])
        for row, (synset, index) in enumerate((synset, i) for synset in FAMILIES for i in range(count)):
            name = model_id(params.seed, synset, index)
            table.writerow([f"{row:06d}", synset, synset, name, SPLITS[index % len(SPLITS)]])


def write_hashes(folder: Path) -> None:
    """Hash and name of every other file, a line each."""
    lines = [f"{sha256(path.read_bytes())}  {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / MADE).write_text("".join(lines), encoding="utf-8")


def refuse_others(root: Path) -> None:
    """ValueError where a folder holds a file that was not made here, or was changed since."""
    lines = (root / MADE).read_text(encoding="utf-8").splitlines() if (root / MADE).is_file() else []
    made = {root / name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for path in sorted(root.rglob("*")):
        folder = path.is_dir() and not path.is_symlink()
        if not folder and path != root / MADE and (path not in made or sha256(path.read_bytes()) != made[path]):
            raise ValueError(
                f"{path}: expected no file but those that synthesize made, as {root} is made anew; move it elsewhere, "
                "dataset.root in params.yaml may be any folder"
            )


def synthesize(root: Path, params: Params) -> None:
    """Writes the whole data set to the folder `root`, replacing what it has written there before.

    Raises:
        ValueError: there is a file in it that it has not written.
    """
    refuse_others(root)
    count = params.models_per_category
    with atomic_write(root) as folder, progress("synthesize", count * len(FAMILIES), "model") as bar:
        folder.mkdir()
        for synset in FAMILIES:
            files = []
            for index in range(count):
                model = build(synset, index, params)
                stem = f"{synset}/{model.model_id}/models/model_normalized"
                files += [(f"{stem}.json", json_text(model)), (f"{stem}.obj", obj_text(model))]
                bar.update()
            write_zip(folder / f"{synset}.zip", sorted(files))
        write_taxonomy(folder / "taxonomy.json", count)
        write_splits(folder / "all.csv", params)
        write_hashes(folder)


def main() -> None:
    synthesize(ROOT, load("synthesize", Params))
