import torch

from companion import problems
from tests.problems.cases import EXACT, normal


def test_landscapes_have_the_stated_minima_and_gradients():
    for f, minimiser in [
        (problems.rosenbrock, [1.0, 1.0]),
        (problems.ravine(50), [0.0, 0.0]),
        (problems.rastrigin, [0.0, 0.0]),
    ]:
        x = torch.tensor(minimiser, dtype=torch.float64)
        assert f(x).item() == 0
        assert problems.gradient(f)(x).abs().max() == 0
        assert bool((f(x + 0.1 * normal(5, 4, 2)) > 0).all())
    x = normal(7, 2)
    a, b = x.unbind(-1)
    expected = torch.stack([2 * (a - 1) - 400 * a * (b - a**2), 200 * (b - a**2)], -1)
    torch.testing.assert_close(problems.gradient(problems.rosenbrock)(x), expected, **EXACT)
    with torch.no_grad():
        torch.testing.assert_close(problems.gradient(problems.rosenbrock)(x), expected, **EXACT)
