"""How long `dvc repro` takes to see that nothing, or one mesh, changed in a data set of ShapeNetCore's size.

    python -m benchmarks.catalogue [--models N] [--categories N]

On a tree of tetrahedra in ShapeNetCore.v2's layout, one folder a model, and a copy of this project in a temporary
folder. Wall-clock seconds of the stage `catalog` as DVC runs it: at first, with nothing changed, with one mesh changed,
and of a run of the stage by itself that has nothing to read.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from benchmarks.common import write

FACES = "f 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"
COPIED = ("pipeline", "model", "dvc.yaml", "params.yaml", ".dvcignore", ".gitignore")


def tetrahedron(height: float) -> str:
    return f"v 0 0 0\nv 1 0 0\nv 0 {height} 0\nv 0 0 1\n{FACES}"


def mesh(root: Path, category: int, model: int) -> Path:
    return root / f"{category:08d}" / f"m{model:05d}" / "models" / "model_normalized.obj"


def make_tree(root: Path, categories: int, models: int) -> None:
    for category in range(categories):
        for model in range(models // categories):
            path = mesh(root, category, model)
            path.parent.mkdir(parents=True)
            path.write_text(tetrahedron(1 + model / 1000), encoding="ascii")


def make_project(project: Path, root: Path, categories: int) -> None:
    for name in COPIED:
        copy = shutil.copytree if Path(name).is_dir() else shutil.copy
        copy(name, project / name)
    params = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    params["dataset"] |= {"root": str(root), "categories": [f"{n:08d}" for n in range(categories)]}
    (project / "params.yaml").write_text(json.dumps(params), encoding="utf-8")
    for command in ("git init --quiet", f"{sys.executable} -m dvc init --quiet"):
        subprocess.run(command.split(), cwd=project, check=True)


def timed(project: Path, module: str, *arguments: str) -> float:
    """Wall-clock seconds of `python -m module arguments` in the project."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", module, *arguments], cwd=project, check=True, env=os.environ | {"PATH": path})
    return round(time.monotonic() - start, 1)


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.catalogue", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=int, default=50_000, help="meshes of the made tree")
    parser.add_argument("--categories", type=int, default=50, help="that they are spread over")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root, project = Path(name) / "raw", Path(name) / "project"
        project.mkdir()
        make_tree(root, arguments.categories, arguments.models)
        make_project(project, root, arguments.categories)
        first = timed(project, "dvc", "repro", "catalog")
        nothing = timed(project, "dvc", "repro", "catalog")
        before = {path.name: path.read_bytes() for path in (project / "data/catalog").iterdir()}
        mesh(root, 1, 0).write_text(tetrahedron(5), encoding="ascii")
        one = timed(project, "dvc", "repro", "catalog")
        changed = [name for name in before if (project / "data/catalog" / name).read_bytes() != before[name]]
        again = timed(project, "pipeline.catalog")
    result = {
        "models": arguments.models,
        "categories": arguments.categories,
        "seconds_first": first,
        "seconds_nothing_changed": nothing,
        "seconds_one_mesh_changed": one,
        "tables_changed_by_it": len(changed),
        "seconds_of_the_stage_with_nothing_to_read": again,
    }
    for key, value in result.items():
        print(f"{key}: {value}")
    write("catalogue", ["dvc"], result)


if __name__ == "__main__":
    main()
