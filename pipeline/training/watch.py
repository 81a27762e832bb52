"""How a training goes: what its bar and its log say, and when something has to be said."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from pipeline.training.params import Params
from pipeline.training.state import State
from pipeline.training.together import processes
from pipeline.training.updates import Updates

LOOK_SECONDS = 1  # how often losses are read from the device
LOOK_STEPS = 20  # the same of several processes
LOG_SECONDS = 60  # how often the log says how the training goes
PATIENCE = 50  # steps in a row that are not finite, before it is given up
WON = 0.99  # accuracy of a discriminator from which nothing is learned any more
WON_STEPS = 300  # for so long, before it is said
T = TypeVar("T")


class Watch:
    """Looks at a training now and then.

    Args:
        updates: of the training.
        params: section `train`.
    """

    def __init__(self, updates: Updates, params: Params):
        self.updates, self.params, self.device = updates, params, updates.fabric.device
        self.first = updates.fabric.is_global_zero
        self.looked, self.since, self.waited, self.step = 0.0, 0.0, 0.0, 0
        self.won: int | None = None  # step since which the discriminator has, if that is not said yet

    def over(self, batches: Iterable[T]) -> Iterator[T]:
        """The batches, with an eye on how long each is waited for."""
        source = iter(batches)
        while True:
            begun = time.monotonic()
            try:
                batch = next(source)
            except StopIteration:
                return
            self.waited += time.monotonic() - begun
            yield batch

    def begin(self, step: int) -> None:
        """Starts to measure, after so many steps."""
        self.since, self.waited, self.step = time.monotonic(), 0.0, step

    def due(self, step: int) -> bool:
        """Whether it is time to look: in all processes after the same steps, as a look waits for the device."""
        return step % LOOK_STEPS == 0 if processes() > 1 else time.monotonic() - self.looked > LOOK_SECONDS

    def look(self, bar: tqdm, state: State) -> dict[str, float]:
        """Brings the bar up to date, and every LOG_SECONDS the log; returns what that says, by name."""
        self.looked, samples = time.monotonic(), state.step * self.params.batch_size
        bar.set_postfix({name: f"{mean:.4f}" for name, mean in state.means().items()}, refresh=False)
        bar.update(samples - bar.n)
        lines = self._won(state.step)
        figures = self.figures(state.step) if time.monotonic() - self.since > LOG_SECONDS else {}
        if figures:
            lines.append(f"{samples:,} samples: {told(figures)}")
            self.begin(state.step)
        for line in lines if self.first else []:
            bar.write(line)
        return figures

    def figures(self, step: int) -> dict[str, float]:
        """Since `begin`: samples a second, share of the time waited for data; and of now: memory, rate, gradients."""
        seconds = max(time.monotonic() - self.since, 1e-9)
        found = {
            "samples_a_second": (step - self.step) * self.params.batch_size / seconds,
            "waiting": self.waited / seconds,
            "lr": self.params.lr * self.params.rate(max(step - 1, 0)),
            "skipped": float(self.updates.skipped),
        }
        if self.device.type == "cuda":
            found["gpu_gb"] = torch.cuda.max_memory_allocated(self.device) / 1e9
        return found | {f"gradient_{part}": norm.item() for part, norm in self.updates.norms.items()}

    def hopeless(self, step: int, losses: dict[str, Tensor]) -> str:
        """What to say if so many steps in a row were not finite that it is given up, otherwise nothing.

        Args:
            step: steps done.
            losses: of the last one.
        """
        if (count := int(self.updates.in_a_row)) < PATIENCE:
            return ""
        values = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
        return (
            f"train: expected finite losses and gradients, had none in the {count} steps up to {step} ({values}); "
            "run it again, with a lower train.lr or a train.clip_norm, to go on from the best weights"
        )

    def _won(self, step: int) -> list[str]:
        """A warning, once each time that a discriminator has told all grids apart for WON_STEPS."""
        accuracy = getattr(self.updates.network, "accuracy", None)
        if accuracy is None or accuracy < WON:
            self.won = step
        if self.won is None or step - self.won < WON_STEPS:
            return []
        count, self.won = step - self.won, None
        return [
            f"warning: the discriminator has told all grids apart for {count} steps, the generator learns nothing from "
            "it; a lower discriminator_lr or discriminator_gate may help, or a later adversarial_warmup"
        ]


def told(figures: dict[str, float]) -> str:
    """The figures as a line of the log."""
    norms = {name.removeprefix("gradient_"): value for name, value in figures.items() if name.startswith("gradient_")}
    gradients = ", ".join(f"{value:.3g} ({part})" for part, value in norms.items())
    memory = f", {figures['gpu_gb']:.1f} GB of GPU memory" if "gpu_gb" in figures else ""
    return (
        f"{figures['samples_a_second']:,.0f}/s, {figures['waiting']:.0%} of the time waiting for data{memory}, "
        f"lr {figures['lr']:.3g}, gradients {gradients}, {figures['skipped']:.0f} steps skipped"
    )
