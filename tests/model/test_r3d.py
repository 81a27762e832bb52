from __future__ import annotations

from math import exp, log, sqrt

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence

from model import r3d
from model.layers import blocks
from pipeline.scoring.distances import iou
from tests.model.boxes import boxes, overfit
from tests.model.boxes import slabs as batch
from tests.model.learning import learn

SMALL = r3d.Config(
    image_size=(16, 24),
    resolution=16,
    encoder_channels=(8, 12, 16),
    encoder_pools=(2, 2, 2),
    hidden=(32, 16),
    latent=6,
    generator_channels=(8, 4, 4),
    discriminator_channels=(4, 8, 8),
    kl_weight=1e-3,
    adversarial_weight=0.1,
    adversarial_warmup=0.25,
    discriminator_gate=0.9,
)


def small(**changes: object) -> r3d.Model:
    torch.manual_seed(0)
    return r3d.Model(r3d.Config(**(vars(SMALL) | changes)))


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def convolution(before: int, after: int, cells: int) -> int:
    return before * after * cells + after


def linear(before: int, after: int) -> int:
    return before * after + after


def test_the_default_network_has_the_parameters_of_the_listing() -> None:
    with torch.device("meta"):
        model = r3d.Model(r3d.Config())
    attention = linear(32, 3 * 32) + linear(32, 32) + linear(64, 3 * 64) + linear(64, 64)
    convolutions = convolution(1, 32, 9) + convolution(32, 64, 9) + convolution(64, 128, 9)
    fully_connected = linear(4 * 32 * 6 * 8, 1024) + linear(1024, 512) + linear(512, 256) + 2 * linear(256, 1024)
    assert count(model.encoder) == convolutions + attention + fully_connected == 7_588_480
    upwards = convolution(64, 32, 64) + convolution(32, 16, 64) + convolution(16, 8, 64) + convolution(8, 1, 64)
    normalised = 2 * (32 + 16 + 8)
    assert count(model.generator) == linear(1024, 64 * 4 * 4 * 4) + upwards + normalised == 4_371_113
    downwards = 64 * (1 * 64 + 64 * 128 + 128 * 256 + 256 * 512)  # without bias
    normalised = 2 * (64 + 128 + 256 + 512)
    assert count(model.discriminator) == downwards + normalised + linear(512 * 4 * 4 * 4, 1) == 11_048_833


def test_the_default_network_takes_and_gives_the_sizes_of_the_listing() -> None:
    with torch.device("meta"):
        model = r3d.Model(r3d.Config())
        mu, logvar = model.encoder(torch.empty(2, 1, 1, 192, 256))
        grid = model.generator(torch.empty(2, 1024))
        judged = model.discriminator(torch.empty(2, 1, 64, 64, 64))
    assert mu.shape == logvar.shape == (2, 1024)
    assert grid.shape == (2, 1, 64, 64, 64)
    assert judged.shape == (2, 1)


ATTENTION = linear(32, 3 * 32) + linear(32, 32) + linear(64, 3 * 64) + linear(64, 64)
VARIATIONS = [  # with what each adds to the listing's parameters
    ({"attention": "none"}, -ATTENTION),
    ({"attention": "causal"}, 0),
    ({"heads": 8}, 0),
    ({"views": 5}, 0),
    ({"views": 5, "fusion": "max"}, 0),
    ({"depth": True}, 32 * 9),
    ({"depth": True, "attention": "none", "views": 3, "fusion": "max"}, 32 * 9 - ATTENTION),
]


@pytest.mark.parametrize(("changes", "more"), VARIATIONS)
def test_a_variation_adds_what_it_says(changes: dict, more: int) -> None:
    with torch.device("meta"):
        assert count(r3d.Model(r3d.Config(**changes))) == 7_588_480 + 4_371_113 + 11_048_833 + more


@pytest.mark.parametrize(("changes", "more"), VARIATIONS)
def test_a_variation_trains_in_every_parameter_and_predicts(changes: dict, more: int) -> None:
    model = small(**changes, **({} if "heads" not in changes else {"encoder_channels": (8, 16, 16)}))
    data = batch(views=changes.get("views", 1))
    if changes.get("depth"):
        data["images"] = torch.cat([data["images"], torch.rand_like(data["images"])], dim=2)
    losses = model.losses(data, "reconstruction") | model.losses(data, "discriminator")
    sum(losses.values()).backward()  # type: ignore[union-attr]
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())  # type: ignore[union-attr]
    assert model.eval().predict(data["images"]).shape == (4, 16, 16, 16)


def test_depth_is_seen() -> None:
    model = small(depth=True).eval()
    images = torch.rand(2, 1, 2, 16, 24)
    nearer = images.clone()
    nearer[:, :, 1] /= 2
    assert not torch.allclose(model.predict(images), model.predict(nearer))


@pytest.mark.parametrize("fusion", ["mean", "max"])
def test_features_of_views_are_fused_before_mu_and_log_variance(fusion: str) -> None:
    model, images = small(fusion=fusion).eval(), batch(views=3)["images"]
    torch.nn.init.normal_(model.encoder.logvar.weight)
    each = torch.stack([model.encoder.features(images[:, view]) for view in range(3)])
    fused = each.sum(0) / 3 if fusion == "mean" else torch.maximum(torch.maximum(each[0], each[1]), each[2])
    mu, logvar = model.encoder(images)
    torch.testing.assert_close(mu, model.encoder.mu(fused), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logvar, model.encoder.logvar(fused), atol=1e-5, rtol=1e-5)
    assert torch.equal(model.features(images), mu)


def test_the_mean_of_features_gives_the_mean_of_mu() -> None:
    model, images = small().eval(), batch(views=3)["images"]
    alone = torch.stack([model.features(images[:, [view]]) for view in range(3)])
    torch.testing.assert_close(model.features(images), alone.mean(0), atol=1e-5, rtol=1e-5)


def test_without_attention_there_is_none() -> None:
    modules = list(small(attention="none", encoder_channels=(7, 9, 5)).modules())  # heads need not divide
    assert not any(isinstance(module, r3d.Attention) for module in modules)
    assert sum(isinstance(module, r3d.Attention) for module in small(attention="causal").modules()) == 2


@pytest.mark.long
def test_sixteen_shapes_are_learnt_by_heart() -> None:
    changes = {"latent": 16, "generator_channels": (32, 16, 8), "dropout": 0.0, "attention_dropout": 0.0}
    model, data = small(image_size=(12, 16), kl_weight=None, **changes), boxes(16)
    data["images"] = F.avg_pool2d(data["images"].squeeze(1), 4)[:, None]
    overfit(model, data, steps=200, lr=4e-3)
    assert iou(model.predict(data["images"]) > 0, data["occupancy"].bool()).mean() >= 0.9


@pytest.mark.parametrize("views", [1, 3])
def test_predictions_have_the_shape_of_the_contract_and_are_deterministic(views: int) -> None:
    model = small().eval()
    images = batch(views=views)["images"]
    logits = model.predict(images)
    assert logits.shape == (4, 16, 16, 16)
    assert torch.equal(logits, model.predict(images))
    assert not torch.allclose(logits[0], logits[1])


def test_views_are_fused_whatever_their_order() -> None:
    model, images = small().eval(), batch(views=3)["images"]
    torch.testing.assert_close(model.predict(images), model.predict(images.flip(1)), atol=1e-5, rtol=1e-5)
    one = images[:, :1]
    torch.testing.assert_close(model.predict(one.expand(-1, 3, -1, -1, -1)), model.predict(one), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("part", ["reconstruction", "discriminator"])
def test_a_gradient_reaches_every_parameter_of_the_part(part: str) -> None:
    model = small()
    sum(model.losses(batch(), part).values()).backward()  # type: ignore[union-attr]
    for parameter in model.parts()[part]["params"]:
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


def test_every_parameter_is_in_one_part() -> None:
    model = small()
    parts = [parameter for part in model.parts().values() for parameter in part["params"]]
    assert len(parts) == len(set(parts)) == len(list(model.parameters()))


def explicit_attention(attention: r3d.Attention, x: torch.Tensor, causal: bool) -> torch.Tensor:
    """softmax(Q K^T / sqrt(d)) V, a head and a query at a time, as in the listing but for the mask's value."""
    b, c, h, w = x.shape
    width = c // attention.heads
    sequence = x.permute(0, 2, 3, 1).reshape(b, h * w, c)
    projected = F.linear(sequence, attention.project.weight, attention.project.bias)
    out = torch.zeros_like(sequence)
    for head in range(attention.heads):
        q, k, v = (projected[..., n * c + head * width : n * c + (head + 1) * width] for n in range(3))
        for position in range(h * w):
            seen = position + 1 if causal else h * w
            scores = (k[:, :seen] @ q[:, position, :, None])[..., 0] / sqrt(width)
            out[:, position, head * width : (head + 1) * width] = (scores.softmax(1)[:, None] @ v[:, :seen])[:, 0]
    out = F.linear(out, attention.output.weight, attention.output.bias)
    return x + out.reshape(b, h, w, c).permute(0, 3, 1, 2)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_the_formula(causal: bool) -> None:
    torch.manual_seed(0)
    attention = r3d.Attention(8, r3d.Config(**(vars(SMALL) | {"attention": "causal" if causal else "full"}))).eval()
    x = torch.randn(2, 8, 3, 4)
    torch.testing.assert_close(attention(x), explicit_attention(attention, x, causal), atol=1e-5, rtol=1e-5)


def test_only_causal_attention_is_blind_to_what_comes_later() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 8, 3, 4)
    changed = x.clone()
    changed[..., 2, 1] += 1  # position 9 of 12
    for causal in (True, False):
        attention = r3d.Attention(8, r3d.Config(**(vars(SMALL) | {"attention": "causal" if causal else "full"}))).eval()
        same = torch.isclose(attention(x), attention(changed), atol=1e-6).all(1).flatten()
        assert same[:9].all() == causal
        assert not same[9:].any()


def test_attention_drops_weights_and_output_in_training_only() -> None:
    x = torch.randn(1, 8, 3, 4)
    for changes in ({"dropout": 0.5, "attention_dropout": 0.0}, {"dropout": 0.0, "attention_dropout": 0.5}):
        attention = r3d.Attention(8, r3d.Config(**(vars(SMALL) | changes)))
        assert not torch.equal(attention(x), attention(x))
        attention.eval()
        assert torch.equal(attention(x), attention(x))


def test_kl_is_that_of_torch_distributions() -> None:
    torch.manual_seed(0)
    mu, logvar = torch.randn(5, 7), torch.randn(5, 7)
    expected = kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(blocks.kl_divergence(mu, logvar), expected)
    assert blocks.kl_divergence(torch.zeros(1, 3), torch.zeros(1, 3)) == 0


def test_noise_has_the_standard_deviation_that_the_log_variance_says() -> None:
    model, drawn = small(), []
    model.encoder.forward = lambda images: (torch.full((1000, 6), 3.0), torch.full((1000, 6), log(0.25)))  # type: ignore
    model.generator = torch.nn.Sequential()
    model.generator.forward = lambda z: drawn.append(z) or z  # type: ignore
    model._sample(torch.empty(0))
    assert drawn[0].mean().item() == pytest.approx(3, abs=0.05)
    assert drawn[0].std().item() == pytest.approx(0.5, abs=0.02)


def test_losses_of_the_discriminator_by_hand() -> None:
    model = small()
    answers = {"real": 2.0, "fake": -0.5}
    names = iter(["real", "fake"])
    model.discriminator.forward = lambda grid: torch.full((4, 1), answers[next(names)])  # type: ignore
    loss = model.losses(batch(), "discriminator")["discriminator"]
    # -log D(real) - log(1 - D(fake)), D a sigmoid
    assert loss.item() == pytest.approx(log(1 + exp(-2.0)) + log(1 + exp(-0.5)), abs=1e-5)
    assert model.accuracy == 1


def test_losses_of_the_reconstruction_by_hand() -> None:
    model = small()
    mu, logvar, logits = torch.full((4, 6), 0.5), torch.full((4, 6), -1.0), torch.full((4, 1, 16, 16, 16), 1.5)
    model._sample = lambda images: (logits, mu, logvar)  # type: ignore
    model.discriminator.forward = lambda grid: grid.flatten(1).mean(1, keepdim=True)  # type: ignore
    data = batch()
    losses = model.losses(data, "reconstruction")
    share = data["occupancy"].mean().item()
    probability = 1 / (1 + exp(-1.5))
    assert losses["voxels"].item() == pytest.approx(
        -share * log(probability) - (1 - share) * log(1 - probability), 1e-4
    )
    assert losses["kl"].item() == pytest.approx(1e-3 * 6 * -0.5 * (1 - 1 - 0.25 - exp(-1)), 1e-4)
    assert losses["adversarial"].item() == pytest.approx(0.1 * log(1 + exp(-probability)), 1e-4)


def test_the_adversarial_game_begins_after_the_warmup() -> None:
    model = small()
    assert set(model.losses(batch(progress=0.2), "reconstruction")) == {"voxels", "kl"}
    assert model.losses(batch(progress=0.2), "discriminator") == {}
    assert "adversarial" in model.losses(batch(progress=0.25), "reconstruction")
    assert "discriminator" in model.losses(batch(progress=0.25), "discriminator")
    assert small(adversarial_weight=0.0).losses(batch(), "discriminator") == {}


def test_the_discriminator_rests_while_it_is_too_good() -> None:
    model = small()
    model.accuracy.fill_(0.95)
    assert not model.losses(batch(), "discriminator")["discriminator"].requires_grad
    assert model.accuracy < 0.95  # measured anew while it rests
    assert model.losses(batch(), "discriminator")["discriminator"].requires_grad


def test_the_discriminator_judges_what_was_reconstructed_in_one_pass() -> None:
    model, data, passes, seen = small(), batch(), [], []
    model.encoder.register_forward_hook(lambda *_: passes.append(1))
    model.discriminator.register_forward_pre_hook(lambda _, grids: seen.append(grids[0].detach()))
    for part in ("reconstruction", "discriminator"):
        model.losses(data, part)
    deceiving, real, generated = seen
    assert len(passes) == 1
    assert torch.equal(real[:, 0], data["occupancy"]) and torch.equal(generated, deceiving)


@pytest.mark.long
def test_the_loss_falls_on_one_batch() -> None:
    found = learn(small(), "reconstruction", batch(progress=0.0), steps=150, lr=3e-3)
    assert found[-1]["voxels"] < 0.5 * found[0]["voxels"]


def test_the_discriminator_learns_to_tell_real_from_generated() -> None:
    model = small(discriminator_gate=1.0)
    found = learn(model, "discriminator", batch(), steps=40, lr=1e-3)
    assert found[-1]["discriminator"] < 0.5 * found[0]["discriminator"]
    assert model.accuracy == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolution": 40}, "resolution: expected a multiple of 16, got 40"),
        ({"resolution": 0}, "resolution: expected a positive number, got 0"),
        (
            {"image_size": (192, 24)},
            r"image_size: expected 32 or more a side, the product of the pools, got \(192, 24\)",
        ),
        ({"encoder_pools": (2, 4)}, r"encoder_pools: expected 3 factors, got \(2, 4\)"),
        ({"encoder_channels": (32, 66, 128)}, r"heads: expected a divisor of \(32, 66\), got 4"),
        ({"generator_channels": ()}, r"generator_channels: expected one or more positive numbers, got \(\)"),
        ({"hidden": (1024, -1)}, r"hidden: expected positive numbers, got \(1024, -1\)"),
        ({"latent": -3}, "latent: expected a positive number, got -3"),
        ({"dropout": 1.5}, "dropout: expected a share from 0 to 1, got 1.5"),
        ({"adversarial_warmup": -0.1}, "adversarial_warmup: expected a share from 0 to 1, got -0.1"),
        ({"views": 0}, "views: expected a positive number, got 0"),
        ({"fusion": "sum"}, "fusion: expected one of mean, max, got sum"),
        ({"attention": "masked"}, "attention: expected one of full, causal, none, got masked"),
        ({"kl_weight": -1.0}, "kl_weight: expected 0 or more, got -1.0"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        r3d.Config(**changes)
