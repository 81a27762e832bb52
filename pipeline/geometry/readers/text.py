"""Text as the readers of lines take it, whatever wrote it."""

from __future__ import annotations

import codecs
import re

from pipeline.geometry.errors import MeshError

# UTF-32 first: its mark begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_COMMENT = re.compile(rb"(?m)#.*|^comment\b.*")


def plain(data: bytes) -> bytes:
    r"""ASCII or an extension of it, without byte order marks, lines ending in `\n` alone.

    Raises:
        MeshError: `unreadable`, where UTF-16 or UTF-32 is announced and does not follow, or bytes of 0 stand in the
            text, but for comments, as of a part that was never written.
    """
    if encoding := _wide(data):
        try:
            data = data.decode(encoding).encode()
        except UnicodeError as error:
            raise MeshError("unreadable", f"expected text in {encoding.upper()}, got {error}") from error
    data = data.rstrip(b"\0")
    if b"\0" in data:
        data = _COMMENT.sub(lambda found: found[0].replace(b"\0", b" "), data)
        if b"\0" in data:
            raise MeshError("unreadable", f"expected text, got a byte of 0 after {data.index(0)} others")
    if codecs.BOM_UTF8 in data:
        data = data.replace(codecs.BOM_UTF8, b"")
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data


def _wide(data: bytes) -> str:
    """The encoding where a character takes more than a byte, by its mark or by every other byte being 0; else empty."""
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return encoding
    even, odd = data[:40:2], data[1:40:2]
    if len(odd) == 20 and 0 not in even and not any(odd):
        return "utf-16-le"
    if len(odd) == 20 and 0 not in odd and not any(even):
        return "utf-16-be"
    return ""
