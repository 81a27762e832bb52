"""Small results remembered by key between runs, one JSON line each: a run that is killed loses none of them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from pipeline.runtime.files import atomic_write, naming


class Journal:
    """What `open_journal` gives: `get` and `add` lists of strings by a key."""

    def __init__(self, path: Path, version: str):
        self.path, self.version = path, version
        path.parent.mkdir(parents=True, exist_ok=True)
        self.values = {key: values for own, key, values in self._lines() if own == version}
        self._file = path.open("a", encoding="utf-8", errors="surrogateescape")
        self._file.write("\n")  # ends a line that was torn

    def get(self, key: str) -> list[str] | None:
        return self.values.get(key)

    def add(self, key: str, values: list[str]) -> None:
        self.values[key] = values
        with naming(self.path):
            self._write(self._file, key)
            self._file.flush()

    def close(self) -> None:
        """Leaves one line a key, and none of other versions."""
        with naming(self.path):
            self._file.close()
        with atomic_write(self.path) as temporary, temporary.open("w", encoding="utf-8") as file:
            for key in self.values:
                self._write(file, key)

    def _write(self, file: TextIO, key: str) -> None:
        file.write(json.dumps([self.version, key, self.values[key]]) + "\n")

    def _lines(self) -> Iterator[tuple[str, str, list[str]]]:
        if not self.path.is_file():
            return
        with self.path.open(encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                with contextlib.suppress(ValueError, TypeError):
                    yield tuple(json.loads(line))


@contextlib.contextmanager
def open_journal(path: Path, version: str) -> Iterator[Journal]:
    """A journal at a path; results that were added under another version are forgotten."""
    journal = Journal(path, version)
    try:
        yield journal
    finally:
        journal.close()
