"""What a layout on disk is made of."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Layout:
    """How a data set lies on disk.

    Attributes:
        name: as it stands in the catalogue.
        pattern: found in the path of a model's mesh, which starts with '/'; has groups `synset` and `model_id`.
        rotation: (3, 3) from its axes to +Y up, -Z front.
    """

    name: str
    pattern: re.Pattern[str]
    rotation: np.ndarray
