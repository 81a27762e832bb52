from __future__ import annotations

from pipeline.geometry import bundles

FILES = [("b.obj", b"v 0 0 0"), ("a.obj", b""), ("x/ü.stl", bytes(100))]


def test_files_come_back_in_order_and_make_the_same_bytes_each_time() -> None:
    data = bundles.bundled(FILES)
    assert list(bundles.opened(data)) == FILES and bundles.bundled(iter(FILES)) == data
    assert bundles.bundled(FILES[:2]) != data
