"""Every smooth problem: its gradient is that of its loss."""

import pytest
import torch

from companion import problems
from tests.problems.cases import EXACT, PROBLEMS, normal


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("lead", [(), (4,), (2, 3)])
def test_gradients_equal_autograd(name, lead):
    f, d = PROBLEMS[name]
    x = normal(*lead, d)
    assert f.loss(x).shape == lead
    torch.testing.assert_close(f.grad(x), problems.gradient(f.loss)(x), **EXACT)


@pytest.mark.parametrize("name", PROBLEMS)
def test_float32_stays_float32(name):
    f, d = PROBLEMS[name]
    x = normal(d).float()
    assert f.loss(x).dtype == f.grad(x).dtype == torch.float32
