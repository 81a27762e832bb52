"""Small data sets on disk, for the stages that read meshes."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import cast

import numpy as np
import trimesh

from pipeline.geometry import meshes
from pipeline.geometry.meshes import Mesh

CHAIR, TABLE = "03001627", "04379243"


def obj_bytes(mesh: trimesh.Trimesh) -> bytes:
    return str(mesh.export(file_type="obj", include_normals=False)).encode()


def joined(*parts: trimesh.Trimesh) -> trimesh.Trimesh:
    return cast(trimesh.Trimesh, trimesh.util.concatenate(parts))


def box(*size: float) -> bytes:
    return obj_bytes(trimesh.creation.box(size))


def write_v2(root: Path, models: dict[tuple[str, str], bytes], zipped: bool = True) -> Path:
    """ShapeNetCore.v2's layout, with one zip per synset or plain folders; `models`: (synset, id) -> OBJ bytes."""
    root.mkdir(parents=True, exist_ok=True)
    for synset in sorted({synset for synset, _ in models}):
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for (owner, model_id), data in sorted(models.items()):
                if owner == synset:
                    name = f"{synset}/{model_id}/models/model_normalized.obj"
                    archive.writestr(zipfile.ZipInfo(name), data)
        if zipped:
            (root / f"{synset}.zip").write_bytes(content.getvalue())
        else:
            zipfile.ZipFile(content).extractall(root)
    return root


def normalised(made: trimesh.Trimesh) -> Mesh:
    return meshes.normalise(Mesh(np.asarray(made.vertices), np.asarray(made.faces)))[0]


def stool() -> Mesh:
    """A stool of doubled, flipped faces, as CAD has them."""
    parts = [trimesh.creation.box((1, 0.1, 1))]
    for x, z in ((-0.4, -0.4), (0.4, -0.4), (-0.4, 0.4), (0.4, 0.4)):
        parts.append(trimesh.creation.cylinder(0.06, segment=[[x, 0, z], [1.2 * x, -0.9, z]], sections=9))
    whole = joined(*parts)
    return normalised(
        trimesh.Trimesh(whole.vertices, np.concatenate([whole.faces, whole.faces[::-1, ::-1]]), process=False)
    )
