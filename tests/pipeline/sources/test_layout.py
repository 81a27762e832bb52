from __future__ import annotations

import itertools

import numpy as np
import pytest

from pipeline.sources.layout import AXES, turning


def test_two_axes_are_brought_to_up_and_front() -> None:
    for up, front in itertools.product(AXES, AXES):
        if up[-1] == front[-1]:
            with pytest.raises(ValueError, match="expected two different ones of x, -x, y, -y, z, -z, got"):
                turning(up, front)
            continue
        turn = turning(up, front)
        assert np.allclose(turn @ turn.T, np.eye(3)) and np.linalg.det(turn) == pytest.approx(1)
        assert np.allclose(turn @ AXES[up], [0, 1, 0]) and np.allclose(turn @ AXES[front], [0, 0, -1])
    assert np.array_equal(turning("y", "-z"), np.eye(3))
    with pytest.raises(ValueError, match="got 'up' and 'x'"):
        turning("up", "x")
