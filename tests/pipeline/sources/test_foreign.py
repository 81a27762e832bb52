from __future__ import annotations

from pipeline.sources import foreign


def test_models_and_archives_that_can_not_be_read_are_counted_by_the_ends_of_their_names() -> None:
    locations = """
        chair/a.fbx chair/b.FBX chair/c.blend chair/d.3ds chair/e.usdz chair/f.obj.gz chair/g.tar.gz chair/h.tgz h.7z
        chair/ok.obj chair/v1.2.glb annotations.json.gz list.csv.gz readme.txt chair/._a.fbx noend .fbx
        all.zip!/inner.zip all.zip!/x/i.step all.zip!/x/ok.ply
    """.split()
    counts = foreign.counted(locations)
    assert counts == {
        ".fbx": 2,
        ".blend": 1,
        ".3ds": 1,
        ".usdz": 1,
        ".obj.gz": 1,
        ".tar.gz": 1,
        ".tgz": 1,
        ".7z": 1,
        ".zip in a zip": 1,
        ".step": 1,
    }
    assert foreign.told({".fbx": 2, ".tgz": 1}) == (
        "3 files that can't be read (2 .fbx, 1 .tgz); unpack archives, convert the others to GLB or OBJ"
    )
    assert foreign.told({".zip in a zip": 1}) == "1 files that can't be read (1 .zip in a zip); unpack archives"
    assert foreign.told({}) == ""
