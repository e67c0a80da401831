"""Operators to choose from have the law, the scope and the size that they should."""

import copy
import pickle

import numpy as np
import pytest
import torch

from companion.rotation import (
    Kronecker,
    Permutation,
    chain,
    exponential,
    flatten,
    haar,
    input_wise,
    layer_wise,
    output_wise,
    skew,
    svd,
    unflatten,
)
from tests.rotation.cases import F64, equal


def test_chain_is_shuffle_then_kronecker_twice():
    """Rebuilt by NumPy from its parts."""
    R = chain(29, 3, **F64)
    expected = np.eye(29)
    for step in reversed(R.parts):
        if isinstance(step, Permutation):
            expected = expected[step.parts[0].numpy()]
        else:
            Q = np.kron(np.kron(*step.parts[:2]), step.parts[2])
            assert step.n == np.prod(step.sizes) >= 27
            expected = np.block(
                [
                    [Q, np.zeros((step.n, 29 - step.n))],
                    [np.zeros((29 - step.n, step.n)), np.eye(29 - step.n)],
                ]
            ) @ expected  # fmt: skip
    kinds = [type(step) for step in R.parts]
    assert kinds == [Kronecker, Permutation, Kronecker, Permutation]
    equal(R.dense(), torch.from_numpy(expected), 1e-13)


@pytest.mark.parametrize("d", [1, 2, 3, 7, 64, 1009, 46_826, 1_000_003])
def test_chain_of_any_length_leaves_out_little(d):
    kronecker = next(R for R in chain(d, 0).parts if isinstance(R, Kronecker))
    assert len(kronecker.sizes) == 3
    assert d - kronecker.n <= max(2, d**0.25)
    assert max(kronecker.sizes) <= 2.1 * d ** (1 / 3) + 3


def test_chain_of_millions_is_orthogonal_in_float32():
    R = chain(3_000_017, 0)
    assert R.error() < 1e-5
    assert R.dtype == torch.float32
    # A unit vector spreads over very many entries: no entry keeps more than 1 % of it.
    x = torch.zeros(R.d)
    x[17] = 1
    assert R(x).square().max() < 0.01
    assert R(x).abs().sum() > 100  # a unit vector that stays put has 1; a uniform one some 1,400


def test_haar_is_uniform():
    """Traces of uniform orthogonal matrices: mean 0, second moment 1, fourth 3.

    Of 3,000 the means deviate by 1/√3000 = .018, √2/√3000 = .026 and √96/√3000 = .18; five of each
    are wrong with a probability below 1e-6. Without the signs of QR the mean is far off.
    """
    traces = torch.stack([haar(5, seed, **F64).dense().trace() for seed in range(3000)])
    for power, moment, bound in [(1, 0, 0.09), (2, 1, 0.13), (4, 3, 0.9)]:
        assert abs((traces**power).mean().item() - moment) < bound
    determinants = [torch.linalg.det(haar(4, seed).dense()).item() for seed in range(400)]
    assert 150 < sum(x > 0 for x in determinants) < 250  # five deviations are 50


def test_exponential_is_its_series_and_a_group():
    t, A = 0.7, torch.tensor([[0.0, -1.0], [1.0, 0.0]], **F64)
    c, s = np.cos(t), np.sin(t)
    equal(exponential(A, t).dense(), torch.tensor([[c, -s], [s, c]], **F64), 1e-15)
    A = skew(9, 3)
    equal(A, -A.T, 0)
    equal(exponential(A, 0.0).dense(), torch.eye(9, **F64), 0)
    both = exponential(A, 0.2) @ exponential(A, 0.5)
    equal(both.dense(), exponential(A, 0.7).dense(), 1e-12)
    slope = (exponential(A, 1e-6).dense() - exponential(A, -1e-6).dense()) / 2e-6
    equal(slope, A, 1e-8)
    assert exponential(skew(200, 1), 3.0).error() < 1e-14, "also far away"
    off = A[~torch.eye(9, dtype=torch.bool)]
    assert abs(skew(300, 0).var().item() - 2) < 0.1  # entries of M - Mᵀ
    assert off.unique().numel() == 72


def test_scopes_mix_what_they_should():
    """A change of one weight moves only those of its parameter, output or input."""
    like = [torch.zeros(4, 3, 2, **F64), torch.zeros(4, **F64), torch.zeros(2, 5, **F64)]
    x = torch.zeros(38, **F64)
    x[8] = 1.0  # weight [1, 1, 0] of the first
    moved = {
        name: [z != 0 for z in unflatten(make(like, 0)(x), like)]
        for name, make in {"layer": layer_wise, "output": output_wise, "input": input_wise}.items()
    }
    for first, *others in moved.values():
        assert not any(z.any() for z in others)
        assert first.sum() > 2
    assert moved["layer"][0].float().mean() > 0.7
    assert moved["output"][0][1].all()
    assert moved["output"][0].sum() == 6
    assert moved["input"][0][:, 1, 0].all()
    assert moved["input"][0].sum() == 4
    for make in (output_wise, input_wise):
        bias = torch.zeros(38, **F64)
        bias[24:28] = torch.arange(4)
        equal(make(like, 0)(bias), bias, 0)


def test_svd_makes_its_matrices_diagonal():
    torch.manual_seed(0)
    matrices = [torch.randn(shape, **F64) for shape in [(4, 6), (3,), (5, 2), (3, 2, 2)]]
    for original, rotated in zip(
        matrices, unflatten(svd(matrices).T(flatten(matrices)), matrices), strict=True
    ):
        if original.dim() == 1:
            equal(rotated, original, 0)
            continue
        values = torch.linalg.svdvals(original.flatten(1))
        expected = torch.zeros(len(original), original[0].numel(), **F64)
        expected.diagonal().copy_(values)
        equal(rotated.flatten(1), expected, 1e-12)


@pytest.mark.parametrize("make", [haar, chain])
def test_a_seed_is_an_operator(make):
    state = torch.get_rng_state()
    a, again, other = make(30, 5), make(30, 5), make(30, 6)
    assert torch.equal(torch.get_rng_state(), state), "the caller's random state is left alone"
    x = torch.randn(30)
    equal(a(x), again(x), 0)
    assert (a(x) - other(x)).abs().max() > 0.1
    equal(make(30, 5, dtype=torch.float64)(x.double()), a(x).double(), 1e-5)
    assert make(30, 5, dtype=torch.float64).to(torch.float32).dtype == torch.float32
    assert a.to(torch.float32, "cpu") is a
    equal(a.to(torch.float64).T(a(x).double()), x.double(), 1e-5)
    assert copy.deepcopy(a) is a
    equal(pickle.loads(pickle.dumps(a))(x), a(x), 0)
