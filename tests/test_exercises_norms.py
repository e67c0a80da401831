"""The checks of the chapter on norms: stubs, typical errors, right answers."""

import pytest
import torch

from companion.checks import norms


def nothing(*arguments):
    return ...


def weighted(g, w):
    dual = (w * g).abs().sum()
    return dual, -dual * w * g.sign()


def divided(g, w):
    dual = (g / w).abs().sum()
    return dual, -dual * g.sign() / w


def unweighted_step(g, w):
    dual = (w * g).abs().sum()
    return dual, -dual * g.sign()


def only_the_step(g, w):
    return weighted(g, w)[1]


def block_step(g, labels):
    count = torch.bincount(labels)
    length = torch.zeros(len(count), dtype=g.dtype).index_add(0, labels, g**2).sqrt()
    dual = (count.sqrt() * length).sum()
    return -dual * (count.sqrt() / length)[labels] * g


def without_sizes(g, labels):
    length = torch.zeros(int(labels.max()) + 1, dtype=g.dtype).index_add(0, labels, g**2).sqrt()
    return -length.sum() * g / length[labels]


def advantage(g, H):
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=g.dtype)] * len(g))
    constant = ((corners @ H) * corners).sum(-1).max()
    return g.abs().sum() ** 2 / constant / (g.square().sum() / torch.linalg.matrix_norm(H, 2))


def with_sum(g, H):
    two = torch.linalg.matrix_norm(H, 2)
    return g.abs().sum() ** 2 / H.abs().sum() / (g.square().sum() / two)


def with_trace(g, H):
    two = torch.linalg.matrix_norm(H, 2)
    return g.abs().sum() ** 2 / H.trace() / (g.square().sum() / two)


@pytest.mark.parametrize(
    "check",
    [norms.check_weighted, norms.check_block_step, norms.check_tight, norms.check_advantage],
)
def test_a_stub_is_not_yet_an_answer(check):
    verdict = check(nothing)
    assert not verdict.passed
    assert ": not yet: " in verdict.message


@pytest.mark.parametrize(
    ("check", "answer", "part"),
    [
        (norms.check_weighted, divided, "in r the norm"),
        (norms.check_weighted, unweighted_step, "step: expected"),
        (norms.check_weighted, only_the_step, "return two values"),
        (norms.check_block_step, without_sizes, "sqrt(d_b)"),
        (norms.check_block_step, lambda g, b: -block_step(g, b), "where does the minus go"),
        (norms.check_block_step, lambda g, b: -g, "the dual norm times"),
        (norms.check_tight, lambda K, x0: (x0, 1.0), "from x0 to -x0"),
        (norms.check_tight, lambda K, x0: (2 * x0, 0.5), "which term of the bound"),
        (norms.check_advantage, with_sum, "signs that do not fit"),
        (norms.check_advantage, with_trace, "try all signs"),
        (norms.check_advantage, lambda g, H: 1 / advantage(g, H), "try all signs"),
    ],
)
def test_a_typical_error_is_named(check, answer, part):
    verdict = check(answer)
    assert not verdict.passed
    assert "not right yet" in verdict.message
    assert part in verdict.message


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (norms.check_weighted, weighted),
        (norms.check_block_step, block_step),
        (norms.check_tight, lambda K, x0: (2 * x0, 1.0)),
        (norms.check_advantage, advantage),
    ],
)
def test_a_right_answer_passes(check, answer):
    assert check(answer).passed


def test_the_reference_step_is_the_minimum():
    """No other step makes ⟨g, s⟩ + ½‖s‖²_Φ smaller than the reference answer."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 1, 0, 2, 1, 0])
    g = torch.randn(6, generator=generator, dtype=torch.float64)

    def value(s):
        blocks = torch.stack([s[..., labels == b].square().mean(-1) for b in range(3)])
        return s @ g + blocks.amax(0) / 2

    best = block_step(g, labels)
    noise = torch.randn(5000, 6, generator=generator, dtype=torch.float64)
    others = best + noise * torch.logspace(-4, 1, 5000, dtype=torch.float64).unsqueeze(-1)
    assert (value(others) >= value(best) - 1e-12).all()
