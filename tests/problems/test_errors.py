"""What a problem refuses, and what it says."""

import pytest
import torch

from companion import problems
from companion.problems import (
    AdoptToy,
    DeadReLU,
    Function2,
    HingeOutlier,
    HintonRprop,
    LeastSquares,
    Linear,
    Quadratic,
    RareJump,
    ReddiMod3,
    ReddiStochastic,
    Samples,
    SparseLogistic,
)
from tests.problems.cases import PROBLEMS

F = PROBLEMS["least squares"][0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Quadratic([1.0, -1.0]), "eigenvalues must be positive"),
        (lambda: Quadratic(3.0), "eigenvalues must be positive"),
        (lambda: Quadratic([]), "eigenvalues must be positive"),
        (lambda: Quadratic([1.0, 2.0], torch.ones(2, 2)), "rotation must be orthogonal"),
        (lambda: Quadratic([1.0, 2.0], torch.eye(3)), "rotation must be orthogonal"),
        (lambda: Quadratic([1.0, 2.0], minimiser=[0.0]), r"minimiser must have shape \(2,\)"),
        (lambda: Quadratic([1.0]).noisy(-1.0), "sigma must be at least 0, got -1.0"),
        (lambda: LeastSquares(torch.ones(3, 2), torch.ones(2)), "features must have shape"),
        (lambda: LeastSquares(torch.ones(3, 2), torch.ones(3)), "full column rank"),
        (lambda: LeastSquares.random(2, 3, 10, 0.1), "n=2, d=3"),
        (
            lambda: RareJump(torch.ones(4) > 0, torch.zeros(3, 2), 2.0),
            r"noise must have shape \(4, 2",
        ),
        (lambda: RareJump(torch.ones(4) > 0, torch.zeros(4, 2), 0.0), "flatter must be above 0"),
        (lambda: F.samples(3, "random"), "order must be one of .* got 'random'"),
        (lambda: F.samples(0), "batch_size must be a whole number of at least 1, got 0"),
        (lambda: F.samples(2.5), "batch_size must be a whole number .* got 2.5"),
        (lambda: F.samples(5, "cyclic"), "batch_size must divide n = 12 .* got 5"),
        (lambda: SparseLogistic(n=0, d=3), "n, d >= 1"),
        (lambda: SparseLogistic(n=4, d=3, power=-1), "power >= 0"),
        (lambda: HintonRprop("sorted"), "order must be .* got 'sorted'"),
        (lambda: ReddiMod3(2.0), "C must exceed 2"),
        (lambda: ReddiMod3(3.0, "random"), "order must be one of"),
        (lambda: ReddiStochastic(1.0, 2.0), "0 < delta < C"),
        (lambda: AdoptToy(1), "k must be"),
        (lambda: Function2(1), "n must be"),
        (lambda: Function2(10, a=0.0), "a must be positive"),
        (lambda: HingeOutlier(2), "n must be"),
        (lambda: DeadReLU(1, 1.0), "n must be"),
        (lambda: DeadReLU(3, -1.0), "c must be"),
        (lambda: Linear((1.0, -1.0), 0.0), "frequency must lie"),
        (lambda: Linear((1.0, -1.0), 0.4, "cyclic"), "needs a frequency of 1/n"),
        (lambda: Samples(torch.add, 0), "n must be a whole number of at least 1, got 0"),
        (lambda: Samples(torch.add, 2.0), "n must be a whole number of at least 1, got 2.0"),
        (lambda: Samples(torch.add, True), "n must be a whole number .* got True"),
        (lambda: problems.ravine(0.5), "kappa must be at least 1, got 0.5"),
    ],
)
def test_errors_name_the_argument_and_the_value(call, message):
    with pytest.raises(ValueError, match=message):
        call()
