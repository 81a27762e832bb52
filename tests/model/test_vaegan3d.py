from __future__ import annotations

from math import exp, log

import pytest
import torch

from model import vaegan3d
from pipeline.scoring.distances import iou
from tests.model.boxes import IMAGE_SIZE, boxes, overfit
from tests.model.boxes import slabs as batch
from tests.model.learning import learn

SMALL = vaegan3d.Config(
    image_size=(16, 24),
    resolution=16,
    encoder_channels=(4, 6, 8, 12),
    encoder_kernels=(5, 3, 3, 3),
    encoder_strides=(2, 2, 2, 1),
    latent=6,
    channels=(8, 4),
    adversarial_weight=0.5,
    adversarial_warmup=0.25,
    discriminator_gate=0.9,
    lr=3e-3,
    discriminator_lr=1e-3,
)
PARTS = ["reconstruction", "discriminator"]


def small(**changes: object) -> vaegan3d.Model:
    torch.manual_seed(0)
    return vaegan3d.Model(vaegan3d.Config(**(vars(SMALL) | changes)))


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_default_network_has_the_parameters_of_the_paper() -> None:
    with torch.device("meta"):
        model = vaegan3d.Model(vaegan3d.Config())
    # Kernels of 11, 5, 5, 5 and 8 pixels a side; the last layer, to 200 means and 200 log-variances, alone has a bias.
    convolutions = 1 * 64 * 11**2 + (64 * 128 + 128 * 256 + 256 * 512) * 5**2 + 512 * 400 * 8**2 + 400
    assert count(model.encoder) == convolutions + 2 * (64 + 128 + 256 + 512) == 17_418_064
    # Kernels of 4 cells a side: 200 x 1^3 -> 512 x 4^3 -> 256 x 8^3 -> 128 x 16^3 -> 64 x 32^3 -> 1 x 64^3.
    pairs = 512 * 256 + 256 * 128 + 128 * 64 + 64 * 1
    assert count(model.generator) == (200 * 512 + pairs) * 4**3 + 1 + 2 * (512 + 256 + 128 + 64) == 17_569_665
    # The mirror: 1 x 64^3 -> 64 x 32^3 -> 128 x 16^3 -> 256 x 8^3 -> 512 x 4^3 -> 1.
    assert count(model.discriminator) == (pairs + 512 * 1) * 4**3 + 1 + 2 * (64 + 128 + 256 + 512) == 11_048_833


def test_the_default_network_takes_and_gives_the_sizes_of_the_paper() -> None:
    with torch.device("meta"):
        model = vaegan3d.Model(vaegan3d.Config())
        both = model.encoder(torch.empty(2, 1, 256, 256))
        grid = model.generator(torch.empty(2, 200))
        judged = model.discriminator(torch.empty(2, 1, 64, 64, 64))
    assert both.shape == (2, 400)
    assert grid.shape == (2, 1, 64, 64, 64)
    assert judged.shape == (2, 1)


def test_there_are_five_convolutions_each_way() -> None:
    model = small(resolution=64, channels=(8, 8, 4, 4))
    for network, kind in (
        (model.encoder, torch.nn.Conv2d),
        (model.generator, torch.nn.ConvTranspose3d),
        (model.discriminator, torch.nn.Conv3d),
    ):
        assert sum(isinstance(module, kind) for module in network) == 5


@pytest.mark.parametrize("views", [1, 3])
def test_predictions_have_the_shape_of_the_contract_and_are_deterministic(views: int) -> None:
    model = small().eval()
    images = batch(views=views)["images"]
    logits = model.predict(images)
    assert logits.shape == (4, 16, 16, 16)
    assert torch.equal(logits, model.predict(images))
    assert not torch.equal(logits[0], logits[1])


def test_views_are_averaged() -> None:
    model, images = small().eval(), batch(views=3)["images"]
    alone = torch.stack([torch.cat(model.encode(images[:, [view]]), dim=1) for view in range(3)])
    together = torch.cat(model.encode(images), dim=1)
    torch.testing.assert_close(together, alone.mean(0), atol=1e-5, rtol=1e-5)
    assert torch.equal(model.features(images), together[:, :6])


@pytest.mark.parametrize("part", PARTS)
def test_a_gradient_reaches_every_parameter_of_the_part(part: str) -> None:
    model = small()
    torch.stack(list(model.losses(batch(), part).values())).sum().backward()
    for parameter in model.parts()[part]["params"]:
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


def test_every_parameter_is_in_one_part_with_the_rates_of_its_own() -> None:
    model = small()
    parts = model.parts()
    parameters = [parameter for part in PARTS for parameter in parts[part]["params"]]
    assert len(parameters) == len(set(parameters)) == len(list(model.parameters()))
    assert [(parts[part]["lr"], parts[part]["betas"]) for part in PARTS] == [(3e-3, (0.5, 0.999)), (1e-3, (0.5, 0.999))]


def test_losses_of_the_reconstruction_by_hand() -> None:
    model, data = small(), batch()
    mu, logvar = torch.full((4, 6), 0.5), torch.full((4, 6), -1.0)
    rebuilt, sampled = torch.full((4, 1, 16, 16, 16), 1.5), torch.full((4, 1, 16, 16, 16), -0.5)
    model._shapes = lambda images, playing: (rebuilt, sampled, mu, logvar)  # type: ignore
    model.discriminator.forward = lambda grid: grid.flatten(1).mean(1, keepdim=True)  # type: ignore
    losses = model.losses(data, "reconstruction")
    full, share = 1 / (1 + exp(-1.5)), data["occupancy"].mean().item()
    squares = share * (1 - full) ** 2 + (1 - share) * full**2  # mean over cells; the weight is that of a sum over 64^3
    assert losses["reconstruction"].item() == pytest.approx(1e-4 * 64**3 * squares, 1e-4)
    assert losses["kl"].item() == pytest.approx(5 * -0.5 * (1 - 1 - 0.25 - exp(-1)), 1e-4)  # mean over the latent
    assert losses["adversarial"].item() == pytest.approx(0.5 * log(1 + exp(-1 / (1 + exp(0.5)))), 1e-4)


def test_losses_of_the_discriminator_by_hand() -> None:
    model = small()
    answers = iter([2.0, -0.5])  # of real shapes, then of generated ones
    model.discriminator.forward = lambda grid: torch.full((4, 1), next(answers))  # type: ignore
    loss = model.losses(batch(), "discriminator")["discriminator"]
    # -log D(x) - log(1 - D(G(z))), D a sigmoid
    assert loss.item() == pytest.approx(log(1 + exp(-2.0)) + log(1 + exp(-0.5)), abs=1e-5)
    assert model.accuracy == 1


def test_the_discriminator_judges_shapes_that_no_photo_has_a_part_in() -> None:
    model, data, seen = small().eval(), batch(), []
    model.discriminator.forward = lambda grid: seen.append(grid) or grid.flatten(1)[:, :1]  # type: ignore
    for images in (data["images"], 1 - data["images"]):
        torch.manual_seed(3)
        model.losses(data | {"images": images}, "discriminator")
    real, first, again, second = seen
    assert torch.equal(real[:, 0], data["occupancy"]) and torch.equal(real, again)
    torch.testing.assert_close(first, second)


def test_it_judges_the_shapes_that_were_to_deceive_it() -> None:
    model, data, passes, seen = small(), batch(), [], []
    model.encoder.register_forward_hook(lambda *_: passes.append(1))
    model.discriminator.register_forward_pre_hook(lambda _, grids: seen.append(grids[0].detach()))
    for part in PARTS:
        model.losses(data, part)
    deceiving, real, generated = seen
    assert len(passes) == 1
    assert torch.equal(real[:, 0], data["occupancy"]) and torch.equal(generated, deceiving)


def test_neither_game_nor_divergence_reaches_the_others_network() -> None:
    model = small().eval()  # in training, batch normalisation knows of both
    losses = model.losses(batch(), "reconstruction")
    of_game = torch.autograd.grad(losses["adversarial"], list(model.encoder.parameters()), retain_graph=True)
    assert all(gradient.abs().max() == 0 for gradient in of_game)
    of_kl = torch.autograd.grad(losses["kl"], list(model.generator.parameters()), allow_unused=True)
    assert all(gradient is None for gradient in of_kl)


def test_the_game_begins_after_the_warmup() -> None:
    model = small()
    assert set(model.losses(batch(progress=0.2), "reconstruction")) == {"reconstruction", "kl"}
    assert model.losses(batch(progress=0.2), "discriminator") == {}
    assert "adversarial" in model.losses(batch(progress=0.25), "reconstruction")
    assert "discriminator" in model.losses(batch(progress=0.25), "discriminator")
    assert small(adversarial_weight=0.0).losses(batch(), "discriminator") == {}


def test_the_discriminator_rests_while_it_is_too_good() -> None:
    model = small()
    model.accuracy.fill_(0.9)  # not above the gate
    assert model.losses(batch(), "discriminator")["discriminator"].requires_grad
    model.accuracy.fill_(0.95)
    assert not model.losses(batch(), "discriminator")["discriminator"].requires_grad
    assert model.accuracy < 0.95  # measured anew while it rests
    assert model.losses(batch(), "discriminator")["discriminator"].requires_grad


def test_the_discriminator_learns_to_tell_real_from_generated() -> None:
    model = small(discriminator_gate=1.0)
    found = learn(model, "discriminator", batch(), steps=60, lr=3e-3)
    assert found[-1]["discriminator"] < 0.5 * found[0]["discriminator"]
    assert model.accuracy == 1


@pytest.mark.long
def test_sixteen_shapes_are_learnt_by_heart() -> None:
    model, data = small(image_size=IMAGE_SIZE, latent=16, channels=(32, 16), kl_weight=0.0), boxes(16)
    overfit(model, data, steps=100, lr=6e-3)
    assert iou(model.predict(data["images"]) > 0, data["occupancy"].bool()).mean() >= 0.9


def test_samples_are_those_of_the_generator_given() -> None:
    model = small().eval()
    first, again, other = (model.sample(3, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert first.shape == (3, 16, 16, 16)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    z = torch.randn(3, 6, generator=torch.Generator().manual_seed(5))
    assert torch.equal(first, model.generator(z)[:, 0])


def test_samples_have_the_moments_of_the_prior() -> None:
    model, drawn = small().eval(), []
    model.decode = lambda z: drawn.append(z) or z  # type: ignore
    model.sample(2000, torch.Generator().manual_seed(0))
    assert drawn[0].mean().item() == pytest.approx(0, abs=0.05)
    assert drawn[0].std().item() == pytest.approx(1, abs=0.05)


def test_interpolation_ends_at_the_predictions() -> None:
    model, images = small().eval(), batch()["images"]
    predicted, (first, second) = model.predict(images), model.features(images)[:2]
    between = model.interpolate(first, second, 5)
    assert between.shape == (5, 16, 16, 16)
    torch.testing.assert_close(between[0], predicted[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(between[-1], predicted[1], atol=1e-5, rtol=1e-5)
    middle = model.generator((first + second)[None] / 2)[0, 0]
    torch.testing.assert_close(between[2], middle, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolution": 32}, "resolution: expected 64, as the channels have it, got 32"),
        ({"channels": ()}, r"channels: expected one or more positive numbers, got \(\)"),
        ({"image_size": (0, 64)}, r"image_size: expected one or more positive numbers, got \(0, 64\)"),
        ({"encoder_strides": (4, 2)}, r"encoder_strides: expected 4 numbers, got \(4, 2\)"),
        ({"encoder_kernels": (11, 4, 5, 5)}, r"encoder_kernels: expected odd numbers, got \(11, 4, 5, 5\)"),
        ({"latent": 0}, "latent: expected a positive number, got 0"),
        ({"kl_weight": -1.0}, "kl_weight: expected 0 or more, got -1.0"),
        ({"discriminator_gate": 1.5}, "discriminator_gate: expected a share from 0 to 1, got 1.5"),
        ({"betas": (0.5, 1.0)}, r"betas: expected numbers from 0 to below 1, got \(0.5, 1.0\)"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        vaegan3d.Config(**changes)
