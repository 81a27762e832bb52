"""SIGTERM, as schedulers send it before they take a machine away: the training ends after a step, and can go on."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

import torch

from pipeline.training.together import added, processes

EXIT = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, run it again


class Stop:
    """Notes in a `with` whether SIGTERM came; may only be used in the main thread.

    Attributes:
        asked: whether it came to this process.
    """

    def __init__(self, device: torch.device):
        self.device, self.asked = device, False

    def __enter__(self) -> Stop:
        self.before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGTERM, self.before)

    def agreed(self) -> bool:
        """Whether it came to any process; all have to ask at the same time."""
        return bool(added(torch.tensor(float(self.asked), device=self.device))) if processes() > 1 else self.asked

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
