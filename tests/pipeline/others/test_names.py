from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.others.names import named, numbered, photo

KEYS = [("02691156", "a", 0), ("02691156", "a", 1), ("03001627", "b", 0), ("03001627", "b", 1)]


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def found(folder: Path, keys: list[tuple[str, str, int]] = KEYS) -> dict[str, str]:
    files, _ = named(folder, keys)
    return {photo(key)[:-4]: path.relative_to(folder).as_posix() for key, path in files.items()}


def test_a_sample_has_one_of_several_names(tmp_path):
    touch(tmp_path, "02691156/a_0.obj", "02691156/a/1.ply", "b_00.npy", "b/001.glb")
    expected = {"02691156/a_0": "02691156/a_0.obj", "02691156/a_1": "02691156/a/1.ply"}
    assert found(tmp_path) == expected | {"03001627/b_0": "b_00.npy", "03001627/b_1": "b/001.glb"}


def test_a_file_of_a_model_answers_what_has_none_of_its_own(tmp_path):
    touch(tmp_path, "02691156/a.off", "03001627/b.off", "03001627/b_1.OFF")
    assert found(tmp_path) == {
        "02691156/a_0": "02691156/a.off",
        "02691156/a_1": "02691156/a.off",
        "03001627/b_0": "03001627/b.off",
        "03001627/b_1": "03001627/b_1.OFF",
    }


def test_a_model_that_two_synsets_have_is_called_with_its_synset(tmp_path):
    keys = [("02691156", "a", 0), ("03001627", "a", 0)]
    assert found(touch(tmp_path, "a_0.obj", "03001627/a_0.obj"), keys) == {"03001627/a_0": "03001627/a_0.obj"}


def test_other_files_are_named(tmp_path):
    touch(tmp_path, "a_0.obj", "a_0.mtl", "c_0.obj", "03001627/b_7.obj", ".trash/b_0.obj", "readme.txt")
    files, rest = named(tmp_path, KEYS)
    assert list(files) == KEYS[:1] and [path.name for path in rest] == ["b_7.obj", "c_0.obj"]


def test_a_folder_of_others_names_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"called as the test samples, 02691156/a_0.obj say; got no shape"):
        named(tmp_path, KEYS)
    touch(tmp_path, "x.obj", "y.obj", "z.obj", "zz.obj")
    with pytest.raises(ValueError, match=r"got x.obj, y.obj, z.obj and 1 more"):
        named(tmp_path, KEYS)


def test_two_files_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected one shape called a_0, got a_0.obj and a_0.ply"):
        named(touch(tmp_path, "a_0.obj", "a_0.ply"), KEYS)


def test_numbers_are_the_samples_in_their_order(tmp_path):
    touch(tmp_path, *(f"{number}/input.png" for number in range(4)), "0/mesh.obj", "3/mesh.glb")
    files, rest = numbered(tmp_path, KEYS)
    assert files == {KEYS[0]: tmp_path / "0/mesh.obj", KEYS[3]: tmp_path / "3/mesh.glb"} and not rest


def test_other_numbers_than_samples_are_refused(tmp_path):
    touch(tmp_path, "0/mesh.obj", "1/mesh.obj")
    with pytest.raises(ValueError, match="expected folders 0 to 3, as many as samples, got 2"):
        numbered(tmp_path, KEYS)
    touch(tmp_path, "1/again.obj")
    with pytest.raises(ValueError, match="expected one shape, got again.obj, mesh.obj"):
        numbered(tmp_path, KEYS[:2])
