"""Tiny data sets on disk, one a layout, all of boxes with half sizes (0.3, 0.4, 0.1) in this project's axes."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image
from scipy.io import savemat
from trimesh.exchange.binvox import binvox_bytes
from trimesh.voxel.runlength import dense_to_rle

from tests.meshes import CHAIR, obj_bytes, write_v2

HALF = np.array([0.3, 0.4, 0.1])
V1_HALF = HALF[[2, 1, 0]]  # +X front


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def box_mesh(half: np.ndarray = HALF) -> bytes:
    return obj_bytes(trimesh.creation.box(2 * half))


def box_grid(side: int, half: np.ndarray = HALF) -> np.ndarray:
    """(S, S, S) bool: the cells whose centres lie in the box, in the unit cube."""
    centres = (np.arange(side) + 0.5) / side - 0.5
    x, y, z = (np.abs(centres) <= h for h in half)
    return x[:, None, None] & y[None, :, None] & z[None, None, :]


def binvox(grid: np.ndarray, translate: tuple[float, ...] = (-0.5, -0.5, -0.5), scale: float = 1) -> bytes:
    """A binvox file of a grid [x, y, z]; the runs are written by trimesh's encoder."""
    runs = dense_to_rle(grid.transpose(0, 2, 1).ravel().astype(np.uint8), np.uint8)
    return binvox_bytes(runs, grid.shape, translate, scale)


def png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def picture(alpha: bool, size: int = 40) -> bytes:
    """A gray square of 20 pixels in the middle, on a white or a transparent background."""
    pixels = np.zeros((size, size, 4), np.uint8)
    middle = slice(size // 2 - 10, size // 2 + 10)
    pixels[middle, middle] = (90, 90, 90, 255)
    return png(pixels if alpha else np.where(pixels[..., 3:] > 0, pixels, 255)[..., :3].astype(np.uint8))


def write_shapenet_v2(root: Path, names: list[str]) -> None:
    write_v2(root, {(CHAIR, name): box_mesh() for name in names}, zipped=False)
    for name in names:
        path = root / CHAIR / name / "models" / "model_normalized.solid.binvox"
        # The box's corner in the cube's corner, as the program places it.
        grid = np.roll(box_grid(128, HALF / 0.8), (-16, 0, -48), (0, 1, 2))
        write(path, binvox(grid, tuple(-HALF), 0.8))


def write_r2n2(root: Path, names: list[str], views: int = 3) -> None:
    for name in names:
        folder = root / "ShapeNetRendering" / CHAIR / name / "rendering"
        write(folder / "rendering_metadata.txt", b"".join(b"%d 25.5 0 0.8 25\n" % (90 * n) for n in range(views)))
        for n in range(views):
            write(folder / f"{n:02}.png", picture(alpha=True, size=137))
        write(root / "ShapeNetVox32" / CHAIR / name / "model.binvox", binvox(box_grid(32, V1_HALF)))


def write_core55(root: Path, names: list[str], side: int = 64) -> None:
    for name in names:
        for n in range(12):
            write(root / "train_imgs" / name / f"{n:03}.png", picture(alpha=False))
        write(root / "train_voxels" / name / "model.mat", mat("input", box_grid(side).astype(np.uint8)))


def mat(variable: str, values: np.ndarray) -> bytes:
    content = io.BytesIO()
    savemat(content, {variable: values}, do_compression=True)
    return content.getvalue()


def write_future3d(root: Path, names: list[str]) -> None:
    rows = [{"model_id": name, "super-category": "Bed", "category": "King-size Bed"} for name in names]
    write(root / "3D-FUTURE-model" / "model_info.json", json.dumps(rows).encode())
    for name in names:
        write(root / "3D-FUTURE-model" / name / "normalized_model.obj", box_mesh())


POSE = np.array([[-1.0, 0, 0], [0, 1, 0], [0, 0, -1]])  # half a turn: seen from behind


def write_pix3d(root: Path, names: list[str], shapes: int = 2, size: tuple[int, int] = (60, 90)) -> None:
    """Photos of (height, width) `size` from 3 units away at a focal length of 64 mm, with a gray box on blue."""
    height, width = size
    rows = []
    for n, name in enumerate(names):
        shape = f"model/desk/SHAPE_{n % shapes}"
        pixels = np.full((*size, 3), (30, 60, 200), np.uint8)
        # By hand: the near face at a depth of 2.9, x = f X / Z.
        half = [64 / 32 * width * h / 2.9 for h in HALF[:2]]
        ys, xs = np.mgrid[:height, :width] + 0.5
        mask = (np.abs(ys - height / 2) < half[1]) & (np.abs(xs - width / 2) < half[0])
        pixels[mask] = 90
        write(root / f"img/desk/{name}.png", png(pixels))
        write(root / f"mask/desk/{name}.png", png(mask.astype(np.uint8) * 255))
        write(root / shape / "model.obj", box_mesh())
        solid = box_grid(128, HALF / 0.8 * 127 / 128 + 1e-9)
        write(root / shape / "voxel.mat", mat("voxel", solid.transpose(0, 2, 1)[:, ::-1].astype(np.uint8)))
        rows.append(
            {
                "img": f"img/desk/{name}.png",
                "mask": f"mask/desk/{name}.png",
                "category": "desk",
                "model": f"{shape}/model.obj",
                "voxel": f"{shape}/voxel.mat",
                "rot_mat": POSE.tolist(),
                "trans_mat": [0, 0, 3],
                "focal_length": 64,
            }
        )
    write(root / "pix3d.json", json.dumps(rows).encode())


Z_UP = HALF[[0, 2, 1]]  # half sizes where +Z is up
IDS = {  # what models are called where their names say more than that, of the n-th and its given name
    "abo": "B{n:09}",
    "pix3d": "SHAPE_{shape}.{name}",
    "modelnet": "desk_{n:04}",
    "omniobject3d": "desk_{n:03}",
    "objaverse": "{n:032x}",
    "thingi10k": "{n}",
}


def ids(layout: str, names: list[str]) -> list[str]:
    """What a layout's models are called, in the order of the names given to its writer."""
    return [IDS.get(layout, "{name}").format(n=n, name=name, shape=n % 2) for n, name in enumerate(names)]


def write_modelnet(root: Path, names: list[str]) -> None:
    mesh = str(trimesh.creation.box(2 * Z_UP).export(file_type="off")).encode()
    for n, model_id in enumerate(ids("modelnet", names)):
        write(root / "ModelNet10" / "desk" / ("test" if n == 1 else "train") / f"{model_id}.off", mesh)


def write_gso(root: Path, names: list[str]) -> None:
    for name in names:
        write(root / name / "meshes" / "model.obj", box_mesh(Z_UP))
        write(root / name / "metadata.pbtxt", b'name: "x"\ncategories {\n  first: "Office Desk"\n}\n')


def write_abo(root: Path, names: list[str]) -> None:
    known = ids("abo", names)
    products = [{"item_id": "1", "3dmodel_id": name, "product_type": [{"value": "DESK"}]} for name in known]
    lines = [json.dumps(product) for product in [{"item_id": "2"}, *products]]
    write(root / "listings" / "metadata" / "listings_0.json.gz", gzip.compress("\n".join(lines).encode()))
    for name in known:
        write(root / "3dmodels" / "original" / name[-1] / f"{name}.glb", box_glb())


def write_omniobject3d(root: Path, names: list[str]) -> None:
    for model_id in ids("omniobject3d", names):
        write(root / "raw" / "raw_scans" / "desk" / model_id / "Scan" / "Scan.obj", box_mesh())


def write_objaverse(root: Path, names: list[str]) -> None:
    known = ids("objaverse", names)
    write(root / "lvis-annotations.json.gz", gzip.compress(json.dumps({"Writing_desk": known}).encode()))
    for uid in known:
        write(root / "glbs" / "000-000" / f"{uid}.glb", box_glb())


def write_partnet(root: Path, names: list[str]) -> None:
    """The box in two halves, each a part."""
    low, high = (trimesh.creation.box(2 * HALF * [1, 0.5, 1]) for _ in range(2))
    low.apply_translation([0, -HALF[1] / 2, 0])
    high.apply_translation([0, HALF[1] / 2, 0])
    for name in names:
        write(root / "data_v0" / name / "meta.json", json.dumps({"model_cat": "Desk", "model_id": name}).encode())
        write(root / "data_v0" / name / "objs" / "original-1.obj", obj_bytes(low))
        write(root / "data_v0" / name / "objs" / "new-2.obj", obj_bytes(high))


def write_thingi10k(root: Path, names: list[str]) -> None:
    for model_id in ids("thingi10k", names):
        write(root / "raw_meshes" / f"{model_id}.stl", trimesh.creation.box(2 * Z_UP).export(file_type="stl"))


def box_glb() -> bytes:
    return bytes(trimesh.creation.box(2 * HALF).export(file_type="glb"))


def write_folders(root: Path, names: list[str]) -> None:
    for name in names:
        write(root / "Kitchen chairs" / f"{name}.glb", trimesh.creation.box(2 * HALF).export(file_type="glb"))
