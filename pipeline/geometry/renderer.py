"""What cameras see of meshes, by PyTorch3D: through Embree's rays on a CPU, through its own rasterizer on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pytorch3d.renderer import (
    DirectionalLights,
    FoVPerspectiveCameras,
    MeshRasterizer,
    MeshRendererWithFragments,
    RasterizationSettings,
    look_at_view_transform,
)
from pytorch3d.renderer.cameras import CamerasBase
from pytorch3d.renderer.mesh.rasterizer import Fragments
from pytorch3d.structures import Meshes
from torch import Tensor, nn

from pipeline.geometry.looks.appearance import Painted, plain
from pipeline.geometry.looks.palette import Palette, palette
from pipeline.geometry.meshes import Mesh

ALBEDO, AMBIENT = 0.85, 0.35  # brightness of the object in full light, and the share of it that shade keeps
LIGHT_TO_VIEW = (0.5, 0.7, -1.0)  # towards the usual light in the view frame (+X left, +Y up, +Z inward)
CAST_AT_ONCE = 12  # views; more would cost memory and save no time
RASTERIZED_AT_ONCE = 96  # views on a GPU, of any number of meshes
BIN_ROOM = 12 * 200_000  # faces x views at once on a GPU, for which there is memory in coarse bins: 2 GB

# A normalised mesh, and what is drawn of each of its views: (V, 4) azimuth_deg, elevation_deg, distance and fov_deg, or
# (V, 7) with the direction towards the light in the view frame (+X left, +Y up, +Z inward) behind them.
Scene = tuple[Mesh, np.ndarray]
Pictures = tuple[np.ndarray, ...]  # views (V, H, W) uint8, masks (V, H, W) bool, then the maps that were asked for


def make_cameras(drawn: np.ndarray, device: str = "cpu") -> FoVPerspectiveCameras:
    """PyTorch3D's cameras of the views of a Scene."""
    azimuth, elevation, distance, fov = torch.from_numpy(drawn[:, :4]).T
    rotation, translation = look_at_view_transform(distance, elevation, azimuth)
    return FoVPerspectiveCameras(R=rotation, T=translation, fov=fov, device=device)


def world_to_view(drawn: np.ndarray) -> np.ndarray:
    """(V, 4, 4) float32 for column vectors, of the cameras that `make_cameras` makes."""
    matrix = make_cameras(drawn).get_world_to_view_transform().get_matrix()
    return matrix.transpose(1, 2).numpy()


def make_lights(cameras: CamerasBase, drawn: np.ndarray) -> DirectionalLights:
    """A light a camera, that goes with it; the usual one where none is drawn."""
    given = drawn[:, 4:] if drawn.shape[1] > 4 else np.tile(np.array(LIGHT_TO_VIEW, np.float32), (len(drawn), 1))
    to_light = torch.from_numpy(given).to(cameras.device)
    # PyTorch3D's R is for row vectors, world to view, so its transpose brings the light into the world.
    direction = (to_light[:, None] @ cameras.R.transpose(1, 2)).squeeze(1)
    return DirectionalLights(direction=direction, device=cameras.device)


class GrayscaleShader(nn.Module):
    """Constant colour in PyTorch3D's directional light, two-sided, by the faces' geometric normals.

    Gives (N, H, W, 1) float32, gray in [0, 1] on white. Each face is shaded once a view, then looked up.
    """

    def forward(
        self, fragments: Fragments, meshes_world: Meshes, cameras: CamerasBase, lights: DirectionalLights
    ) -> Tensor:
        directions = nn.functional.normalize(lights.direction)
        picture = torch.empty_like(fragments.pix_to_face, dtype=torch.float32)
        for n, (normals, turn, shown) in enumerate(_faces_shown(fragments, meshes_world, cameras)):
            picture[n, ..., 0] = _look_up(ALBEDO * _light(normals, turn, directions[n]), shown, 1.0)
        return picture


def _light(normals: Tensor, turn: Tensor, direction: Tensor) -> Tensor:
    """(F,) float32, the share of a colour that each face shows: Lambert's cosine, two-sided, and what shade keeps."""
    return AMBIENT + (1 - AMBIENT) * (normals @ direction * turn).clamp(min=0)


@dataclass(frozen=True)
class Seen:
    """What maps are made of: fragments, meshes in the world, cameras, lights, and the meshes' palettes, in their order.

    There are none unless colours are asked for.
    """

    fragments: Fragments
    meshes: Meshes
    cameras: CamerasBase
    lights: DirectionalLights
    palettes: Sequence[Palette]

    def faces_shown(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        return _faces_shown(self.fragments, self.meshes, self.cameras)


def normal_maps(seen: Seen) -> Tensor:
    """(N, H, W, 3) int8 normals, as `pipeline/render.py` has them."""
    maps = [
        _look_up((127 * turn[:, None] * normals @ seen.cameras.R[n]).round().to(torch.int8), shown, 0)
        for n, (normals, turn, shown) in enumerate(seen.faces_shown())
    ]
    return torch.stack(maps)


def depth_maps(seen: Seen) -> Tensor:
    """(N, H, W) float16 depth, as `pipeline/render.py` has it."""
    return seen.fragments.zbuf[..., 0].clamp(min=0).half()


def colour_maps(seen: Seen) -> Tensor:
    """(N, H, W, 3) uint8 colours on white, as `pipeline/render.py` has them: the looks of faces, in the same light."""
    directions = nn.functional.normalize(seen.lights.direction)
    maps = torch.full((*seen.fragments.pix_to_face.shape[:3], 3), 255, dtype=torch.uint8, device=directions.device)
    for n, (normals, turn, shown) in enumerate(seen.faces_shown()):
        hit = shown >= 0
        faces, weights = shown[hit], seen.fragments.bary_coords[n, ..., 0, :][hit]
        colour = seen.palettes[n % len(seen.palettes)].colour(faces, turn[faces] < 0, weights)
        light = _light(normals, turn, directions[n])[faces, None]
        maps[n][hit] = (colour * light).clamp(0, 1).mul_(255).round_().to(torch.uint8)
    return maps


MAPS: dict[str, Callable[[Seen], Tensor]] = {"depth": depth_maps, "normals": normal_maps, "color": colour_maps}


def _faces_shown(
    fragments: Fragments, meshes_world: Meshes, cameras: CamerasBase
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """For each view the normals of its mesh's faces (F, 3), their signs (F,) towards the camera, and which is where.

    The last is (H, W) int64 in 0..F-1, and -1 on the background.
    """
    starts = meshes_world.mesh_to_faces_packed_first_idx().tolist()
    counts = meshes_world.num_faces_per_mesh().tolist()
    normals = nn.functional.normalize(
        meshes_world.faces_normals_packed()
    )  # PyTorch3D leaves tiny faces' shorter than 1
    planes = (normals * meshes_world.verts_packed()[meshes_world.faces_packed()[:, 0]]).sum(dim=1)
    for n, centre in enumerate(cameras.get_camera_center()):
        mesh = n % len(meshes_world)
        own = slice(starts[mesh], starts[mesh] + counts[mesh])
        turn = torch.where(normals[own] @ centre < planes[own], -1.0, 1.0)
        shown = fragments.pix_to_face[n, ..., 0]
        yield normals[own], turn, (shown - starts[mesh]).clamp(min=-1) if mesh else shown


def _look_up(values: Tensor, shown: Tensor, background: float) -> Tensor:
    """(H, W, ...): the value (F, ...) of the face that each pixel of (H, W) shows, or the background's at -1."""
    return torch.cat([values, torch.full_like(values[:1], background)])[shown]


def render(
    mesh: Mesh, drawn: np.ndarray, height: int, width: int, device: str = "cpu", maps: Sequence[str] = ()
) -> Pictures:
    """Pictures of a Scene, with `maps` of MAPS, as the head of `pipeline/render.py` has them."""
    return render_all([(mesh, drawn)], height, width, device, maps)[0]


def render_all(
    scenes: Sequence[Scene], height: int, width: int, device: str = "cpu", maps: Sequence[str] = ()
) -> list[Pictures]:
    """As `render`, for several meshes, whose views share batches on a GPU."""
    if device == "cpu":
        return [cast(mesh, drawn, height, width, maps) for mesh, drawn in scenes]
    return rasterize(scenes, height, width, device, maps)


def cast(mesh: Mesh, drawn: np.ndarray, height: int, width: int, maps: Sequence[str] = ()) -> Pictures:
    """As `render`, by rays on one core of the CPU."""
    from pipeline.geometry import rays  # and with it Open3D, which a GPU has no need of

    scene, palettes = _meshes([mesh], "cpu"), _palettes([mesh], "cpu", maps)
    faces_only = not {"depth", "color"} & set(maps)
    rasterizer = rays.RayRasterizer(None, RasterizationSettings((height, width)), threads=1, faces_only=faces_only)
    renderer = MeshRendererWithFragments(rasterizer, GrayscaleShader())
    whole: list[np.ndarray] = []
    for first in range(0, len(drawn), CAST_AT_ONCE):
        span = slice(first, first + CAST_AT_ONCE)
        _fill(whole, len(drawn), span, _pictures(renderer, scene, palettes, drawn[span], "cpu", maps))
    return tuple(whole)


def rasterize(
    scenes: Sequence[Scene], height: int, width: int, device: str, maps: Sequence[str] = ()
) -> list[Pictures]:
    """As `render`, for several meshes, by PyTorch3D's rasterizer: as many views at once as there is memory for.

    Bins can't overflow (and lose faces): each has room for every face, and meshes too large for that go without bins.
    """
    drawn = np.concatenate([cameras for _, cameras in scenes])
    shown = [mesh for mesh, cameras in scenes for _ in cameras]
    whole: list[np.ndarray] = []
    for span in _spans([len(mesh.faces) for mesh in shown]):
        most = max(len(mesh.faces) for mesh in shown[span])
        room = {"max_faces_per_bin": most} if most <= BIN_ROOM else {"bin_size": 0}
        rasterizer = MeshRasterizer(raster_settings=RasterizationSettings((height, width), **room))
        renderer = MeshRendererWithFragments(rasterizer, GrayscaleShader())
        scene, palettes = _meshes(shown[span], device), _palettes(shown[span], device, maps)
        pictures = _pictures(renderer, scene, palettes, drawn[span], device, maps)
        _fill(whole, len(drawn), span, pictures)
    ends = np.cumsum([len(cameras) for _, cameras in scenes])[:-1]
    return list(zip(*(np.split(array, ends) for array in whole), strict=True))


def _spans(faces: Sequence[int]) -> Iterator[slice]:
    """Runs of views, by the numbers of faces that they show, for which there is memory at a time."""
    first, most = 0, 0
    for n, count in enumerate(faces):
        most = max(most, count)
        if n > first and (n - first == RASTERIZED_AT_ONCE or (n - first + 1) * most > BIN_ROOM):
            yield slice(first, n)
            first, most = n, count
    yield slice(first, len(faces))


def _meshes(meshes: Sequence[Mesh], device: str) -> Meshes:
    """PyTorch3D's meshes; what occurs again is brought to the device once."""
    once = {id(mesh): mesh for mesh in meshes}
    vertices = {key: torch.from_numpy(mesh.vertices.astype(np.float32)).to(device) for key, mesh in once.items()}
    faces = {key: torch.from_numpy(np.ascontiguousarray(mesh.faces)).to(device) for key, mesh in once.items()}
    return Meshes([vertices[id(mesh)] for mesh in meshes], [faces[id(mesh)] for mesh in meshes])


def _palettes(meshes: Sequence[Mesh], device: str, maps: Sequence[str]) -> list[Palette]:
    """The looks of the meshes, where colours are asked for; a mesh that has none is in the usual gray."""
    if "color" not in maps:
        return []
    once = {id(mesh): mesh.looks if isinstance(mesh, Painted) else plain(len(mesh.faces)) for mesh in meshes}
    made = {key: palette(looks, device) for key, looks in once.items()}
    return [made[id(mesh)] for mesh in meshes]


def _pictures(
    renderer: MeshRendererWithFragments,
    meshes: Meshes,
    palettes: Sequence[Palette],
    drawn: np.ndarray,
    device: str,
    maps: Sequence[str],
) -> list[np.ndarray]:
    cameras = make_cameras(drawn, device)
    lights = make_lights(cameras, drawn)
    picture, fragments = renderer(meshes, cameras=cameras, lights=lights)
    made = [picture[..., 0].mul_(255).round_().to(torch.uint8), fragments.pix_to_face[..., 0] >= 0]
    made += [MAPS[name](Seen(fragments, meshes, cameras, lights, palettes)) for name in maps]
    return [part.cpu().numpy() for part in made]


def _fill(whole: list[np.ndarray], views: int, span: slice, parts: list[np.ndarray]) -> None:
    """Puts the pictures of some of the views where they belong in arrays of all, which the first ones make."""
    whole += [np.empty((views, *part.shape[1:]), part.dtype) for part in parts[len(whole) :]]
    for array, part in zip(whole, parts, strict=True):
        array[span] = part
