"""Colour balls: the games drawn again in Python, their sums by weights, and the lemma."""

import torch

from companion.play import Draws
from companion.theory import lemma_a1, momentum_sum_variance

PICTURE = "book/convergence/04_large_beta2.html"
SETTINGS = [
    {},
    {"step": 3, "beta1": 0.5},  # one epoch is over
    {"step": 1},
    {"n": 3, "c0": 5.0, "c1": -1.0, "beta1": 0.9, "seed": 2, "step": 7},
    {"n": 5, "c0": -2.5, "c1": 0.5, "beta1": 0.0},
    {"c0": 2.0, "c1": 2.0, "n": 4},  # all balls alike: no game differs from another
]
EPOCHS, GAMES = 6, 1000
ORDERS = ("reshuffled", "iid")


def labels(v):
    return torch.tensor([v["c0"]] + [v["c1"]] * (v["n"] - 1), dtype=torch.float64)


def drawn(v, order):
    """Return the labels that the games draw: (games, epochs, n)."""
    n, draws = v["n"], Draws(v["seed"], ORDERS.index(order))
    if order == "iid":
        return labels(v)[torch.from_numpy(draws.integers(n, (GAMES, EPOCHS, n)))]
    # Fisher and Yates for all games at once
    u = draws.uniform((GAMES, EPOCHS, n - 1))
    balls = torch.arange(n).repeat(GAMES, EPOCHS, 1)
    for at, place in enumerate(range(n - 1, 0, -1)):
        partner = torch.from_numpy((u[..., at] * (place + 1)).astype(int))[..., None]
        one, other = balls[..., place : place + 1].clone(), balls.gather(-1, partner)
        balls[..., place : place + 1] = other
        balls.scatter_(-1, partner, one)
    return labels(v)[balls]


def errors(v, order, k):
    """Return Σ m - Σ f of every game after k epochs, from the weight of each draw: (games,)."""
    n, beta = v["n"], v["beta1"]
    seen = drawn(v, order)[:, :k].flatten(1)
    at = torch.arange(n * k, dtype=torch.float64)
    since = at[n * (k - 1) :, None] - at  # draws since, at each place of the last epoch
    weights = torch.where(since >= 0, beta ** since.clamp(min=0), 0.0).sum(0)
    return seen @ weights - labels(v).sum() * (beta**at).sum()


def expected(v, data):
    lemma = [lemma_a1(labels(v), v["beta1"], k) for k in range(1, EPOCHS + 1)]
    found = {"r.lemma": lemma}
    for i, order in enumerate(ORDERS):
        for k in (1, 3, EPOCHS):
            values, of = errors(v, order, k), f"r.games[{i}]"
            mean, variance = lemma[k - 1], momentum_sum_variance(labels(v), v["beta1"], k, order)
            # the games are a fair sample of what the lemma is about
            assert abs(values.mean() - mean) <= 4 * (variance / GAMES) ** 0.5 + 1e-9
            assert abs(values.var() - variance) <= 0.2 * variance + 1e-9
            found[f"{of}.sums[{k - 1}]"] = values
            found[f"{of}.mean[{k - 1}]"] = values.mean()
            found[f"{of}.std[{k - 1}]"] = values.std(correction=0)
    return found


def said(v, data):
    k = v["step"] // v["n"]
    if not k:
        return [v["step"], v["n"]]
    values = [errors(v, order, k) for order in ORDERS]
    found = [z.item() for y in values for z in (y.mean(), y.std(correction=0))]
    return [v["step"], k, *found, lemma_a1(labels(v), v["beta1"], k)]
