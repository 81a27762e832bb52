"""Rendering: how fast and how right, beside what else a user would take.

    python -m benchmarks.render --root /data/ShapeNetCore.v2
    python -m benchmarks.render --root /data/ShapeNetCore.v2 --device cuda

Writes benchmarks/results/render.json (render_cuda.json). On a CPU every method gets the same meshes, cameras and size
of picture in one process, mesh by mesh, in one thread; seconds are CPU seconds a view after the mesh is loaded.

    ours        `renderer.render`, which the stage calls: cameras, acceleration structure, rays, shading, 8-bit gray;
                all views of a mesh
    cast_rays   the floor: Open3D's acceleration structure and bare `cast_rays`, all views, rays made beforehand
    vtk         an off-screen window, lit as ours, read back as 8-bit RGBA; all views. It draws with OpenGL, which is
                Mesa's llvmpipe where there is no GPU, as below any other viewer without a display
    pytorch3d   MeshRasterizer with the project's shader (cheaper than any of PyTorch3D's own); one view of each mesh of
                a sample, drawn from all alike

Ratios are medians over meshes. Pictures are compared with pytorch3d's: mean difference of gray in steps of 1/255, and
the share of pixels that show the object in one and not in the other. Memory is what the peak of a fresh process grows
by, against the number of views of one mesh.

On CUDA: views a second by device, the pictures against the CPU path's, and a mesh of a million faces with bins and
without.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from pytorch3d.renderer import MeshRasterizer, MeshRendererWithFragments, RasterizationSettings
from pytorch3d.structures import Meshes

from benchmarks import common
from pipeline import render
from pipeline.geometry import meshes, rays, renderer
from pipeline.geometry.meshes import Mesh
from pipeline.geometry.open3d import o3d, scene
from pipeline.records.records import seeded
from pipeline.runtime.params import load
from pipeline.sources.layout import ModelRef
from pipeline.sources.registry import LAYOUTS

LIBRARIES = ("easypytorch3d", "numpy", "open3d", "torch")
Pictures = tuple[np.ndarray, np.ndarray]  # gray (V, H, W) uint8 and masks (V, H, W) bool


def read(ref: ModelRef, root: Path, params: render.Params) -> tuple[Mesh, np.ndarray]:
    """The normalised mesh of a model and the cameras that the stage draws for it."""
    mesh, _ = meshes.normalise(meshes.read(ref.read(root), ref.extension), LAYOUTS[ref.layout].rotation)
    radius = np.linalg.norm(mesh.vertices, axis=1).max()
    return mesh, render.draw_cameras(f"{ref.synset}/{ref.model_id}", radius, params)


def pytorch3d(
    mesh: Mesh, drawn: np.ndarray, height: int, width: int, device: str = "cpu", bin_size: int | None = None
) -> Pictures:
    cameras = renderer.make_cameras(drawn, device)
    vertices, faces = torch.tensor(mesh.vertices, dtype=torch.float32), torch.tensor(mesh.faces)
    settings = RasterizationSettings((height, width), bin_size=bin_size)
    own = MeshRendererWithFragments(MeshRasterizer(raster_settings=settings), renderer.GrayscaleShader())
    scene = Meshes([vertices], [faces]).to(device).extend(len(drawn))
    picture, fragments = own(scene, cameras=cameras, lights=renderer.make_lights(cameras, drawn))
    gray = (picture[..., 0] * 255).round().to(torch.uint8)
    return gray.cpu().numpy(), (fragments.pix_to_face[..., 0] >= 0).cpu().numpy()


def floor(mesh: Mesh, drawn: np.ndarray, height: int, width: int) -> float:
    """CPU seconds of an acceleration structure and the bare casting of all rays."""
    bases = rays.ray_bases(renderer.make_cameras(drawn)).numpy()
    every = [o3d.core.Tensor(rays.rays_through(basis, height, width)) for basis in bases]

    def cast() -> None:
        structure = scene(mesh.vertices, mesh.faces)
        for view in every:
            structure.cast_rays(view, nthreads=1)

    return common.seconds(cast)[0]


class Vtk:
    """VTK's off-screen window; made once, as its first picture costs seconds."""

    def __init__(self, height: int, width: int):
        os.environ.setdefault("LP_NUM_THREADS", "0")  # llvmpipe then draws in the thread that calls it
        import vtk

        self.vtk, self.size = vtk, (height, width)
        self.renderer, self.window, self.actor = vtk.vtkRenderer(), vtk.vtkRenderWindow(), vtk.vtkActor()
        self.renderer.SetBackground(1, 1, 1)
        self.renderer.AddActor(self.actor)
        self.renderer.AutomaticLightCreationOff()
        light = vtk.vtkLight()
        light.SetLightTypeToCameraLight()
        x, y, z = renderer.LIGHT_TO_VIEW
        light.SetPosition(-x, y, -z)  # its view frame is +X right, +Y up, +Z outward
        light.SetFocalPoint(0, 0, 0)
        self.renderer.AddLight(light)
        surface = self.actor.GetProperty()
        surface.SetInterpolationToFlat()
        surface.SetColor(*[renderer.ALBEDO] * 3)
        surface.SetAmbient(renderer.AMBIENT)
        surface.SetDiffuse(1 - renderer.AMBIENT)
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.SetSize(width, height)
        self.window.AddRenderer(self.renderer)

    def __call__(self, mesh: Mesh, drawn: np.ndarray) -> Pictures:
        from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy

        vtk, (height, width) = self.vtk, self.size
        points, cells, surface = vtk.vtkPoints(), vtk.vtkCellArray(), vtk.vtkPolyData()
        points.SetData(numpy_to_vtk(mesh.vertices.astype(np.float32), deep=True))
        cells.SetData(3, numpy_to_vtkIdTypeArray(mesh.faces.ravel(), deep=True))
        surface.SetPoints(points)
        surface.SetPolys(cells)
        mapper, camera = vtk.vtkPolyDataMapper(), self.renderer.GetActiveCamera()
        mapper.SetInputData(surface)
        self.actor.SetMapper(mapper)
        views = []
        for azimuth, elevation, distance, fov in drawn.astype(float):
            a, e = np.radians([azimuth, elevation])
            camera.SetPosition(distance * np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)]))
            camera.SetFocalPoint(0, 0, 0)
            camera.SetViewUp(0, 1, 0)
            camera.SetUseHorizontalViewAngle(width < height)
            camera.SetViewAngle(fov)
            self.renderer.ResetCameraClippingRange()
            self.window.Render()
            pixels = vtk.vtkUnsignedCharArray()
            self.window.GetRGBACharPixelData(0, 0, width - 1, height - 1, 1, pixels)
            views.append(vtk_to_numpy(pixels).reshape(height, width, 4)[::-1, :, 0])
        gray = np.stack(views)
        return gray, gray < 255


def difference(pictures: Pictures, truth: Pictures) -> tuple[float, float]:
    """(mean difference of gray in steps of 1/255, share of pixels in one silhouette alone)."""
    (gray, mask), (true_gray, true_mask) = pictures, truth
    return float(np.abs(gray.astype(int) - true_gray).mean()), float((mask != true_mask).mean())


def on_cpu(root: Path, count: int | None, sample: int, params: render.Params) -> dict[str, Any]:
    height, width = params.height, params.width
    refs = common.models(root, count)
    slow = set(seeded("render sample").permutation(len(refs))[:sample].tolist())
    vtk = Vtk(height, width)
    for _ in range(2):  # first calls are nobody's seconds
        mesh, drawn = read(refs[0], root, params)
        renderer.render(mesh, drawn, height, width), floor(mesh, drawn, height, width), vtk(mesh, drawn)
    rows = []
    for n, ref in enumerate(refs):
        mesh, drawn = read(ref, root, params)
        seconds: dict[str, float] = {}
        seconds["ours"], ours = common.seconds(lambda: renderer.render(mesh, drawn, height, width))  # noqa: B023
        seconds["cast_rays"] = floor(mesh, drawn, height, width)
        seconds["vtk"], theirs = common.seconds(lambda: vtk(mesh, drawn))  # noqa: B023
        row: dict[str, Any] = {name: value / len(drawn) for name, value in seconds.items()} | {"faces": len(mesh.faces)}
        if n in slow:
            row["pytorch3d"], truth = common.seconds(lambda: pytorch3d(mesh, drawn[:1], height, width))  # noqa: B023
            for name, (gray, mask) in {"ours": ours, "vtk": theirs}.items():
                row[f"{name}_apart"] = difference((gray[:1], mask[:1]), truth)
        rows.append(row)
    return summary(rows)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over meshes, of seconds and of ratios; of the differences also the worst."""

    def median(value: Callable[[dict[str, Any]], float], rows: list[dict[str, Any]]) -> float:
        return float(np.median([value(row) for row in rows]))

    compared = [row for row in rows if "pytorch3d" in row]
    seconds = {name: median(lambda row: row[name], rows) for name in ("ours", "cast_rays", "vtk")}  # noqa: B023
    pictures = {}
    for name in ("ours", "vtk"):
        apart = np.array([row[f"{name}_apart"] for row in compared])
        kinds = ("mean_difference_255", "silhouette_share")
        middle = dict(zip(kinds, np.median(apart, axis=0).tolist(), strict=True))
        worst = {f"worst_{kind}": value for kind, value in zip(kinds, apart.max(axis=0).tolist(), strict=True)}
        pictures[name] = middle | worst
    return {
        "meshes": len(rows),
        "median_faces": median(lambda row: row["faces"], rows),
        "compared_with_pytorch3d": len(compared),
        "median_faces_compared": median(lambda row: row["faces"], compared),
        "seconds_a_view": seconds | {"pytorch3d": median(lambda row: row["pytorch3d"], compared)},
        "pytorch3d_over_ours": median(lambda row: row["pytorch3d"] / row["ours"], compared),
        "ours_over_cast_rays": median(lambda row: row["ours"] / row["cast_rays"], rows),
        "vtk_over_ours": median(lambda row: row["vtk"] / row["ours"], rows),
        "pictures": pictures,
    }


def memory(root: Path, params: render.Params) -> dict[str, dict[str, int]]:
    """By number of views of one mesh: bytes that the peak of a process grows by, and how many of these are pictures."""
    grown = {}
    for views in (12, 48, 192):
        with get_context("spawn").Pool(1) as pool:
            growth = pool.apply(grow, (root, params, views))
        grown[str(views)] = {"growth": growth, "pictures": 2 * views * params.height * params.width}
    return grown


def grow(root: Path, params: render.Params, views: int) -> int:
    """Bytes by which the peak of this process, rendering so many views of a mesh, is above what it held before."""
    mesh, drawn = read(common.models(root, 1)[0], root, params)
    renderer.render(mesh, drawn[:1], params.height, params.width)
    before = held("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak so far
    renderer.render(mesh, np.resize(drawn, (views, 4)), params.height, params.width)
    return held("VmHWM") - before


def held(name: str) -> int:
    """A figure of this process's memory, in bytes; getrusage's peak would be its parent's where that was higher."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def on_cuda(root: Path, count: int, params: render.Params) -> dict[str, Any]:
    height, width = params.height, params.width
    refs = common.models(root, count)
    renderer.render(*read(refs[0], root, params), height, width, "cuda")
    apart, speeds = [], []
    for ref in refs:
        mesh, drawn = read(ref, root, params)
        start = time.perf_counter()  # the pictures come back to the host, so the GPU is done
        pictures = renderer.render(mesh, drawn, height, width, "cuda")
        speeds.append(len(drawn) / (time.perf_counter() - start))
        gray, mask, *_ = renderer.render(mesh, drawn, height, width)
        apart.append(difference((pictures[0], pictures[1]), (gray, mask)))
    return {
        "gpu": torch.cuda.get_device_name(),
        "meshes": len(refs),
        "views_a_second": float(np.median(speeds)),
        "mean_difference_255": float(np.median(apart, axis=0)[0]),
        "silhouette_share": float(np.median(apart, axis=0)[1]),
        "million_faces": million(height, width),
    }


def million(height: int, width: int) -> dict[str, Any]:
    """A mesh of 1.6 million faces, a fifth of them in one bin, through the stage's bins and without bins."""
    ball, grain = trimesh.creation.icosphere(8, 0.4), trimesh.creation.icosphere(7, 0.01)
    grain.apply_translation([0.42, 0, 0])
    vertices = np.concatenate([ball.vertices, grain.vertices])
    mesh, _ = meshes.normalise(Mesh(vertices, np.concatenate([ball.faces, grain.faces + len(ball.vertices)])))
    drawn = np.array([[30, 20, 2.2, 30], [200, 5, 2.2, 30]], np.float32)
    start = time.perf_counter()
    gray, mask, *_ = renderer.render(mesh, drawn, height, width, "cuda")
    seconds = time.perf_counter() - start
    apart = difference((gray, mask), pytorch3d(mesh, drawn, height, width, "cuda", bin_size=0))
    return {
        "faces": len(mesh.faces),
        "views_a_second": len(drawn) / seconds,
        "mean_difference_255_to_no_bins": apart[0],
        "silhouette_share_to_no_bins": apart[1],
    }


def show(result: dict[str, Any]) -> None:
    for name, value in result.items():
        if isinstance(value, dict):
            print(f"{name}:")
            show({f"  {key}": entry for key, entry in value.items()})
        else:
            print(f"{name:38}{value:.6g}" if isinstance(value, float) else f"{name:38}{value}")


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.render", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("data/embedded"), help="data set with meshes")
    parser.add_argument("--meshes", type=int, help="how many of them, evenly over the categories; all if not given")
    parser.add_argument("--sample", type=int, default=50, help="meshes that PyTorch3D gets on a CPU")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="on which this project renders")
    options = parser.parse_args()
    torch.set_num_threads(1)
    params = load("render", render.Params)
    size = {"height": params.height, "width": params.width, "views": params.views}
    if options.device == "cuda":
        result = size | on_cuda(options.root, options.meshes or 45, params)
        show(result)
        common.write("render_cuda", LIBRARIES, result)
        return
    result = size | on_cpu(options.root, options.meshes, options.sample, params)
    result["memory_bytes"] = memory(options.root, params)
    show(result)
    common.write("render", (*LIBRARIES, "vtk"), result)


if __name__ == "__main__":
    main()
