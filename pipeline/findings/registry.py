"""Which kind of file a file is, by the end of its name."""

from __future__ import annotations

from pathlib import Path

from pipeline.findings.finding import Finding

GRIDS = (".binvox", ".mat", ".npy", ".npz")
NETWORKS = (".pt", ".safetensors")
APPLE = (".heic", ".heif")  # pictures that Pillow reads only with a plug-in, which is told then
EXPECTED = (
    "expected a shard (.h5), a record archive (.zip), a mesh, points (.pts, .xyz), a grid (.binvox, .mat, .npy, .npz), "
    "a trained system (.pt, .safetensors) or a photo"
)


def look(path: Path) -> Finding:
    """What is in a file.

    Raises:
        ValueError: it is none of those that the project knows, or can't be read.
        OSError: as Python's.
    """
    if not path.is_file():
        raise ValueError(f"{path}: expected a file, found {'a folder' if path.is_dir() else 'none'}")
    end = path.suffix.lower()  # each kind imports what it needs, and no other waits for that
    if end == ".h5":
        from pipeline.findings import shards

        return shards.look(path)
    if end == ".zip":
        from pipeline.findings import archives

        return archives.look(path)
    if end in GRIDS:
        from pipeline.findings import grids

        return grids.look(path)
    if end in NETWORKS:
        from pipeline.findings import networks

        return networks.look(path)
    if is_mesh(end):
        from pipeline.findings import meshes

        return meshes.look(path)
    if is_picture(end):
        from pipeline.findings import photos

        return photos.look(path)
    raise ValueError(f"{path}: {EXPECTED}, got a name that ends in '{end}'")


def is_mesh(end: str) -> bool:
    """Of triangles or of points."""
    from pipeline.geometry.meshes import FORMATS
    from pipeline.geometry.readers.points import EXTENSIONS

    return end[1:] in (*FORMATS, *EXTENSIONS)


def is_picture(end: str) -> bool:
    from PIL import Image

    return end in APPLE or end in Image.registered_extensions()
