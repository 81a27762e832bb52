from __future__ import annotations

import io
import struct
import zipfile
from typing import Any

import pytest

from pipeline.geometry import meshes, zips
from pipeline.geometry.meshes import MeshError
from pipeline.sources.layout import unpacked

NAMES = {"3mf": ("_rels/.rels", "3D/3dmodel.model"), "zae": ("manifest.xml", "a.dae"), "3dxml": ("a.xml",)}


def zipped(name: str, data: bytes, announced: int | None = None) -> bytes:
    """One entry, of another size as the zip's directory tells it."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    content = bytearray(whole.getvalue())
    if announced is not None:
        struct.pack_into("<I", content, content.rindex(b"PK\1\2") + 24, announced)
    return bytes(content)


@pytest.mark.parametrize(("extension", "name"), [(end, name) for end, names in NAMES.items() for name in names])
def test_a_part_that_would_be_too_large_is_told_by_its_size(
    extension: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zips, "MAX_BYTES", 10**6)
    with pytest.raises(MeshError, match="expected at most 1000000 bytes, got 1000001") as caught:
        meshes.read(zipped(name, bytes(1_000_001)), extension)
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("extension", NAMES)
def test_no_more_is_unpacked_than_announced(extension: str, monkeypatch: pytest.MonkeyPatch) -> None:
    most = []
    inflate = zipfile._get_decompressor  # type: ignore[attr-defined]

    def watched(*of: Any) -> Any:
        own = inflate(*of)

        class Watched:
            def decompress(self, data: bytes, size: int) -> bytes:
                found = own.decompress(data, size)
                most.append(len(found))
                return found

            def __getattr__(self, name: str) -> Any:
                return getattr(own, name)

        return Watched()

    monkeypatch.setattr(zipfile, "_get_decompressor", watched)
    with pytest.raises(MeshError) as caught:
        meshes.read(zipped(NAMES[extension][-1], bytes(5_000_000), 100), extension)
    assert caught.value.reason == "unreadable" and 0 < max(most) <= 10_000


def test_an_entry_that_ends_too_soon_is_damaged() -> None:
    with zipfile.ZipFile(io.BytesIO(zipped("a", b"abc", 9))) as archive, pytest.raises(zips.BROKEN_ZIP):
        zips.content(archive, "a")
    with zipfile.ZipFile(io.BytesIO(zipped("a", b"abc"))) as archive:
        assert zips.content(archive, "a") == b"abc"


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_however_an_entry_is_packed_it_is_read_whole(how: int) -> None:
    whole, data = io.BytesIO(), bytes(range(251)) * 1000
    with zipfile.ZipFile(whole, "w", how) as archive:
        archive.writestr("a", data)
    with zipfile.ZipFile(whole) as archive:
        assert zips.content(archive, "a") == data


def test_what_gzip_unpacks_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    import gzip

    whole = gzip.compress(bytes(50))
    assert unpacked("a.gz", whole) == bytes(50)
    monkeypatch.setattr("pipeline.sources.layout.MAX_BYTES", 49)
    monkeypatch.setattr(zips, "MAX_BYTES", 49)
    with pytest.raises(MeshError, match="at most 49 bytes"):
        unpacked("a.gz", whole)
