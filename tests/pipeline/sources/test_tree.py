from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest

from pipeline.geometry import zips
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


def test_links_out_of_an_open_root_are_followed(root: Path) -> None:
    """To files, zips and folders, also where they lead round in circles, but not to what the root itself lies in."""
    away = root.parent / "away"
    (away / "deep").mkdir(parents=True)
    (away / "s.obj").write_bytes(b"away")
    with zipfile.ZipFile(away / "blob", "w") as archive:
        archive.writestr("m.obj", b"in a zip")
    (root / "one.obj").symlink_to(away / "s.obj")
    (root / "hub.zip").symlink_to(away / "blob")
    (root / "set").symlink_to(away)
    (root / "up").symlink_to(root.parent)
    (away / "deep" / "back").symlink_to(root)
    (away / "deep" / "round").symlink_to(away)
    (away / "deep" / "again").symlink_to(away / "deep")
    closed, opened = tree.root_of(str(root), False), tree.root_of(str(root), True)
    assert tree.walk(closed)[1] == ["set", "up"]
    files, links = tree.walk(opened)
    assert links == ["up"] and len(files) == len(set(files))
    assert {"one.obj", "hub.zip!/m.obj", "set/s.obj", "a/file.obj"} < set(files)
    for location, content in (("one.obj", b"away"), ("hub.zip!/m.obj", b"in a zip"), ("set/s.obj", b"away")):
        for whole in (opened, opened.resolve(), pickle.loads(pickle.dumps(opened.resolve()))):
            assert tree.read(whole, location) == content
        with pytest.raises(MeshError, match="expected .* below dataset.root, or dataset.follow_links on, got a link"):
            tree.read(closed, location)
    for location in ("../away/s.obj", str(away / "s.obj"), "a/../../away/s.obj"):
        with pytest.raises(MeshError, match="outside_root|expected a file below"):
            tree.read(opened, location)


def test_links_of_dvc_to_its_cache_are_followed(root: Path) -> None:
    cached = root.parent / ".dvc" / "cache" / "files" / "md5" / "0a" / "1234567890abcdef1234567890abcd"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"cached")
    (root / "x.obj").symlink_to(cached)
    assert tree.read(root, "x.obj") == b"cached" and "x.obj" in tree.walk(root)[0]
    with pytest.raises(MeshError, match="expected a file below"):
        tree.read(root, "../.dvc/cache/files/md5/0a/1234567890abcdef1234567890abcd")


def test_entries_with_backslashes_are_paths(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        for name in ("a\\b\\c.obj", "a\\d/e.obj", "a\\empty\\"):
            archive.writestr(zipfile.ZipInfo(name), name)
        archive.writestr(zipfile.ZipInfo("..\\up.obj"), "x")
    files, _ = tree.walk(tmp_path)
    assert files == ["w.zip!/../up.obj", "w.zip!/a/b/c.obj", "w.zip!/a/d/e.obj"]
    assert tree.read(tmp_path, files[1]) == b"a\\b\\c.obj" and tree.stamp(tmp_path, files[2])[0].startswith("9 ")
    with pytest.raises(MeshError) as caught:
        tree.read(tmp_path, files[0])
    assert caught.value.reason == "unsafe_path"


def test_a_zip_that_is_cut_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "whole", "w") as archive:
        archive.writestr("a.obj", bytes(1000))
    (tmp_path / "cut.zip").write_bytes((tmp_path / "whole").read_bytes()[:500])
    with pytest.raises(ValueError, match="cut.zip: expected a zip of meshes, got the beginning of one: it is cut"):
        tree.walk(tmp_path)


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("c.ZIP!/../x", "unsafe_path"),
        ("a", "unreadable"),
        ("a/\0.png", "unsafe_path"),
        ("a/\ud800.png", "unsafe_path"),
    ],
)
def test_what_can_not_be_read_has_a_reason(root: Path, location: str, reason: str) -> None:
    with pytest.raises(MeshError) as caught:
        tree.read(root, location)
    assert caught.value.reason == reason
    if reason == "unsafe_path" and "!/" not in location:
        with pytest.raises(MeshError):
            tree.stamp(root, location)


@pytest.mark.parametrize("location", ["a/no.obj", "c.ZIP!/x/no.obj"])
def test_what_is_not_there_is_not_there(root: Path, location: str) -> None:
    for look in (tree.read, tree.stamp):
        with pytest.raises(FileNotFoundError, match="no.obj"):
            look(root, location)


def test_too_large_is_told_before_reading(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zips, "MAX_BYTES", 5)
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
