from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from model import r2n2

EIGHT = list(product(("simple", "residual"), ("lstm", "gru"), (1, 3)))
SMALL = r2n2.Config(
    image_size=(16, 12),
    resolution=8,
    views=2,
    encoder_channels=(8, 16, 16),
    features=64,
    hidden=32,
    grid=2,
    decoder_channels=(32, 16, 8),
)


def small(**changes: object) -> r2n2.Model:
    torch.manual_seed(0)
    return r2n2.Model(r2n2.Config(**(vars(SMALL) | changes)))


def shapes(count: int = 4, views: int = 2) -> dict:
    """Ellipsoids and boxes of random sides; a view is the thickness of the shape along one axis."""
    random = np.random.default_rng(1)
    centres = (np.indices((8, 8, 8)).transpose(1, 2, 3, 0) + 0.5) / 8 - 0.5
    order = np.resize([2, np.inf], count)  # of the norm whose unit ball is the shape
    inside = [np.linalg.norm(centres / random.uniform(0.12, 0.45, 3), n, axis=-1) < 1 for n in order]
    occupancy = torch.from_numpy(np.stack(inside)).float()
    thickness = torch.stack([occupancy.mean(1 + view % 3) for view in range(views)], dim=1)
    return {"images": F.interpolate(thickness, size=(16, 12))[:, :, None], "occupancy": occupancy}


def convolution(before: int, after: int, taps: int) -> int:
    return before * after * taps + after


def count(layers: str, cell: str, kernel: int) -> int:
    """Parameters of the paper's network for one input channel, layer by layer."""
    two, three = 3 * 3, 3 * 3 * 3  # taps
    if layers == "simple":
        images = convolution(1, 96, 7 * 7) + convolution(96, 128, two) + convolution(128, 256, two)
        images += convolution(256, 256, two) * 3
        grids = convolution(128, 128, three) * 2 + convolution(128, 64, three) + convolution(64, 32, three)
    else:  # in pairs, and 1x1 convolutions around those that change the number of channels, but for the first
        images = convolution(1, 96, 7 * 7) + convolution(96, 96, two)
        images += convolution(96, 128, two) + convolution(128, 128, two) + convolution(96, 128, 1)
        images += convolution(128, 256, two) + convolution(256, 256, two) + convolution(128, 256, 1)
        images += 2 * convolution(256, 256, two) * 3
        grids = 2 * convolution(128, 128, three) * 2
        grids += convolution(128, 64, three) + convolution(64, 64, three) + convolution(128, 64, 1)
        grids += convolution(64, 32, three) + convolution(32, 32, three) + convolution(64, 32, 1)
    # Pooling over a border: 127 -> 64 -> 33 -> 17 -> 9 -> 5 -> 3.
    images += 256 * 3 * 3 * 1024 + 1024
    # Forget, input and state; or update, reset and state: W for each of 4^3 cells, U and b for all.
    assert cell in ("lstm", "gru")
    recurrence = 3 * (1024 * 128 * 4**3 + 128 * 128 * kernel**3 + 128)
    return images + recurrence + grids + convolution(32, 2, three)


@pytest.mark.parametrize(
    ("layers", "kernel", "expected"),
    [
        ("simple", 1, 30_919_906),
        ("simple", 3, 32_197_858),
        ("residual", 1, 34_589_954),
        ("residual", 3, 35_867_906),
    ],
)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_parameters_are_those_of_the_paper_s_layers(layers: str, cell: str, kernel: int, expected: int) -> None:
    with torch.device("meta"):
        model = r2n2.Model(r2n2.Config(layers=layers, cell=cell, kernel=kernel))
    assert sum(parameter.numel() for parameter in model.parameters()) == count(layers, cell, kernel) == expected


def test_the_authors_own_network_has_the_same_layers_but_for_colour_and_two_slips() -> None:
    # 35,968,706: the layers of their residual GRU network for 32^3, added up.
    colour = (3 - 1) * 7 * 7 * 96
    around_fifth_pair = convolution(256, 256, 1)
    around_last_pair = convolution(32, 32, 27) - convolution(64, 32, 1)
    assert count("residual", "gru", 3) + colour + around_fifth_pair + around_last_pair == 35_968_706


@pytest.mark.parametrize(("head", "channels"), [("softmax", 2), ("logit", 1)])
@pytest.mark.parametrize("layers", ["simple", "residual"])
@pytest.mark.parametrize("resolution", [32, 64])
def test_the_default_network_takes_and_gives_the_sizes_of_the_paper(
    layers: str, head: str, channels: int, resolution: int
) -> None:
    with torch.device("meta"):
        model = r2n2.Model(r2n2.Config(layers=layers, head=head, resolution=resolution))
        features = model.encoder(torch.empty(2, 1, 127, 127))
        state = model.recurrence(torch.empty(2, 5, 1024))
        grid = model.decoder(torch.empty(1, 128, 4, 4, 4))
    assert features.shape == (2, 1024)
    assert state.shape == (2, 128, 4, 4, 4)
    assert grid.shape == (1, channels, resolution, resolution, resolution)


@pytest.mark.parametrize(("layers", "cell", "kernel"), EIGHT)
def test_eight_configurations_learn_with_every_parameter(
    layers: str, cell: str, kernel: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small(layers=layers, cell=cell, kernel=kernel, encoder_channels=(4, 4, 8, 8, 8, 8))
    monkeypatch.setattr(r2n2, "draw", lambda images: images)  # one view alone would leave U without a gradient
    model.losses(shapes(), "reconstruction")["voxels"].backward()
    parameters = model.parts()["reconstruction"]["params"]
    assert len(parameters) == len(list(model.parameters()))
    for parameter in parameters:
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("head", ["softmax", "logit"])
@pytest.mark.parametrize("views", [1, 3])
def test_predictions_have_the_shape_of_the_contract_and_are_deterministic(views: int, head: str) -> None:
    model, images = small(head=head), shapes(views=views)["images"]
    logits = model.predict(images)
    assert logits.shape == (4, 8, 8, 8)
    assert torch.equal(logits, model.predict(images))
    assert not torch.allclose(logits[0], logits[1])
    assert logits.sigmoid().mean().item() == pytest.approx(0.08, abs=0.06)  # before training


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_recurrence_minds_the_order_of_the_views_and_the_features_do_not(cell: str) -> None:
    model, images = small(cell=cell), shapes(views=3)["images"]
    assert not torch.allclose(model.predict(images), model.predict(images.flip(1)), atol=1e-3)
    assert model.features(images).shape == (4, 64)
    torch.testing.assert_close(model.features(images), model.features(images.flip(1)))


def correlated(layer: torch.nn.Conv3d, grid: np.ndarray, channels: slice) -> np.ndarray:
    """U * grid + b with zeros around, of some output channels: (C, N, N, N) -> (channels, N, N, N)."""
    kernels, biases = layer.weight.detach().numpy()[channels], layer.bias.detach().numpy()[channels]  # type: ignore
    sums = [
        sum(ndimage.correlate(plane, tap, mode="constant") for plane, tap in zip(grid, taps, strict=True))
        for taps in kernels
    ]
    return np.stack(sums) + biases[:, None, None, None]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def read_by_hand(recurrence: r2n2.Recurrence, views: np.ndarray, cell: str) -> np.ndarray:
    """The paper's equations for the views (V, D) of one object."""
    c, n = 5, 3
    first, second, third = (slice(k * c, k * c + c) for k in range(3))
    weights = recurrence.see.weight.detach().numpy().reshape(3, c, n, n, n, -1)  # of each cell its own
    around = recurrence.cell.around
    h = s = np.zeros((c, n, n, n))
    for x in views:
        a, b, d = weights @ x
        if cell == "lstm":
            forget = sigmoid(a + correlated(around, h, first))
            write = sigmoid(b + correlated(around, h, second))
            s = forget * s + write * np.tanh(d + correlated(around, h, third))
            h = np.tanh(s)
        else:
            update = sigmoid(a + correlated(around, h, first))
            reset = sigmoid(b + correlated(around, h, second))
            new = np.tanh(d + correlated(recurrence.cell.around_kept, reset * h, first))  # type: ignore[arg-type]
            h = (1 - update) * h + update * new
    return h


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_recurrence_is_the_formula(cell: str, kernel: int) -> None:
    torch.manual_seed(0)
    config = r2n2.Config(**(vars(SMALL) | {"cell": cell, "kernel": kernel, "hidden": 5, "grid": 3, "resolution": 6}))
    recurrence, views = r2n2.Recurrence(config).double(), torch.randn(2, 3, 64).double()
    for parameter in recurrence.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    expected = np.stack([read_by_hand(recurrence, x, cell) for x in views.numpy()])
    np.testing.assert_allclose(recurrence(views).detach().numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kernel", [1, 3])
def test_a_layer_that_doubles_the_grid_is_an_unpooling_and_a_convolution(kernel: int) -> None:
    torch.manual_seed(0)
    layer, x = r2n2._convolution(3, 5, kernel, unpools=True), torch.randn(2, 3, 4, 4, 4)
    finer = torch.zeros(2, 3, 8, 8, 8)
    for i, j, k in np.ndindex(4, 4, 4):
        finer[:, :, 2 * i, 2 * j, 2 * k] = x[:, :, i, j, k]
    assert torch.equal(r2n2.Unpool()(x), finer)
    weight = layer.weight.transpose(0, 1).flip(2, 3, 4)  # type: ignore[operator]
    expected = F.conv3d(finer, weight, layer.bias, padding=kernel // 2)  # type: ignore[arg-type]
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_connections_go_around_pairs() -> None:
    model = small(layers="residual", encoder_channels=(4, 8, 8, 8, 8))
    pairs = [block for block in model.encoder if isinstance(block, r2n2.Pair)]
    kinds = [type(pair.around).__name__ for pair in pairs]
    assert kinds == ["NoneType", "Conv2d", "Identity", "NoneType", "Identity"]
    x = torch.randn(2, 32, 2, 2, 2)
    pair = model.decoder[0]
    for parameter in pair.second.parameters():  # type: ignore[union-attr]
        torch.nn.init.zeros_(parameter)
    assert torch.equal(pair(x), r2n2.Unpool()(x))


@pytest.mark.parametrize("layers", ["simple", "residual"])
def test_a_new_network_of_the_paper_s_depth_is_neither_saturated_nor_faded(layers: str) -> None:
    model = small(layers=layers, image_size=(32, 32), encoder_channels=(8, 16, 32, 32, 32, 32))
    torch.manual_seed(0)
    with torch.no_grad():
        features = model.encode(torch.rand(4, 2, 1, 32, 32))
        state = model.recurrence(features)
    assert 0.3 < features.square().mean().sqrt() < 3.5
    assert 0.1 < state.abs().mean() < 0.8
    assert (state.abs() > 0.95).float().mean() < 0.27


def test_the_loss_of_two_channels_is_their_cross_entropy() -> None:
    model, batch = small(head="softmax"), shapes(views=1)
    channels = model.decoder(model.recurrence(model.encode(batch["images"])))
    assert channels.shape == (4, 2, 8, 8, 8)
    expected = F.cross_entropy(channels, batch["occupancy"].long())
    torch.testing.assert_close(model.losses(batch, "reconstruction")["voxels"], expected)
    torch.testing.assert_close(model.predict(batch["images"]).sigmoid(), channels.softmax(dim=1)[:, 1])


def test_a_batch_draws_from_one_to_all_views_and_each_object_its_own() -> None:
    torch.manual_seed(0)
    views = torch.arange(5) + 10 * torch.arange(3)[:, None]
    drawn = [r2n2.draw(views[..., None, None, None])[..., 0, 0, 0] for _ in range(300)]
    lengths = Counter(some.shape[1] for some in drawn)
    assert set(lengths) == {1, 2, 3, 4, 5}
    assert min(lengths.values()) > 35
    for some in drawn:
        assert torch.equal(some // 10, torch.arange(3)[:, None].expand_as(some))
        assert all(len(set(row)) == len(row) for row in some.tolist())
    places = Counter(int(some[0, 0]) for some in drawn)
    assert min(places[view] for view in range(5)) > 35
    assert any(not torch.equal(some[0], some[1] - 10) for some in drawn)


def test_the_seed_decides_which_views_a_loss_sees() -> None:
    model, batch = small(), shapes(views=5)

    def loss(seed: int) -> float:
        torch.manual_seed(seed)
        return model.losses(batch, "reconstruction")["voxels"].item()

    assert loss(3) == loss(3)
    assert len({loss(seed) for seed in range(6)}) == 6


@pytest.mark.long
@pytest.mark.parametrize(("layers", "cell", "kernel"), EIGHT)
def test_sixteen_shapes_are_learnt_by_heart(layers: str, cell: str, kernel: int) -> None:
    model = small(layers=layers, cell=cell, kernel=kernel, head="softmax" if kernel == 1 else "logit")
    batch = shapes(16)
    optimizer = torch.optim.AdamW([model.parts()["reconstruction"]], lr=3e-3)
    true, found = batch["occupancy"] > 0.5, 0.0
    for step in range(200):
        optimizer.zero_grad()
        model.losses(batch, "reconstruction")["voxels"].backward()
        optimizer.step()
        if step % 20 == 19:
            guess = model.predict(batch["images"]) > 0
            found = ((guess & true).sum((1, 2, 3)) / (guess | true).sum((1, 2, 3))).mean().item()
        if found >= 0.9:
            break
    assert found >= 0.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": "deep"}, "layers: expected simple or residual, got deep"),
        ({"cell": "rnn"}, "cell: expected lstm or gru, got rnn"),
        ({"head": "sigmoid"}, "head: expected softmax or logit, got sigmoid"),
        ({"kernel": 2}, "kernel: expected an odd number, got 2"),
        ({"kernel": -1}, "kernel: expected a positive number, got -1"),
        ({"views": 0}, "views: expected a positive number, got 0"),
        ({"image_size": (0, 64)}, r"image_size: expected one or more positive numbers, got \(0, 64\)"),
        ({"encoder_channels": ()}, r"encoder_channels: expected one or more positive numbers, got \(\)"),
        ({"resolution": 48}, r"resolution: expected one of \[4, 8, 16, 32, 64\], got 48"),
        ({"resolution": 128}, r"resolution: expected one of \[4, 8, 16, 32, 64\], got 128"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        r2n2.Config(**changes)
