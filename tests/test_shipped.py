"""The network that comes along: small, made as its parameters say, and good for what its card says."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from pipeline import synthesize
from pipeline.answers.network import WEIGHTS
from pipeline.geometry import meshes, renderer, solid
from pipeline.runtime.params import load
from pipeline.scoring.distances import iou
from pipeline.shards.batches import grids
from pipeline.shards.views import prepare
from pipeline.synthesize import SPLITS
from pipeline.training import weights
from pipeline.training.checkpoints import load_checkpoint

PARAMS, CARD = WEIGHTS.with_name("params.yaml"), WEIGHTS.with_name("README.md")


def test_it_is_small_and_of_the_parameters_beside_it() -> None:
    assert WEIGHTS.stat().st_size <= 10e6
    found = weights.read(WEIGHTS)
    assert found["params"] == PARAMS.read_text(encoding="utf-8")
    _, config, _ = load_checkpoint(WEIGHTS)
    assert config == load("systems.recall", type(config), PARAMS)
    card = CARD.read_text(encoding="utf-8")
    assert found["splits"]["train"][:8] in card and f"{found['samples']:,}" in card
    assert f"{found['threshold']:.2f}" in card and f"{WEIGHTS.stat().st_size / 1e6:.1f} MB" in card


@pytest.mark.long
def test_it_knows_shapes_that_it_was_not_trained_on() -> None:
    """Test models of the embedded data set, made here anew."""
    network, config, info = load_checkpoint(WEIGHTS)
    params = load("synthesize", synthesize.Params, PARAMS)
    index = SPLITS.index("test") + len(SPLITS) * 3
    scores = []
    for synset in synthesize.FAMILIES:
        model = synthesize.build(synset, index, params)
        mesh, _ = meshes.normalise(meshes.Mesh(model.vertices, model.faces))
        truth, _ = solid.solid(mesh.vertices, mesh.faces, 64)
        drawn = np.array([[150, 25, 4, 30], [220, 15, 4, 30]], np.float32)
        views, masks = renderer.render(mesh, drawn, 192, 256)
        images = prepare(torch.from_numpy(views), torch.from_numpy(masks), config.image_size)
        with torch.inference_mode():
            logits = network.predict(images[:, None])
        full = (logits.sigmoid() > info["threshold"]).float()
        coarse = torch.nn.functional.max_pool3d(full, 2)
        expected = grids(torch.from_numpy(np.packbits(truth))[None], 32)
        scores += iou(coarse.bool(), expected.expand_as(coarse)).tolist()
    (told,) = re.findall(r"\*\*(0\.\d+)\*\*", CARD.read_text(encoding="utf-8"))
    assert len(scores) == 2 * len(synthesize.FAMILIES)
    assert np.mean(scores) > 0.75 * float(told), scores
