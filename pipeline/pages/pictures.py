"""Pictures of surfaces and the contact sheet that they make up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from pipeline.geometry.open3d import o3d, scene

AZIMUTH_DEG, ELEVATION_DEG, DISTANCE = 35.0, 25.0, 2.5  # where shapes are looked at from: front, right, above
REACH = 0.9  # how far from the origin a shape of the unit cube lies; the camera steps back from what goes beyond
MARGIN = 1.15  # around all shapes of a row
SAMPLES = 3  # rays per pixel and axis
SKY_RAYS, SKY_REACH = 12, 0.4  # rays per ray that look for shade, and how far off what throws it may be
DOT = 0.015  # radius of a point of a cloud
CELL = 200, 150  # width and height of a picture in the sheet
CAPTION, GAP, HEADER = 214, 12, 40
TALL = 6  # rows that a sheet of one column may have
ABREAST = 4  # pictures in a row of a gallery
INK, FAINT, LINE = (32, 36, 42), (122, 130, 140), (226, 229, 233)
TRUE_COLOUR, PREDICTED_COLOUR, FOUND_COLOUR = (0.62, 0.68, 0.76), (0.93, 0.68, 0.38), (0.66, 0.74, 0.58)
COLUMNS = "photo", "true shape", "reconstruction", "nearest image's shape"

Surface = tuple[np.ndarray, np.ndarray]  # vertices (N, 3), faces (M, 3)


@dataclass(frozen=True)
class Row:
    """One line of the sheet: a photo as large as CELL, gray or in colour, surfaces (maybe empty), lines of text."""

    photo: np.ndarray
    truth: Surface
    prediction: Surface
    found: Surface
    caption: tuple[str, ...]


def contact_sheet(rows: list[Row]) -> Image.Image:
    """COLUMNS of every row, all shapes of it whole, at one scale, from one side and in one light.

    More rows than TALL are set in two columns, the first half on the left.
    """
    columns = 1 if len(rows) <= TALL else 2
    tall = -(-len(rows) // columns)
    width = CAPTION + len(COLUMNS) * (CELL[0] + GAP) + GAP
    sheet = Image.new("RGB", (columns * width, HEADER + tall * (CELL[1] + GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    for column in range(columns):
        for place, title in enumerate(COLUMNS):
            middle = column * width + CAPTION + GAP + place * (CELL[0] + GAP) + CELL[0] / 2
            draw.text((middle, HEADER / 2), title, INK, font(17), anchor="mm")
    for index, row in enumerate(rows):
        column, line = divmod(index, tall)
        left, top = column * width, HEADER + line * (CELL[1] + GAP)
        draw.line((left + GAP, top, left + width - GAP, top), LINE)
        _draw_row(sheet, draw, row, left, top)
    return sheet


def _draw_row(sheet: Image.Image, draw: ImageDraw.ImageDraw, row: Row, left: int, top: int) -> None:
    coloured = (row.truth, TRUE_COLOUR), (row.prediction, PREDICTED_COLOUR), (row.found, FOUND_COLOUR)
    rays = camera_rays(corners([surface for surface, _ in coloured]))
    pictures = [shaded(surface, rays, colour) for surface, colour in coloured]
    for place, picture in enumerate([Image.fromarray(row.photo), *pictures]):
        sheet.paste(picture, (left + CAPTION + GAP + place * (CELL[0] + GAP), top + GAP // 2))
    for line, text in enumerate(row.caption):
        ink, size = (INK, 17) if line == 0 else (INK if line < 3 else FAINT, 14)
        draw.text((left + GAP, top + 10 + 21 * line + 2 * (line > 0)), text, ink, font(size))


def strip(rows: list[tuple[np.ndarray, Surface, list[Surface]]], titles: list[str]) -> Image.Image:
    """How predictions change: in a line each the photo, the true shape, and what was predicted by and by.

    Args:
        rows: photos (H, W) uint8 as large as CELL, true shapes, and as many predictions as there are `titles`.
    """
    width, height = CELL[0] + GAP, CELL[1] + GAP
    sheet = Image.new("RGB", ((2 + len(titles)) * width, HEADER + len(rows) * height), "white")
    draw = ImageDraw.Draw(sheet)
    for place, title in enumerate([*COLUMNS[:2], *titles]):
        draw.text(((place + 0.5) * width, HEADER / 2), title, INK, font(17), anchor="mm")
    for line, (photo, truth, predictions) in enumerate(rows):
        rays, top = camera_rays(corners([truth, *predictions])), HEADER + line * height
        draw.line((GAP // 2, top, sheet.width - GAP // 2, top), LINE)
        coloured = [(truth, TRUE_COLOUR), *((prediction, PREDICTED_COLOUR) for prediction in predictions)]
        pictures = [Image.fromarray(photo), *(shaded(surface, rays, colour) for surface, colour in coloured)]
        for place, picture in enumerate(pictures):
            sheet.paste(picture, (place * width + GAP // 2, top + GAP // 2))
    return sheet


def gallery(surfaces: list[Surface], captions: list[str]) -> Image.Image:
    """Surfaces, not all of them empty, in rows of ABREAST at one scale, each with its caption below."""
    rays = camera_rays(corners(surfaces))
    return tiles([shaded(surface, rays, PREDICTED_COLOUR) for surface in surfaces], captions)


def tiles(pictures: list[Image.Image], captions: list[str]) -> Image.Image:
    """Pictures as large as CELL in rows of ABREAST, each with its caption below."""
    width, height = CELL[0] + GAP, CELL[1] + HEADER
    rows = -(-len(pictures) // ABREAST)
    sheet = Image.new("RGB", (min(len(pictures), ABREAST) * width, rows * height), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left, top = index % ABREAST * width, index // ABREAST * height
        sheet.paste(picture, (left + GAP // 2, top))
        draw.text((left + width / 2, top + CELL[1] + HEADER / 2), caption, INK, font(15), anchor="mm")
    return sheet


def both_sides(surface: Surface) -> Image.Image:
    """A surface that is not empty, from the front and, turned by half, from behind."""
    return gallery([surface, (turned(surface[0]), surface[1])], ["from the front", "from behind"])


def turned(vertices: np.ndarray) -> np.ndarray:
    """Vertices (N, 3) turned by half about Y."""
    return vertices * np.array([-1, 1, -1], vertices.dtype)


def portrait(seen: np.ndarray, surface: Surface) -> Image.Image:
    """What a network saw, (H, W) or (H, W, 3) uint8, and a surface from the front and, turned by half, behind.

    The surface is not empty.
    """
    vertices, faces = surface
    behind = turned(vertices)
    rays = camera_rays(np.concatenate([vertices, behind]))
    pictures = [shaded((points, faces), rays, PREDICTED_COLOUR) for points in (vertices, behind)]
    photo = ImageOps.contain(Image.fromarray(seen), CELL)
    sheet = Image.new("RGB", (3 * (CELL[0] + GAP), CELL[1] + GAP), "white")
    sheet.paste(photo, ((CELL[0] + GAP - photo.width) // 2, (CELL[1] + GAP - photo.height) // 2))
    for place, picture in enumerate(pictures, start=1):
        sheet.paste(picture, (place * (CELL[0] + GAP) + GAP // 2, GAP // 2))
    return sheet


def corners(surfaces: Sequence[Surface]) -> np.ndarray:
    """(N, 3) the vertices of all faces of the surfaces, which may be empty."""
    return np.concatenate([np.zeros((0, 3)), *(vertices[np.unique(faces)] for vertices, faces in surfaces)])


def camera_rays(vertices: np.ndarray, samples: int = SAMPLES) -> np.ndarray:
    """(H, W, 6) float32 origins and unit directions, samples^2 a pixel of a cell, which show all `vertices` (N, 3)."""
    if not len(vertices):
        vertices = np.array([[REACH, 0.0, 0.0]])  # nothing is to be seen, from wherever
    right_up_forward, shape = camera(), np.array([CELL[0] / CELL[1], 1])
    eye = -DISTANCE * max(1.0, np.linalg.norm(vertices, axis=1).max() / REACH) * right_up_forward[2]
    seen = (vertices - eye) @ right_up_forward.T
    half = MARGIN * (np.abs(seen[:, :2]) / seen[:, 2:] / shape).max() * shape
    width, height = CELL[0] * samples, CELL[1] * samples
    x = ((np.arange(width) + 0.5) / width * 2 - 1) * half[0]
    y = (1 - (np.arange(height) + 0.5) / height * 2) * half[1]
    directions = unit(np.stack([*np.meshgrid(x, y), np.ones((height, width))], axis=-1) @ right_up_forward)
    return np.concatenate([np.broadcast_to(eye, directions.shape), directions], axis=-1).astype(np.float32)


def camera() -> np.ndarray:
    """(3, 3) the directions right, up and forward of the picture, in the normalised frame."""
    azimuth, elevation = np.radians([AZIMUTH_DEG, ELEVATION_DEG])
    across = np.cos(elevation)
    forward = np.array([-across * np.sin(azimuth), -np.sin(elevation), across * np.cos(azimuth)])
    right = unit(np.cross(forward, [0.0, 1.0, 0.0]))
    return np.stack([right, np.cross(right, forward), forward])


def shaded(
    surface: Surface, rays: np.ndarray, colour: tuple[float, float, float], sky_rays: int = SKY_RAYS
) -> Image.Image:
    """The surface as the rays see it, in daylight, on white; small pictures need few rays to the sky."""
    vertices, faces = surface
    if not len(faces):
        cell = Image.new("RGB", CELL, "white")
        ImageDraw.Draw(cell).text((CELL[0] / 2, CELL[1] / 2), "nothing", FAINT, font(15), anchor="mm")
        return cell
    structure = scene(vertices, faces, threads=0)
    found = {name: value.numpy() for name, value in structure.cast_rays(o3d.core.Tensor(rays)).items()}
    hit = np.isfinite(found["t_hit"])
    face, (u, v) = found["primitive_ids"][hit], found["primitive_uvs"][hit].T
    weights = np.stack([1 - u - v, u, v], axis=1)
    normal = unit((vertex_normals(surface)[faces[face]] * weights[..., None]).sum(1))
    # Meshes that cut through themselves show inner sides and folds, where an average of normals may point inwards.
    side = found["primitive_normals"][hit]
    side = -side * np.sign((side * rays[hit][:, 3:]).sum(1, keepdims=True))
    normal = np.where((normal * side).sum(1, keepdims=True) < 0, side, normal)
    point = rays[hit][:, :3] + found["t_hit"][hit, None] * rays[hit][:, 3:]
    sun = unit(np.array([-0.5, 0.9, -0.8]) @ camera())
    brightness = 0.5 * open_sky(structure, point, normal, sky_rays) + 0.6 * (normal @ sun).clip(0)
    image = np.ones((*hit.shape, 3))
    image[hit] = (brightness[:, None] * np.array(colour) ** 2.2).clip(0, 1) ** (1 / 2.2)
    return Image.fromarray((image * 255).round().astype(np.uint8)).resize(CELL, Image.Resampling.BOX)


def dots(points: np.ndarray) -> Surface:
    """A ball for each of the points (P, 3)."""
    ball = o3d.geometry.TriangleMesh.create_icosahedron()
    vertices, faces = DOT * unit(np.asarray(ball.vertices)), np.asarray(ball.triangles)
    starts = len(vertices) * np.arange(len(points))
    return (points[:, None] + vertices).reshape(-1, 3), (starts[:, None, None] + faces).reshape(-1, 3)


def vertex_normals(surface: Surface) -> np.ndarray:
    """(N, 3) outward unit normals, averaged over two rings of faces, as grids have stairs where shapes have slopes."""
    vertices, faces = surface
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    of_faces = np.cross(b - a, c - a)
    for _ in range(2):
        normals = np.zeros(vertices.shape)
        for k in range(3):
            np.add.at(normals, faces[:, k], of_faces)
        normals = unit(normals)
        of_faces = normals[faces].sum(1)
    return normals


def open_sky(scene: o3d.t.geometry.RaycastingScene, point: np.ndarray, normal: np.ndarray, count: int) -> np.ndarray:
    """(N,) share of the hemisphere over each surface point that nothing near covers, weighted by the cosine."""
    rng = np.random.default_rng(0)
    shares = np.zeros(len(point))
    for _ in range(count):
        # A random unit vector added to the normal is distributed by the cosine.
        direction = unit(normal + unit(rng.standard_normal(normal.shape)) * 0.999)
        rays = np.concatenate([point + 2e-3 * normal, direction], axis=1).astype(np.float32)
        shares += ~scene.test_occlusions(o3d.core.Tensor(rays), tfar=SKY_REACH).numpy()
    return shares / count


def unit(vectors: np.ndarray) -> np.ndarray:
    squares = vectors * vectors
    length = np.sqrt(squares[..., 0] + squares[..., 1] + squares[..., 2])  # NumPy's sum over three is slow
    return vectors / np.maximum(length, 1e-12)[..., None]


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
