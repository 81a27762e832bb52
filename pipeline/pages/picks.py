"""Which test models are shown: ranked by their scores, picked by nobody's hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.scoring.tables import METRICS

Sample = dict[str, str]  # a row of samples.csv
Key = tuple[str, ...]  # synset, model id, view
Model = tuple[str, str]  # synset, model id


@dataclass(frozen=True)
class Pick:
    """A sample to show: its row of samples.csv, and its model's rank among those of its category, 1 the best."""

    score: Sample
    rank: int
    models: int


def headline(sample: Sample, judges: tuple[str, str]) -> tuple[str, str]:
    """The two scores that are shown of a system, those by which all are compared if it has both; `sample` is any."""
    return judges if sample.get(judges[0]) else ("chamfer_unsquared", "f_score_1%")


def choose(samples: list[Sample], count: int, score: str) -> list[Pick]:
    """Samples that stand for all: of every category as many models, evenly spaced by rank, each in its median view."""
    picks = []
    synsets = sorted({sample["synset"] for sample in samples})
    for index, synset in enumerate(synsets):
        ranked = ranked_models([sample for sample in samples if sample["synset"] == synset], score)
        places = (index + 1) * count // len(synsets) - index * count // len(synsets)
        for place in range(min(places, len(ranked))):
            rank = (2 * place + 1) * len(ranked) // (2 * min(places, len(ranked)))
            picks.append(Pick(ranked[rank], rank + 1, len(ranked)))
    return picks


def ranked_models(samples: list[Sample], score: str) -> list[Sample]:
    """The row of the median view (the worse of two) of every model, the best model first."""
    sign = METRICS[score][1]
    views: dict[str, list[Sample]] = {}
    for sample in sorted(samples, key=lambda s: (sign * float(s[score]), s["model_id"], int(s["view"]))):
        views.setdefault(sample["model_id"], []).append(sample)
    medians = [rows[(len(rows) - 1) // 2] for rows in views.values()]
    return sorted(medians, key=lambda s: (-sign * float(s[score]), s["model_id"]))


def ranks(samples: list[Sample], score: str) -> dict[Model, Pick]:
    """Every model in its median view, with its rank in its category."""
    found: dict[Model, Pick] = {}
    for synset in sorted({row["synset"] for row in samples}):
        rows = ranked_models([row for row in samples if row["synset"] == synset], score)
        found |= {(row["synset"], row["model_id"]): Pick(row, n + 1, len(rows)) for n, row in enumerate(rows)}
    return found


def spread(ranked: dict[str, list[Pick]], count: int) -> list[Model]:
    """So many models, of every category about as many: by each system in turn its best, worst and median, one that
    failed, and then those that halve what lies between.
    """
    synsets = sorted({pick.score["synset"] for picks in ranked.values() for pick in picks})
    orders = []
    for synset in synsets:
        by_system = [[pick.score for pick in picks if pick.score["synset"] == synset] for picks in ranked.values()]
        orders.append(list(dict.fromkeys(model for model in in_turn([telling(rows) for rows in by_system]))))
    return list(in_turn(orders))[:count]


def telling(rows: list[Sample]) -> list[Model]:
    """Models by what they tell, of rows from the best to the worst."""
    places, parts = [0, len(rows) - 1, len(rows) // 2], 4
    failed = [n for n, row in enumerate(rows) if row["failed"] == "1"]
    places[3:] = failed[:1]
    while parts < 2 * len(rows):
        places += [n * len(rows) // parts for n in range(1, parts, 2)]
        parts *= 2
    order = dict.fromkeys([*places, *range(len(rows))])
    return [(rows[n]["synset"], rows[n]["model_id"]) for n in order]


def in_turn(lists: Sequence[Sequence[Model]]) -> Iterable[Model]:
    """The first of all, then the second of all, and so on."""
    for place in range(max(map(len, lists), default=0)):
        yield from (found[place] for found in lists if place < len(found))


def key_of(sample: Sample) -> Key:
    return sample["synset"], sample["model_id"], sample["view"]
