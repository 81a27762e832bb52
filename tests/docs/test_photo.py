"""The notebook, cell by cell."""

from __future__ import annotations

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
interactive = pytest.importorskip("IPython.core.interactiveshell")

BOOK = Path(__file__).parents[2] / "docs/photo.ipynb"


@pytest.mark.long
def test_the_notebook_runs_and_shows_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEVIEW_DEVICE", "cpu")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    book = nbformat.read(BOOK, as_version=4)
    nbformat.validate(book)
    shell = interactive.InteractiveShell.instance()
    shown = []
    for cell in book.cells:
        if cell.cell_type == "code":
            result = shell.run_cell(cell.source)
            result.raise_error()
            shown.append(type(result.result).__name__)
    assert shown == ["NoneType", "PngImageFile", "Image", "Image", "HTML", "NoneType"]
    (made,) = tmp_path.glob("*/chair.glb")
    assert made.stat().st_size > 10_000


def test_the_notebook_is_kept_without_what_it_shows() -> None:
    book = nbformat.read(BOOK, as_version=4)
    assert BOOK.stat().st_size < 10_000
    assert not [cell for cell in book.cells if cell.get("outputs") or cell.get("execution_count")]
