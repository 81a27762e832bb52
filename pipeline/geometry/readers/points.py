"""Points as text, `.xyz` and `.pts`: three numbers a line and whatever behind them; a count may stand first."""

from __future__ import annotations

import io

import numpy as np

from pipeline.geometry.errors import MeshError
from pipeline.geometry.readers.text import plain

EXTENSIONS = ("pts", "xyz")


def read(data: bytes) -> np.ndarray:
    """Positions (P, 3) float64, P > 0.

    Raises:
        MeshError: `unreadable`, `truncated` and `bad_count` (fewer or more than announced).
    """
    text = plain(data).strip()
    first, _, rest = text.partition(b"\n")
    try:
        announced = int(first) if len(first.split()) == 1 else None
        rows = io.BytesIO(text if announced is None else rest)
        if not any(line.split(b"#")[0].strip() for line in rows):
            raise ValueError("none")
        rows.seek(0)
        found = np.loadtxt(rows, usecols=(0, 1, 2), ndmin=2)
    except ValueError as error:
        raise MeshError("unreadable", f"expected three numbers a line, got {error}") from error
    if announced is not None and len(found) != announced:
        reason = "truncated" if len(found) < announced else "bad_count"
        raise MeshError(reason, f"expected {announced} points as announced, found {len(found)}")
    return found
