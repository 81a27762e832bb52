"""A trained system, what it is shown, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from model import maps
from pipeline.pages.picks import Key, Sample, headline
from pipeline.pages.scores import Results
from pipeline.runtime.machine import device
from pipeline.scoring.predictions import Prediction, predict
from pipeline.scoring.scorer import batches
from pipeline.scoring.tables import SCORES
from pipeline.shards.batches import make_batch
from pipeline.shards.layout import SHARDS, ShardDataset
from pipeline.training.checkpoints import CHECKPOINTS, load_checkpoint


@dataclass(frozen=True)
class System:
    """A trained system and what is known of it.

    Attributes:
        samples: rows of its samples.csv.
        shown: the two scores that are shown; by the first one, models are ranked.
    """

    name: str
    network: Any
    config: Any
    threshold: float
    samples: dict[Key, Sample]
    shown: tuple[str, str]


def opened(name: str, samples: dict[Key, Sample], results: Results) -> System:
    network, config, _ = load_checkpoint(CHECKPOINTS / f"{name}.pt", device())
    threshold = results.figures[name]["overall"].get("threshold", 0.5)
    return System(name, network, config, threshold, samples, headline(next(iter(samples.values())), results.judged_by))


def tests(system: System, categories: Sequence[str]) -> ShardDataset:
    """The test split with what the system takes."""
    return ShardDataset(SHARDS, categories, "test", targets=("occupancy", *maps(system.config)))


def items_of(test: ShardDataset, samples: list[Sample], system: str) -> list[int]:
    """The items that rows of samples.csv are of; ValueError where there is none."""
    first = {key: index * test.groups for index, key in enumerate(test.models)}
    keys = [(sample["synset"], sample["model_id"]) for sample in samples]
    if unknown := [key for key in keys if key not in first]:
        raise ValueError(f"{SCORES / system}: expected scores of the test shards, got {'/'.join(unknown[0])}")
    return [first[key] + int(sample["view"]) for key, sample in zip(keys, samples, strict=True)]


def batch_of(system: System, test: ShardDataset, item: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A view as the shards have it, and as the system takes it."""
    (raw,) = batches(test, [item], 1)
    return raw, make_batch(raw, system.config.image_size, test.resolution)


def answered(system: System, batch: dict[str, Any]) -> Prediction:
    return predict(system.network, batch["images"].to(device()))[0]
