"""The hierarchical VAE against torch.distributions, and against integrals over its latents."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from companion.models import VAE, VAEConfig
from companion.models import vae as module

TINY = {"size": 1, "width": 3, "latent": 1}


def trained(groups, scale=1.5, **sizes):
    """Return a model in float64 whose weights are far from zero, heads too."""
    torch.manual_seed(0)
    model = VAE(VAEConfig(groups=groups, zero_heads=False, **{**TINY, **sizes})).double()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(scale)
    return model


def test_the_divergence_of_a_residual_posterior_is_that_of_torch_distributions():
    torch.manual_seed(0)
    mean, log_std, shift, log_scale = torch.randn(4, 50, dtype=torch.float64)
    p = Normal(mean, log_std.exp())
    q = Normal(mean + shift, (log_std + log_scale).exp())
    found = module.residual_kl(shift, log_scale, log_std)
    torch.testing.assert_close(found, kl_divergence(q, p), rtol=1e-12, atol=1e-12)


def test_the_kl_of_a_group_is_the_mean_of_its_log_ratios():
    model = trained((1,), size=2)
    x = torch.ones(1, 1, 2, 2, dtype=torch.float64).expand(20_000, -1, -1, -1)
    with torch.no_grad():
        parts = model(x)
    assert parts.kl[0, 0] > 0.02  # the same for each: the first group's does not depend on a sample
    error = parts.log_ratio.std() / len(x) ** 0.5
    assert -parts.log_ratio.mean() == pytest.approx(parts.kl[0, 0].item(), abs=4 * error.item())


def with_noise(monkeypatch, noises, call):
    """Return what a call gives when the groups draw these noises, each (n,), in order."""
    left = iter(noises)

    def draw(*shape, device):
        return next(left).view(shape)

    with monkeypatch.context() as patch:
        patch.setattr(module.torch, "randn", draw)
        with torch.no_grad():
            return call()


def exact(model, groups, monkeypatch, nodes=24):
    """Return log p(x = 1) and the ELBO of one pixel, by Gauss-Hermite quadrature over all noise."""
    z, w = map(torch.from_numpy, np.polynomial.hermite_e.hermegauss(nodes))
    grid = torch.meshgrid(*[z] * groups, indexing="ij")
    noises = [axis.flatten() for axis in grid]
    weights = torch.meshgrid(*[w / w.sum()] * groups, indexing="ij")
    weight = torch.stack(weights).prod(0).flatten()
    x = torch.ones(len(weight), 1, 1, 1, dtype=torch.float64)
    drawn = with_noise(monkeypatch, noises, lambda: model.sample(len(x)))
    parts = with_noise(monkeypatch, noises, lambda: model(x))
    elbo = -(weight * (parts.reconstruction + parts.kl.sum(1))).sum()
    return (weight * drawn.flatten()).sum().log().item(), elbo.item()


@pytest.mark.parametrize("groups", [1, 2])
def test_the_elbo_bounds_the_likelihood_and_importance_samples_find_it(groups, monkeypatch):
    model = trained((groups,))
    log_p, elbo = exact(model, groups, monkeypatch)
    assert elbo < log_p - 0.002
    x = torch.ones(4000, 1, 1, 1, dtype=torch.float64)
    with torch.no_grad():
        one = model.log_likelihood(x, 1)
        many = model.log_likelihood(x, 60)
        parts = model(x)
    sampled = -(parts.reconstruction + parts.kl.sum(1))
    for found in (one, sampled):  # unbiased for the ELBO
        assert found.mean().item() == pytest.approx(elbo, abs=4 * found.std().item() / 4000**0.5)
    total = many.logsumexp(0).item() - math.log(4000)  # unbiased for p(x), before the logarithm
    assert total == pytest.approx(log_p, abs=4 * many.std().item() / 4000**0.5)


def test_heads_at_zero_start_with_a_posterior_that_is_the_prior():
    torch.manual_seed(0)
    sizes = {"size": 8, "width": 4, "latent": 3, "groups": (6, 6)}
    x = torch.rand(16, 1, 8, 8).round()
    zero, random = (VAE(VAEConfig(**sizes, zero_heads=zeros)) for zeros in (True, False))
    parts = zero(x)
    assert parts.kl.shape == (16, 12)
    assert not parts.kl.any()
    assert not parts.log_ratio.any()
    assert parts.reconstruction.mean() < 60  # 64 pixels at log 2 are 44.4 nats
    assert random(x).kl.sum(1).mean() > 0.1


def test_heads_at_zero_leave_the_encoder_without_a_first_gradient():
    torch.manual_seed(0)
    model = VAE(VAEConfig(size=8, width=4, latent=2, groups=(1, 1), patch=2))
    parts = model(torch.rand(8, 1, 8, 8).round())
    (parts.reconstruction + parts.kl.sum(1)).mean().backward()
    for name, p in model.named_parameters():
        inside = name.startswith(("encoder", "inlet", "down"))
        assert p.grad.any().item() != inside, name


@pytest.mark.parametrize(
    ("sizes", "side"),
    [
        ({"size": 8, "groups": (1,)}, 8),
        ({"size": 28, "groups": (1, 2), "patch": 4}, 4),  # 28 + 4 pixels of margin, 8 × 8 places
        ({"size": 28, "groups": (2, 1), "stem": 2}, 4),
        ({"size": 5, "groups": (1, 1, 1), "channels": 2}, 2),
    ],
)
def test_sizes(sizes, side):
    config = VAEConfig(width=2, latent=3, **sizes)
    model, shape = VAE(config), (2, config.channels, config.size, config.size)
    assert model.start.shape[1:] == (side, side)
    parts = model(torch.zeros(shape))
    assert parts.kl.shape == (2, sum(config.groups))
    drawn = model.sample(2)
    assert drawn.shape == shape
    assert ((drawn > 0) & (drawn < 1)).all()


def test_a_temperature_of_zero_draws_one_image():
    first, second = trained((2,), size=4).float().sample(2, temperature=0.0)
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize("wrong", [{"groups": ()}, {"groups": (0,)}, {"patch": 0}, {"stem": -1}])
def test_sizes_that_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        VAEConfig(**{**TINY, "groups": (1,), **wrong})
