"""Zips as models come in them: an entry is read up to the size that it announces, and that has a limit."""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib

from pipeline.geometry.errors import MeshError

MAX_BYTES = 1 << 30  # of one file or entry; ShapeNetCore's largest mesh has a tenth of it
# What zipfile raises of a zip: that it is none or cut, that an entry is damaged, that its compression is unknown to
# Python (NotImplementedError), that it is encrypted (RuntimeError).
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError)


def content(archive: zipfile.ZipFile, name: str | zipfile.ZipInfo) -> bytes:
    """What an entry holds.

    Raises:
        MeshError: `too_large` (it announces more than MAX_BYTES), `unreadable` (it is neither stored nor deflated).
        BROKEN_ZIP: it is damaged, or holds more or less than it announces.
        KeyError: there is none of that name.
    """
    info = name if isinstance(name, zipfile.ZipInfo) else archive.getinfo(name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise MeshError("unreadable", f"expected a stored or deflated zip entry, got type {info.compress_type}")
    refuse_large(info.file_size)
    with archive.open(info) as file:
        found = file.read(info.file_size)  # without a size, zipfile would unpack all before it cuts
    if len(found) != info.file_size:
        raise zipfile.BadZipFile(f"{info.file_size} bytes announced, {len(found)} found")
    return found


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
