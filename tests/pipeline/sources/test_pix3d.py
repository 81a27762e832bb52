from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest

from pipeline import render, voxelize
from pipeline.geometry import meshes, renderer, solid
from pipeline.geometry.meshes import Mesh
from pipeline.records import ready
from pipeline.sources import pictures, pix3d, splits
from pipeline.sources.layout import ModelRef
from pipeline.sources.registry import find
from tests.pipeline.sources import trees

SIZE = (48, 64)
PARAMS = render.Params(0, 12, 192, 256, (30.0, 30.0), (-5.0, 50.0), (1.0, 1.25), False, False)
REAL = os.environ.get("ONEVIEW_PIX3D_ROOT", "")
real = pytest.mark.skipif(not REAL, reason="ONEVIEW_PIX3D_ROOT names no folder of Pix3D's files")


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def silhouette(mesh: Mesh, matrix: np.ndarray, fov_deg: float, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: where a pinhole camera with +X left, +Y up, +Z inward sees the mesh."""
    from pipeline.geometry.open3d import o3d

    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    corners = (mesh.vertices @ matrix[:3, :3].T + matrix[:3, 3]).astype(np.float32)
    scene.add_triangles(o3d.core.Tensor(corners), o3d.core.Tensor(mesh.faces.astype(np.uint32)))
    focal = min(size) / 2 / np.tan(np.radians(fov_deg) / 2)
    ys, xs = (np.mgrid[: size[0], : size[1]] + 0.5 - np.array(size).reshape(2, 1, 1) / 2) / focal
    rays = np.stack([*np.zeros((3, *size)), -xs, -ys, np.ones(size)], axis=-1).astype(np.float32)
    return np.isfinite(scene.cast_rays(o3d.core.Tensor(rays), nthreads=1)["t_hit"].numpy())


def npy(*indices: int) -> bytes:
    content = io.BytesIO()
    np.save(content, np.array(indices, np.int64))
    return content.getvalue()


def refs(root: Path) -> list[ModelRef]:
    return [model.ref for model in find(root)[0]]


def test_one_model_a_photo_grouped_by_shape(tmp_path: Path) -> None:
    trees.write_pix3d(tmp_path, ["0001", "0002", "0003"])
    found = find(tmp_path).models
    assert [(m.ref.synset, m.ref.model_id, m.group) for m in found] == [
        ("desk", "SHAPE_0.0001", "model/desk/SHAPE_0/model.obj"),
        ("desk", "SHAPE_0.0003", "model/desk/SHAPE_0/model.obj"),
        ("desk", "SHAPE_1.0002", "model/desk/SHAPE_1/model.obj"),
    ]
    assert not any(model.split for model in found)
    names = pix3d.parts(tmp_path, found[1].ref)
    assert names == ["img/desk/0003.png", "mask/desk/0003.png", "model/desk/SHAPE_0/voxel.mat", "pix3d.json"]


@pytest.mark.long
def test_the_official_split_keeps_shapes_whole(tmp_path: Path) -> None:
    names = [f"{n:04}" for n in range(60)]
    trees.write_pix3d(tmp_path, names, shapes=30, size=(6, 9))
    trees.write(tmp_path / "pix3d_train.npy", npy(*range(40)))
    trees.write(tmp_path / "pix3d_test.npy", npy(*range(40, 60)))
    found = find(tmp_path).models
    split = {model.ref.model_id.split(".")[1]: model.split for model in found}
    assert {split[name] for name in names[40:]} == {"test"}
    assert {split[name] for name in names[:40]} == {"train", "val"}
    assert all(split[names[n]] == split[names[n + 30]] for n in range(10))
    assert all(m.split_source.startswith("pix3d:") and m.split in splits.SPLITS for m in found)
    trees.write(tmp_path / "pix3d_test.npy", npy(60))
    with pytest.raises(ValueError, match="pix3d_test.npy: expected indices below 60, got"):
        find(tmp_path)


def test_the_photo_is_letterboxed_and_its_camera_kept(tmp_path: Path) -> None:
    trees.write_pix3d(tmp_path, ["0001"], size=(240, 360))
    made = pix3d.views(tmp_path, refs(tmp_path)[0], SIZE)
    gray, mask = made.views[0], made.masks[0]
    scale = 64 / 360  # 240x360 fits by its width; 42.7 rows of the picture, white above and below
    assert (gray[[0, 1, -2, -1]] == 255).all() and (gray[4:-4][~mask[4:-4]] < 255).all()
    assert made.fov_deg[0] == pytest.approx(np.degrees(2 * np.arctan(24 / (64 / 32 * 360 * scale))))
    box = meshes.read(trees.box_mesh(), "obj")
    assert iou(silhouette(box, made.source_to_view[0], made.fov_deg[0], SIZE), mask) > 0.97
    assert np.abs(gray[mask].astype(int) - 90).mean() < 5


def test_the_camera_in_the_normalised_frame(tmp_path: Path) -> None:
    trees.write_pix3d(tmp_path, ["0001"], size=(240, 360))
    ref = refs(tmp_path)[0]
    record = ready.views(tmp_path, ref, PARAMS)
    assert record is not None
    scale = 15 / 16 / 0.8
    assert record["cameras"][0, :3] == pytest.approx([0, 0, 3 * scale], abs=1e-4)  # from behind, as the pose says
    mesh, _ = meshes.normalise(meshes.read(ref.read(tmp_path), "obj"))
    mask = np.unpackbits(record["masks"], axis=-1)[0].astype(bool)
    assert iou(renderer.render(mesh, record["cameras"], 192, 256)[1][0], mask) > 0.97


def test_voxels_are_turned_to_the_meshes_axes(tmp_path: Path) -> None:
    trees.write_pix3d(tmp_path, ["0001"])
    ref = refs(tmp_path)[0]
    found = pix3d.grid(tmp_path, ref)
    assert np.array_equal(found.occupancy, trees.box_grid(128, trees.HALF / 0.8 * 127 / 128 + 1e-9))
    assert np.allclose(found.affine, np.diag([0.8 * 128 / 127] * 3 + [1]))
    one = np.zeros((4, 4, 4), np.uint8)
    one[3, 2, 0] = 1  # left, outward, down
    trees.write(tmp_path / ref.grid, trees.mat("voxel", one))
    assert np.argwhere(pix3d.grid(tmp_path, ref).occupancy).tolist() == [[3, 0, 1]]


def test_a_list_that_changed_is_read_anew(tmp_path: Path) -> None:
    trees.write_pix3d(tmp_path, ["0001"])
    ref = refs(tmp_path)[0]
    before = pix3d.views(tmp_path, ref, SIZE).fov_deg
    rows = json.loads((tmp_path / "pix3d.json").read_text())
    rows[0]["focal_length"] = 128.0
    (tmp_path / "pix3d.json").write_text(json.dumps(rows))
    after = pix3d.views(tmp_path, ref, SIZE).fov_deg
    assert np.tan(np.radians(before / 2)) == pytest.approx(2 * np.tan(np.radians(after / 2)))


@pytest.mark.parametrize("change", [{"focal_length": -64}, {"trans_mat": [0, float("nan"), 3]}])
def test_a_camera_that_is_none_costs_its_photo(tmp_path: Path, change: dict[str, object]) -> None:
    trees.write_pix3d(tmp_path, ["0001", "0002"])
    listed = json.loads((tmp_path / "pix3d.json").read_text())
    (tmp_path / "pix3d.json").write_text(json.dumps([listed[0] | change, listed[1]]))
    bad, good = (model.ref for model in find(tmp_path).models)
    with pytest.raises(ValueError, match="expected a finite pose and a focal length over 0, got"):
        pix3d.views(tmp_path, bad, (24, 32))
    assert pix3d.views(tmp_path, good, (24, 32)).views.shape == (1, 24, 32)


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    trees.write_pix3d(tmp_path, ["0001"])
    trees.write(tmp_path / "mask/desk/0001.png", trees.picture(alpha=True))
    with pytest.raises(ValueError, match=r"expected a photo and a mask of one size, got \(60, 90\) and \(40, 40\)"):
        pix3d.views(tmp_path, refs(tmp_path)[0], SIZE)


@pytest.mark.parametrize(
    "change", [{"rot_mat": [1, 2]}, {"img": "0001.png"}, {"category": None}, {"focal_length": "x"}]
)
def test_a_broken_list_is_named(tmp_path: Path, change: dict[str, object]) -> None:
    trees.write_pix3d(tmp_path, ["0001"])
    rows = json.loads((tmp_path / "pix3d.json").read_text())
    (tmp_path / "pix3d.json").write_text(json.dumps([rows[0] | change]))
    with pytest.raises(ValueError, match="pix3d.json: expected a list of photos with img, mask, .* got"):
        find(tmp_path)


@real
def test_published_masks_are_where_our_camera_puts_the_mesh() -> None:
    root = Path(REAL)
    for ref in refs(root)[:20]:
        mask = (
            pictures.grayscale(pictures.decode((root / f"mask{ref.views[3:-3]}png").read_bytes(), upright=False)) >= 128
        )
        size = (len(mask), len(mask[0]))
        made = pix3d.views(root, ref, size)
        mesh = meshes.read(ref.read(root), "obj")
        assert iou(silhouette(mesh, made.source_to_view[0], made.fov_deg[0], size), mask) > 0.995
        for signs in ([-1, 1, 1], [1, -1, 1], [-1, -1, 1]):
            wrong = np.diag([*signs, 1.0]) @ made.source_to_view[0]
            assert iou(silhouette(mesh, wrong, made.fov_deg[0], size), mask) < 0.95


@real
def test_published_voxels_are_ours_and_in_the_frame_of_the_mesh() -> None:
    root = Path(REAL)
    for ref in {ref.grid: ref for ref in refs(root)}.values():
        found = pix3d.grid(root, ref)
        mesh = meshes.read(ref.read(root), "obj")
        back = np.linalg.inv(found.affine)
        cells, _ = solid.solid(mesh.vertices @ back[:3, :3].T + back[:3, 3], mesh.faces, 128)
        assert iou(cells, found.occupancy) > 0.99
        assert iou(cells[:, :, ::-1], found.occupancy) < 0.95
        record = ready.grid(root, ref, voxelize.Params(0, 64, 100, grids="ready"))
        assert record is not None
        computed, _ = solid.solid(meshes.normalise(mesh)[0].vertices, mesh.faces, 64)
        resampled = np.unpackbits(record["occupancy"]).reshape(64, 64, 64).astype(bool)
        assert iou(resampled, computed) > 0.8
