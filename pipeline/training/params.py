"""Section `train` of params.yaml: how a system is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.training.augment import Augment

# Not among them: 16-true, whose weights lose most steps and whose gradients nothing scales, and transformer-engine,
# which knows no convolutions.
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true")
SPEEDS = ("auto", "plain")


@dataclass(frozen=True)
class Params:
    """Section `train`.

    Attributes:
        seed: of first weights, order and noise.
        samples: to train on in all; a sample is a view of a model (or as many views as a system takes together). It is
            validated on single views.
        batch_size: samples a step, over all processes together.
        lr: learning rate of AdamW after the warm-up; a cosine takes it to 0. A part of a system may have its own.
        lr_warmup: share of the training in which the rate rises from 0.
        weight_decay: of AdamW.
        precision: auto, which is bf16-mixed on a CUDA device that has it, unless `speed` is plain, and else 32-true; or
            of Lightning Fabric, one of PRECISIONS: 32-true; bf16-mixed, or 16-mixed with scaled losses, where only
            products of matrices are in half precision; bf16-true and 64-true, where weights are as well.
        validations: how often the validation split is predicted, evenly spaced, at the end for the last time.
        validation_views: of each of its models, the first ones; all where there are fewer.
        best_threshold: probability above which a cell counts as full, for the choice of the best weights.
        clip_norm: longest gradient of a part of a system, longer ones are shortened to it; 0: as long as they are.
        accumulate: pieces in which each process takes its share of a batch, one after the other, to save memory. Losses
            and gradients are those of the whole batch, except that batch normalisation sees a piece at a time, and that
            noise is drawn for each.
        ema: share of itself that an average of the weights keeps in a step (0.999, say), after a beginning in which it
            keeps less; what is validated and saved is this average then. 0: the weights themselves.
        start_from: checkpoint to take the first weights from, as far as they fit; none if empty.
        encoder_weights: file of torchvision's ResNet-18, from which an encoder of its sizes begins; none if empty.
            What `start_from` has as well comes from there.
        tensorboard: whether TensorBoard gets curves and log as well; it has to be installed.
        speed: one of SPEEDS. On CUDA `auto` does what makes a training fast (`speed.py`) and says what and why; `plain`
            leaves it at what PyTorch does by itself. On a CPU they are the same.
        balanced: whether every category has the same share of the samples, however few models it has.
        augment: how samples are changed every time they are seen, see `augment.py`.
    """

    seed: int
    samples: int
    batch_size: int
    lr: float
    lr_warmup: float
    weight_decay: float
    precision: str
    validations: int
    validation_views: int
    best_threshold: float
    clip_norm: float = 0.0
    accumulate: int = 1
    ema: float = 0.0
    start_from: str = ""
    encoder_weights: str = ""
    tensorboard: bool = False
    speed: str = "auto"
    balanced: bool = False
    augment: Augment = Augment()  # noqa: RUF009  frozen

    def __post_init__(self) -> None:
        for name, smallest in (
            ("seed", 0),
            ("samples", 1),
            ("batch_size", 2),
            ("validations", 1),
            ("validation_views", 1),
            ("lr", 0),
            ("clip_norm", 0),
            ("accumulate", 1),
        ):
            if getattr(self, name) < smallest:
                raise ValueError(f"{name}: expected {smallest} or more, got {getattr(self, name)}")
        for name in ("lr_warmup", "best_threshold", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a number from 0 to 1, got {getattr(self, name)}")
        for name, choices in (("precision", ("auto", *PRECISIONS)), ("speed", SPEEDS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {getattr(self, name)}")
        if self.ema and self.precision == "bf16-true":
            raise ValueError(f"ema: expected 0 with bf16-true, whose weights are too coarse to average, got {self.ema}")

    @property
    def steps(self) -> int:
        return math.ceil(self.samples / self.batch_size)

    def at_a_time(self, processes: int) -> int:
        """Samples that each of so many processes takes at a time; ValueError where that is no whole number."""
        if self.batch_size % (processes * self.accumulate):
            expected = f"a multiple of {processes} processes x {self.accumulate} (train.accumulate)"
            raise ValueError(f"train.batch_size: expected {expected}, got {self.batch_size}")
        return self.batch_size // (processes * self.accumulate)

    def validated(self, step: int) -> bool:
        """Whether the validation split is due after so many steps."""
        return step * self.validations // self.steps > (step - 1) * self.validations // self.steps

    def rate(self, step: int) -> float:
        """Share of the full learning rate at a step: a linear rise, then a cosine down to 0."""
        warm = round(self.lr_warmup * self.steps)
        if step < warm:
            return (step + 1) / (warm + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / (self.steps - warm)))
