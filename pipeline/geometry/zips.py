"""Zips as models come in them: an entry is read up to the size that it announces, and that has a limit."""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib

from pipeline.geometry.errors import MeshError

MAX_BYTES = 1 << 30  # of one file or entry; ShapeNetCore's largest mesh has a tenth of it
PIECE = 1 << 16  # bytes that are read at a time
# What zipfile raises of a zip: that it is none or cut, that an entry is damaged, and as RuntimeError that it is
# encrypted or packed in a way unknown to Python.
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError)


def content(archive: zipfile.ZipFile, name: str | zipfile.ZipInfo) -> bytes:
    """What an entry holds.

    Raises:
        MeshError: `too_large` (it announces more than MAX_BYTES).
        BROKEN_ZIP: it is damaged, or holds more or less than it announces.
        KeyError: there is none of that name.
    """
    info = name if isinstance(name, zipfile.ZipInfo) else archive.getinfo(name)
    refuse_large(info.file_size)
    found, left = [], info.file_size
    with archive.open(info) as file:
        while left and (part := file.read(min(left, PIECE))):  # zipfile unpacks all that it reads before it cuts
            found.append(part)
            left -= len(part)
    if left:
        raise zipfile.BadZipFile(f"{info.file_size} bytes announced, {info.file_size - left} found")
    return b"".join(found)


def proved(data: bytes) -> bytes:
    """A zip that a library may read as it likes, as no entry holds more than it says; raises as `content`."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        refuse_large(sum(info.file_size for info in archive.infolist()))
        for info in archive.infolist():
            content(archive, info)
    return data


def refuse_large(size: int) -> None:
    """MeshError `too_large` of so many bytes, where they are too many."""
    if size > MAX_BYTES:
        raise MeshError("too_large", f"expected at most {MAX_BYTES} bytes, got {size}")
