"""The one error of whatever is wrong with a mesh, and what zips raise."""

from __future__ import annotations

import lzma
import zipfile
import zlib

# What zipfile raises of a zip: that it is none or cut, that an entry is damaged, that its compression is unknown to
# Python (NotImplementedError), that it is encrypted (RuntimeError).
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError)


class MeshError(ValueError):
    """A mesh that can't be used; `reason` is a short code for tables, the message says what was found."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[MeshError], tuple[str, str]]:  # crosses process borders
        return MeshError, (self.reason, str(self))
