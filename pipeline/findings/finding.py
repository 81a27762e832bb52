"""What was found in a file, and how it is told."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

WIDTH = 100  # of a terminal


@dataclass(frozen=True)
class Check:
    """Something that should hold, and in words where it does not; empty where it does."""

    what: str
    fault: str = ""


@dataclass(frozen=True)
class Finding:
    """What is in a file.

    Attributes:
        kind: what it is, in a few words.
        facts: name -> words.
        checks: in the order in which they are told.
        picture: draws it; None where there is nothing to be seen.
    """

    kind: str
    facts: Mapping[str, str]
    checks: Sequence[Check]
    picture: Callable[[], Image.Image] | None = None

    @property
    def faulty(self) -> bool:
        return any(check.fault for check in self.checks)

    def text(self, name: str) -> str:
        """All of it in lines of at most WIDTH letters."""
        wide = max(map(len, self.facts), default=0) + 2
        lines = [*textwrap.wrap(f"{name}: {self.kind}", WIDTH, break_on_hyphens=False), ""]
        for fact, words in self.facts.items():
            lines += told(f"  {fact:<{wide}}", words)
        lines += [""] * bool(self.checks)
        for check in self.checks:
            words = f"{check.what}: {check.fault}" if check.fault else check.what
            lines += told("  FAULT  " if check.fault else "  ok     ", words)
        return "\n".join(lines)


def told(head: str, words: str) -> list[str]:
    """Words behind a head, in lines that begin where they do."""
    indent = " " * len(head)
    return textwrap.wrap(words or "-", WIDTH, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False)


def gathered(what: str, faults: Mapping[str, str], total: int, unit: str = "models") -> Check:
    """A check of many by the name of each that fails: how many do, and what is wrong with the first."""
    if not faults:
        return Check(what)
    name, why = next(iter(faults.items()))
    return Check(what, f"{len(faults)} of {total} {unit} fail, as {name}: {why}")
