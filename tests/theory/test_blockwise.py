"""The lemmas and the theorem on blockwise Adam, against exact expectations and measured runs."""

import math

import pytest
import torch

from companion import theory
from tests.theory.cases import F64

LABELS = torch.tensor([0, 0, 1, 1, 1])
SIZES = LABELS.bincount().double()


def block_mean(z):
    """Return the mean over each block, from (..., d) to (..., blocks)."""
    shape = (*z.shape[:-1], len(SIZES))
    return torch.zeros(shape, **F64).index_add(-1, LABELS, z) / SIZES


def draws(n, *shape, seed=0):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), **F64)


def tree(beta2, v0, eps, T, seed=0):
    """Run blockwise RMSprop over every outcome of two noises a step; yield the past and its next.

    Yields for t = 1, …, T: w_{t-1} and w_t with ε, the mean gradient, all of leading shape (paths,)
    or (paths, 2), the mean square G² of both outcomes and the largest variance σ² of each block.
    """
    scale = 1 + draws(T, 5, seed=seed).abs()  # gradients of any size, not those of a function
    x, w = torch.ones(1, 5, **F64), torch.full((1, 2), v0 + eps, **F64)
    for t in range(T):
        mean = scale[t] * x
        flip = torch.tensor([3.0, -1.0], **F64).view(1, 2, 1) * (1 + 0.5 * scale[t])
        weight = torch.tensor([0.25, 0.75], **F64)
        g = mean.unsqueeze(1) + flip  # (paths, 2, d); mean zero: 3/4 − 3/4
        variance = block_mean((flip.square() * weight.view(1, 2, 1)).sum(1))
        square = block_mean(g.square())
        after = beta2 * w.unsqueeze(1) + (1 - beta2) * (square + eps)
        yield w, after, mean, g, square, weight, variance
        x = (x.unsqueeze(1) - 0.3 * g / after.sqrt()[..., LABELS]).flatten(0, 1)
        w = after.flatten(0, 1)


def smoothed(w, mean, sigma2, beta2, eps):
    """Return the ṽ of the proof: v with the expected square, at most, in place of the square."""
    return beta2 * w + (1 - beta2) * (block_mean(mean.square()) + sigma2 + eps)


@pytest.mark.parametrize("beta2", [0.0, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["normal", "rare", "growing", "vanishing"])
def test_the_sum_of_squared_steps_is_bounded(beta2, kind):
    T = 300
    g2 = {
        "normal": draws(T).square(),
        "rare": 1e4 * (torch.arange(T) % 100 == 99).double(),
        "growing": torch.logspace(0, 9, T, **F64),
        "vanishing": torch.logspace(0, -9, T, **F64),
    }[kind]
    v, total = 1.0, 0.0
    for square in g2.tolist():
        v = beta2 * v + (1 - beta2) * square
        total += square / v if square else 0.0
    if beta2 or v > 0:  # at β2 = 0 the last v may be zero
        assert total <= theory.ratio_sum_bound(T, beta2, math.log(max(v, 1e-300))) + 1e-9


def test_the_sum_of_squared_steps_is_attained_by_constant_gradients():
    assert theory.ratio_sum_bound(300, 0.9, growth=0.0) == 300


@pytest.mark.parametrize("beta2", [0.0, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_the_expected_first_order_term_keeps_half_of_the_gradient(beta2, eps):
    # Lemma 3.15: E⟨∇, g⟩/√w ≥ ½ ‖∇‖²/√ṽ - √(1-β2) σ d E[G²/w], for each path and block.
    for w, after, mean, g, square, weight, sigma2 in tree(beta2, 0.3, eps, 7):
        v = smoothed(w, mean, sigma2, beta2, eps)
        inner = SIZES * block_mean(mean.unsqueeze(1) * g) / after.sqrt()
        left = (inner * weight.view(1, 2, 1)).sum(1)
        ratio = ((square / after) * weight.view(1, 2, 1)).sum(1)
        right = SIZES * block_mean(mean.square()) / v.sqrt() / 2
        right = right - math.sqrt(1 - beta2) * sigma2.sqrt() * SIZES * ratio
        assert (left >= right - 1e-12).all()


@pytest.mark.parametrize("beta2", [0.0, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_the_expected_denominator_is_bounded(beta2, eps):
    # Lemma 3.16, exact over all 2^T paths; without noise of its own, so that σ is a constant.
    T, v0 = 8, 0.3
    steps = list(tree(beta2, v0, eps, T))
    sigma2 = torch.stack([s[-1] for s in steps]).amax(0)
    roots, terms, chance = [], [], torch.ones(1, **F64)
    for w, _, mean, _, _, weight, _ in steps:
        v = smoothed(w, mean, sigma2, beta2, eps)
        roots.append(chance @ v.sqrt())
        terms.append(chance @ (block_mean(mean.square()) / v.sqrt()))
        chance = (chance.unsqueeze(1) * weight).flatten()
    late = torch.stack(roots)[T // 2 :].sum(0)
    start = 2 * beta2 ** (T / 4) * math.sqrt(v0) / (1 - beta2)
    noise = T / 2 * (sigma2.sqrt() + math.sqrt(eps))
    assert (late <= start + noise + 2 * torch.stack(terms).sum(0) + 1e-12).all()


def quadratic(seed=0):
    A = draws(5, 5, seed=seed)
    return A @ A.T / 5


def run(H, T, lr, beta2, sigma, v0, eps, seeds=200):
    """Return the mean dual norm of the second half and ℓ, over seeds."""
    generator = torch.Generator().manual_seed(1)
    x, v, total = torch.ones(seeds, 5, **F64), torch.full((seeds, 2), v0, **F64), 0.0
    for t in range(1, T + 1):
        slope = x @ H
        if t > T / 2:
            total += (SIZES * block_mean(slope.square()).sqrt()).sum(-1).mean().item() * 2 / T
        g = slope + sigma * torch.randn(seeds, 5, generator=generator, **F64)
        v = beta2 * v + (1 - beta2) * block_mean(g.square())
        x = x - lr * g / (v + eps).sqrt()[:, LABELS]
    return total, ((v + eps) / (v0 + eps)).log().mean(0).max().item()


@pytest.mark.parametrize("eps", [0.0, 0.01])
@pytest.mark.parametrize("beta2", [0.0, 0.9])
@pytest.mark.parametrize("sigma", [0.0, 0.3])
def test_runs_stay_below_the_theorem(sigma, beta2, eps):
    H, T, v0, d = quadratic(), 400, 0.5, 5
    gap, constant = H.sum().item() / 2, H.abs().sum().item()  # row sums are a valid D
    options = {"gap": gap, "smoothness": constant, "noise": d * sigma, "d": d}
    for lr in (1e-3, 1e-2, 1e-1):
        measured, growth = run(H, T, lr, beta2, sigma, v0, eps)
        bound = theory.blockwise_bound(T, lr, beta2, growth=growth, v0=v0, eps=eps, **options)
        assert measured < bound
        first = (SIZES * block_mean(H.sum(0).square()).sqrt()).sum().item()
        kept = {"gradient": first, "smoothness": constant, "sigma": sigma, "v0": v0, "eps": eps}
        assert growth < theory.growth_bound(T, lr, beta2, **kept)


def test_the_options_of_the_corollaries_give_their_powers():
    def powers(noise):
        bounds = []
        for T in (10**8, 10**10):
            options = theory.corollary_options(T, gap=1.0, smoothness=1.0, factor=4.0)
            growth = theory.growth_bound(
                T, **options, gradient=1.0, smoothness=1.0, sigma=noise, v0=1.0
            )
            kept = {"gap": 1.0, "smoothness": 1.0, "noise": noise, "d": 1, "v0": 1.0}
            bounds.append(theory.blockwise_bound(T, **options, growth=growth, **kept))
        return math.log(bounds[1] / bounds[0]) / math.log(100)

    assert powers(0.0) == pytest.approx(-0.5, abs=0.01)
    assert powers(1.0) == pytest.approx(-0.25, abs=0.02)  # with a logarithm


def test_the_options_refuse_a_run_that_is_too_short():
    with pytest.raises(ValueError, match="factor: expected at most"):
        theory.corollary_options(4, gap=1.0, smoothness=1.0, factor=4.0)
