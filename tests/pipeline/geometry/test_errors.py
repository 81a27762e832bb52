from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import pytest

from pipeline.geometry import meshes
from pipeline.geometry.errors import MeshError

TEXT = b"<COLLADA>" + bytes(range(256)) * 8


def zipped(name: str, how: int) -> bytearray:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", how) as archive:
        archive.writestr(name, TEXT)
    return bytearray(content.getvalue())


def encrypted(data: bytearray) -> None:
    for head, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(head) + place] |= 1


def unknown(data: bytearray) -> None:
    for head, place in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        data[data.index(head) + place] = 99


def noisy(data: bytearray) -> None:
    begin = data.index(b"PK\3\4") + 60
    data[begin : begin + 40] = bytes(40 * [255])


def cut(data: bytearray) -> None:
    del data[len(data) // 2 :]


@pytest.mark.parametrize("damage", [encrypted, unknown, noisy, cut])
@pytest.mark.parametrize("how", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
@pytest.mark.parametrize(("name", "extension"), [("a.dae", "zae"), ("3D/3dmodel.model", "3mf")])
def test_a_broken_zip_is_told_as_one(name: str, extension: str, how: int, damage: Callable[[bytearray], None]) -> None:
    data = zipped(name, how)
    damage(data)
    with pytest.raises(MeshError, match="expected (a zip with COLLADA|3MF's zip), got") as caught:
        meshes.read(bytes(data), extension)
    assert caught.value.reason == "unreadable"
