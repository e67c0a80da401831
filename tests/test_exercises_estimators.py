"""The checks of the chapter on measuring a Hessian by products: stubs, errors, right answers."""

import pytest
import torch
from torch.func import grad, jvp

from companion.checks import estimators
from companion.hessian.cauchy import median_factor


def nothing(*arguments):
    return ...


def hvp(f, x, v):
    return jvp(grad(f), (x,), (v,))[1]


def reverse_twice(f, x, v):
    return grad(lambda z: grad(f)(z) @ v)(x)


def quotient(f, x, v, h=1e-3):
    return (grad(f)(x + h * v) - grad(f)(x - h * v)) / (2 * h)


def hutchinson(product, V):
    terms = torch.stack([v @ product(v) for v in V.T])
    return terms.mean(), terms.std() / len(terms) ** 0.5


def spread_of_terms(product, V):
    terms = torch.stack([v @ product(v) for v in V.T])
    return terms.mean(), terms.std()


def summed_terms(product, V):
    value, stderr = hutchinson(product, V)
    return value * V.shape[1], stderr


def over_n(product, V):
    terms = torch.stack([v @ product(v) for v in V.T])
    return terms.mean(), terms.std(correction=0) / len(terms) ** 0.5


def corrected_median(X):
    n, ordered = X.shape[1], X.abs().sort(1).values
    return (ordered[:, (n - 1) // 2] + ordered[:, n // 2]).sum() / 2 / median_factor(n)


def lower_middle(X):
    return X.abs().median(1).values.sum() / median_factor(X.shape[1])


def importance(product, p, draws):
    unit = torch.eye(len(p), dtype=p.dtype)
    terms = torch.stack([product(unit[i]).abs().sum() / p[i] for i in draws])
    return terms.mean(), terms.std() / len(terms) ** 0.5


def unweighted(product, p, draws):
    value, stderr = importance(product, torch.full_like(p, 1 / len(p)), draws)
    return value, stderr


def without_repeats(product, p, draws):
    return importance(product, p, draws.unique())


CASES = {
    "check_hvp": (
        [hvp, reverse_twice],
        [
            (quotient, "differentiate the gradient"),
            (lambda f, x, v: grad(f)(x) * v, "differentiate"),
            (lambda f, x, v: v @ hvp(f, x, v), "expected shape"),
        ],
    ),
    "check_hutchinson": (
        [hutchinson],
        [
            (lambda product, V: hutchinson(product, V)[0], "two values"),
            (spread_of_terms, "root of n"),
            (over_n, "over n - 1"),
            (summed_terms, "the mean of"),
        ],
    ),
    "check_corrected_median": (
        [corrected_median],
        [
            (lower_middle, "lower middle"),
            (lambda X: X.abs().quantile(0.5, dim=1).sum(), "divide the factor out"),
            (lambda X: X.quantile(0.5, dim=1).sum() / median_factor(X.shape[1]), "absolute"),
            (lambda X: corrected_median(X) * median_factor(X.shape[1]) ** 2, "divide"),
        ],
    ),
    "check_importance": (
        [importance],
        [
            (unweighted, "its probability"),
            (without_repeats, "estimate: expected"),
            (lambda product, p, draws: importance(product, p, draws)[0], "two values"),
            (lambda *a: (importance(*a)[0], importance(*a)[1] * 2), "root of m"),
        ],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_check_knows_stub_wrong_and_right(name):
    check, (right, wrong) = getattr(estimators, name), CASES[name]
    assert ": not yet: " in check(nothing).message
    for answer, part in wrong:
        verdict = check(answer)
        assert "not right yet" in verdict.message
        assert part in verdict.message
    for answer in right:
        assert check(answer).passed


def test_the_reference_answers_are_unbiased():
    """Within four standard errors of the truth, which chance breaks once in 16,000 seeds."""
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    H = A + A.T
    V = torch.randint(2, (6, 4000), generator=generator).double() * 2 - 1
    value, stderr = hutchinson(lambda v: H @ v, V)
    assert abs(value - H.trace()) < 4 * stderr
    p = torch.rand(6, generator=generator, dtype=torch.float64) + 0.1
    draws = torch.multinomial(p, 4000, replacement=True, generator=generator)
    value, stderr = importance(lambda v: H @ v, p / p.sum(), draws)
    assert abs(value - H.abs().sum()) < 4 * stderr
    v = torch.empty(4000, 6, 11, dtype=torch.float64).cauchy_(generator=generator)
    # One matrix of 4000 blocks of rows: the median is a row's, and the sum of all is linear.
    X = (H @ v).flatten(0, 1)
    found = X.abs().median(1).values.view(4000, 6).sum(1) / median_factor(11)
    assert torch.allclose(corrected_median(X), found.sum())
    assert abs(found.mean() - H.abs().sum()) < 4 * found.std() / len(found) ** 0.5
