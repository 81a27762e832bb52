from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.scoring.predictions import Prediction
from pipeline.training import snapshots


def test_fields_points_and_meshes_are_read_as_they_were_shown(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    field, points = rng.random((5, 5, 5)).astype(np.float32), rng.random((7, 3)).astype(np.float32) - 0.5
    mesh = points, np.array([[0, 1, 2], [4, 5, 6]])
    given = [Prediction(field=field), Prediction(points=points), Prediction(mesh=mesh)]
    shapes = [snapshots.packed(prediction, 0.3) for prediction in given]
    taken = [{"samples": samples, "shapes": shapes} for samples in (10, 20)]
    snapshots.write(tmp_path / "s.npz", [0, 12, 24], taken)
    items, found = snapshots.read(tmp_path / "s.npz")
    assert items == [0, 12, 24] and [samples for samples, _ in found] == [10, 20]
    for _, (grid, cloud, surface) in found:
        assert grid.field is not None and np.array_equal(grid.field, field > 0.3)
        assert cloud.points is not None and np.abs(cloud.points - points).max() < 1e-3
        assert surface.mesh is not None and np.abs(surface.mesh[0] - points).max() < 1e-3
        assert np.array_equal(surface.mesh[1], mesh[1])
    before = (tmp_path / "s.npz").read_bytes()
    snapshots.write(tmp_path / "s.npz", [0, 12, 24], taken)
    assert (tmp_path / "s.npz").read_bytes() == before
    with pytest.raises(ValueError, match="none.npz: expected what a training has shown of itself, found no file"):
        snapshots.read(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("models", "expected"), [(1, [0]), (3, [0, 3, 6]), (4, [0, 3, 6, 9]), (100, [36, 111, 186, 261])]
)
def test_shown_are_the_first_views_of_models_evenly_spaced(models: int, expected: list[int]) -> None:
    assert snapshots.fixed(models, 3) == expected
