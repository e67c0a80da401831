"""The statements on norms of Hessians and partitions, against matrices of any signs."""

import itertools

import pytest
import torch

from companion.hessian import Dense, smoothness_bracket
from tests.theory.cases import F64

PARTITIONS = [[0] * 6, [0, 0, 0, 1, 1, 1], [0, 0, 1, 2, 2, 2], [0, 0, 1, 2, 2, 3], [*range(6)]]


def symmetric(seed, negative):
    A = torch.randn(6, 6, generator=torch.Generator().manual_seed(seed), **F64)
    A = A + A.T + 2 * torch.diag(A.diagonal())
    return -A @ A.T if negative else A


def blocks(H, label):
    """Return √(d_b d_c) ‖H_bc‖₂ for each pair of blocks."""
    parts = [label == b for b in label.unique()]
    return torch.tensor(
        [
            [(b.sum() * c.sum()).sqrt() * torch.linalg.matrix_norm(H[b][:, c], 2) for c in parts]
            for b in parts
        ]
    )


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_three_norms_are_ordered_whatever_the_signs_of_the_eigenvalues(seed, negative):
    H = symmetric(seed, negative)
    spectral = torch.linalg.eigvalsh(H).abs().max()
    assert H.abs().sum() >= H.square().sum().sqrt() >= spectral
    assert H.trace() <= H.abs().sum()


@pytest.mark.parametrize("seed", range(3))
def test_a_refinement_does_not_raise_the_constant_and_block_norms_bound_it(seed):
    H, last = symmetric(seed, False), float("inf")
    for labels in PARTITIONS:  # each refines the one before
        label = torch.tensor(labels)
        lower, upper, *_ = smoothness_bracket(Dense(H), label, rank=6)
        assert lower <= last * (1 + 1e-9)
        norms = blocks(H, label)
        assert lower <= norms.sum() * (1 + 1e-9)
        last = upper.item()


@pytest.mark.parametrize("labels", PARTITIONS)
def test_row_norms_of_blocks_dominate(labels):
    # Lemma 3.13 with h_b from the triangle inequality: -D ⪯ H ⪯ D.
    H, label = symmetric(0, False), torch.tensor(labels)
    h = blocks(H, label).sum(1) / label.bincount()
    D = h[label].diag()
    assert torch.linalg.eigvalsh(D - H).min() >= -1e-10
    assert torch.linalg.eigvalsh(D + H).min() >= -1e-10


def test_noise_that_depends_on_the_point_can_grow_under_refinement():
    variances = torch.eye(2)  # at two points, for two coordinates
    whole = 2 * variances.mean(1).amax(0).sqrt()
    parts = variances.amax(0).sqrt().sum()
    assert whole < parts


def test_a_division_gains_at_most_the_largest_ratio_of_sizes():
    for coarse, fine in itertools.pairwise(PARTITIONS):
        coarse, fine = torch.tensor(coarse), torch.tensor(fine)
        sizes = coarse.bincount()[coarse] / fine.bincount()[fine]
        for seed in range(3):
            H = Dense(symmetric(seed, seed == 1))
            upper = smoothness_bracket(H, fine, rank=6).upper
            lower = smoothness_bracket(H, coarse, rank=6).lower
            assert upper * sizes.max() >= lower * (1 - 1e-9)
