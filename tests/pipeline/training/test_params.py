from __future__ import annotations

from typing import Any

import pytest

from pipeline.training.params import Params

PARAMS: dict[str, Any] = {
    "seed": 0,
    "samples": 160,
    "batch_size": 8,
    "lr": 0.01,
    "lr_warmup": 0.05,
    "weight_decay": 0.01,
    "precision": "32-true",
    "validations": 3,
    "validation_views": 1,
    "best_threshold": 0.5,
}


def test_the_learning_rate_rises_and_then_follows_a_cosine() -> None:
    params = Params(**(PARAMS | {"samples": 8 * 104, "lr_warmup": 4 / 104}))
    assert [params.rate(step) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert [params.rate(step) for step in (4, 29, 54, 79, 104)] == pytest.approx(
        [1.0, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5, 0.0], abs=1e-9
    )


@pytest.mark.parametrize(("samples", "validations"), [(160, 3), (160, 20), (160, 1), (160, 50), (8, 2)])
def test_validations_are_evenly_spaced_and_the_last_is_at_the_end(samples: int, validations: int) -> None:
    params = Params(**(PARAMS | {"samples": samples, "validations": validations}))
    steps = [step for step in range(1, params.steps + 1) if params.validated(step)]
    assert len(steps) == min(validations, params.steps)
    assert steps[-1] == params.steps
    gaps = [after - before for before, after in zip([0, *steps], steps, strict=False)]
    assert max(gaps) - min(gaps) <= 1
