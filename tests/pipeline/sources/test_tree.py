from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from pipeline.geometry.meshes import MeshError
from pipeline.records.parallel import parallel
from pipeline.sources import tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "file.obj").write_bytes(b"content")
    (folder / ".hidden").write_bytes(b"")
    (folder / "empty").mkdir()
    with zipfile.ZipFile(folder / "c.ZIP", "w") as archive:
        archive.writestr("x/y.obj", b"zipped")
        archive.mkdir("z") if hasattr(archive, "mkdir") else archive.writestr("z/", b"")
    return folder


def test_files_entries_and_empty_folders(root: Path) -> None:
    files, links = tree.walk(root)
    assert files == ["a/b/", "a/file.obj", "c.ZIP!/x/y.obj", "empty/"] and not links
    assert tree.read(root, "a/file.obj") == b"content" and tree.read(root, "c.ZIP!/x/y.obj") == b"zipped"


def test_stamps_follow_the_content(root: Path) -> None:
    before = [tree.stamp(root, location) for location in ("a/file.obj", "c.ZIP!/x/y.obj")]
    (root / "a" / "file.obj").write_bytes(b"changed")
    with zipfile.ZipFile(root / "c.ZIP", "w") as archive:
        archive.writestr("first", b"other")
        archive.writestr("x/y.obj", b"zipped")
    after = [tree.stamp(root, location) for location in ("a/file.obj", "c.ZIP!/x/y.obj")]
    assert after[0] != before[0] and after[1] == before[1]  # of an entry, the content alone
    with zipfile.ZipFile(root / "c.ZIP", "w") as archive:
        archive.writestr("x/y.obj", b"zopped")
    assert tree.stamp(root, "c.ZIP!/x/y.obj") != before[1]


def test_links_within_the_root_are_read_and_others_refused(root: Path) -> None:
    (root / "inside.obj").symlink_to(root / "a" / "file.obj")
    (root.parent / "secret").mkdir()
    (root.parent / "secret" / "s.obj").write_bytes(b"secret")
    (root / "outside.obj").symlink_to(root.parent / "secret" / "s.obj")
    (root / "away").symlink_to(root.parent / "secret")
    (root / "back").symlink_to(root)
    (root / "round").symlink_to(root / "round")
    files, links = tree.walk(root)
    assert links == ["away"] and {"inside.obj", "outside.obj", "round"} < set(files)
    assert tree.read(root, "inside.obj") == b"content"
    for location in ("outside.obj", "away/s.obj", "../secret/s.obj"):
        with pytest.raises(MeshError, match="expected a file below dataset.root") as caught:
            tree.read(root, location)
        assert caught.value.reason == "outside_root"


def test_a_root_that_is_a_link_is_fine(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert tree.read(tmp_path / "link", "a/file.obj") == b"content"
    assert tree.walk(tmp_path / "link") == tree.walk(root)


@pytest.mark.parametrize(
    ("location", "reason"), [("c.ZIP!/x/no.obj", "unreadable"), ("c.ZIP!/../x", "unsafe_path"), ("a", "unreadable")]
)
def test_what_can_not_be_read_has_a_reason(root: Path, location: str, reason: str) -> None:
    with pytest.raises(MeshError) as caught:
        tree.read(root, location)
    assert caught.value.reason == reason


def test_too_large_is_told_before_reading(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_BYTES", 5)
    for location in ("a/file.obj", "c.ZIP!/x/y.obj"):
        with pytest.raises(MeshError, match="expected at most 5 bytes, got [67]") as caught:
            tree.read(root, location)
        assert caught.value.reason == "too_large"


def test_forks_read_a_zip_that_is_open_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a fork inherits open, it reads at one place with its parent and the other forks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEVIEW_WORKERS", "2")
    contents = {f"{n}.obj": bytes([n]) * 300_000 for n in range(60)}
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    calls = [(tmp_path, f"c.zip!/{name}") for name in contents]
    for call in calls:
        tree.stamp(*call)
    assert [found for _, found in sorted(parallel(tree.read, calls, "test"))] == list(contents.values())
