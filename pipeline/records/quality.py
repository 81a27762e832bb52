"""Which models are good enough, by the notes of their grids, and what becomes of those that are alike."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from pipeline.records.records import Archive, Entry
from pipeline.records.twins import twins

NOTE = ("fill_ratio", "components", "disagreement", "lidded", "uncovered")
KEEP, TOGETHER, DROP = TWINS = ("keep", "together", "drop")
FIRST = ("test", "val", "train")  # of models that are alike, the first of these stays where it is
Status = tuple[str, str, str]  # `packed` or the stage that rejected a model, a reason code, a message


@dataclass(frozen=True)
class Quality:
    """Section `pack.quality`.

    Attributes:
        fill_ratio, components, disagreement, lidded, uncovered: least and most of each (`geometry/solid.py` says what
            they are) that a grid may have.
        twins: what becomes of models of a category whose grids are nearly identical: `keep`; `together`, all of them
            in one split, that of the test if one is in it, else of the validation; or `drop`, all but one of them.
        alike: intersection over union from which they are.
    """

    fill_ratio: tuple[float, float] = (0.0, 1.0)
    components: tuple[int, int] = (0, 1_000_000_000)
    disagreement: tuple[float, float] = (0.0, 1.0)
    lidded: tuple[float, float] = (0.0, 1.0)
    uncovered: tuple[float, float] = (0.0, 1.0)
    twins: str = KEEP
    alike: float = 0.98

    def __post_init__(self) -> None:
        for name in NOTE:
            least, most = getattr(self, name)
            if not least <= most:
                raise ValueError(f"{name}: expected the least and the most, got {[least, most]}")
        if self.twins not in TWINS:
            raise ValueError(f"twins: expected one of {', '.join(TWINS)}, got '{self.twins}'")
        if not 0.5 <= self.alike <= 1:
            raise ValueError(f"alike: expected an intersection over union in [0.5, 1], got {self.alike}")

    def fault(self, note: np.ndarray) -> tuple[str, str] | None:
        """Reason and message why a grid with such a note (5,) is left out; None where it is not."""
        for name, value in zip(NOTE, note.tolist(), strict=True):
            least, most = getattr(self, name)
            if not np.float32(least) <= value <= np.float32(most):
                return name, f"expected a grid with {name} from {least:g} to {most:g}, got {value:.4g}"
        return None


def sift(entries: list[Entry], statuses: list[Status], voxels: Archive, quality: Quality, label: str) -> None:
    """Rejects packed models that are not good enough, and those that are alike or their splits; prints how many.

    What was asked for is no failure: it does not count towards `dataset.max_rejected`.
    """
    reasons: Counter[str] = Counter()
    if replace(quality, twins=KEEP, alike=1.0) != Quality(alike=1.0):
        for n, entry in enumerate(entries):
            if statuses[n][0] == "packed" and (fault := quality.fault(voxels[entry.ref.model_id]["notes"])):
                statuses[n] = "pack", *fault
                reasons[fault[0]] += not entry.stretch
    if quality.twins != KEEP:
        _part_twins(entries, statuses, voxels, quality, reasons)
    if reasons:
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        print(f"{label}: {reasons.total()} models left out or moved, as pack.quality says ({counts})", flush=True)


def _part_twins(
    entries: list[Entry], statuses: list[Status], voxels: Archive, quality: Quality, reasons: Counter[str]
) -> None:
    own = [n for n, entry in enumerate(entries) if statuses[n][0] == "packed" and not entry.stretch]
    groups = twins([voxels[entries[n].ref.model_id]["occupancy"] for n in own], quality.alike)
    moved: set[str] = set()
    for group in groups:
        first, *others = sorted((own[n] for n in group), key=lambda n: _rank(entries[n]))
        kept = entries[first]
        for n in others:
            if quality.twins == DROP:
                statuses[n] = "pack", "twin", f"expected no model that is alike, found {kept.ref.model_id}"
            elif entries[n].split == kept.split:
                continue
            else:
                message = f"moved from {entries[n].split} to {kept.split}, as it is like {kept.ref.model_id}"
                statuses[n] = "packed", "twin", message
                moved |= {entries[n].ref.model_id}
                entries[n] = replace(entries[n], split=kept.split)
            reasons["twin"] += 1
    for n, entry in enumerate(entries):
        if entry.stretch and entry.ref.model_id.rpartition("~")[0] in moved and statuses[n][0] == "packed":
            statuses[n] = "pack", "twin", "expected a variant of a training model, its own was moved"


def _rank(entry: Entry) -> tuple[int, str]:
    return FIRST.index(entry.split), entry.ref.model_id
