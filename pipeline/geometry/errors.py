"""The one error of whatever is wrong with a mesh."""

from __future__ import annotations


class MeshError(ValueError):
    """A mesh that can't be used; `reason` is a short code for tables, the message says what was found."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[MeshError], tuple[str, str]]:  # crosses process borders
        return MeshError, (self.reason, str(self))
