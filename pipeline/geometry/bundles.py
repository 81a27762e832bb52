"""Several files as the bytes of one, for a mesh that comes in parts: a stored zip that says no time."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator

EXTENSION = "parts"


def bundled(files: Iterable[tuple[str, bytes]]) -> bytes:
    """(name, content) of each, in order."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name), data)
    return content.getvalue()


def opened(data: bytes) -> Iterator[tuple[str, bytes]]:
    """What `bundled` was given."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        yield from ((name, archive.read(name)) for name in archive.namelist())
