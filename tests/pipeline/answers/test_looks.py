from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.answers.looks import look, over_even, smooth
from tests.systems import created


def test_what_is_shown_of_a_map() -> None:
    values = np.zeros((5, 5), np.float32)
    values[2, 2] = 9
    assert (smooth(values)[1:4, 1:4] == 1).all() and smooth(values).sum() == pytest.approx(9)
    np.testing.assert_allclose(over_even(np.array([[0.5, 0.3], [0.1, 0.1]])), [[0.25, 0.05], [0.0, 0.0]])


@pytest.mark.parametrize(("name", "words"), [("r3d", "% of its cells"), ("view2points", "its points by 0.")])
def test_words_and_attention(name: str, words: str) -> None:
    network, images = created(name).eval(), torch.rand(1, 1, 1, 32, 32)
    found = look(network, images, 0.3, "a chair", finest=3)
    assert found.words.startswith("a chair; painted over, the frame changes ") and words in found.words
    assert len(found.reads) == (name == "r3d") and len(found.spots) == 4
    assert not look(network, images, 0.3, finest=3, reads=False).reads
