import matplotlib.pyplot as plt
import numpy as np
import torch

from companion import plot


def test_the_damping_diagram_draws_the_roots_within_their_circle_and_the_decay():
    a, mu = torch.linspace(0.1, 3.9, 5), torch.linspace(0, 0.9, 4)
    rates = torch.linspace(0.5, 1.5, 20).view(4, 5)
    pair, run = torch.tensor([0.6 + 0.3j, 0.6 - 0.3j]), torch.tensor([1.0, 0.5, -0.2])
    axes = plot.damping(rates, a, mu, (0.5, 0.45), pair, run)
    rho = np.hypot(0.6, 0.3)
    unit, inner, roots = axes["plane"].lines
    for circle, radius in ((unit, 1), (inner, rho)):
        np.testing.assert_allclose(np.hypot(*circle.get_xydata().T), radius, rtol=1e-6)
    np.testing.assert_allclose(roots.get_xydata(), [[0.6, 0.3], [0.6, -0.3]], rtol=1e-6)
    above, below, drawn = (line.get_ydata() for line in axes["run"].lines)
    np.testing.assert_allclose(above, rho ** np.arange(3), rtol=1e-6)
    np.testing.assert_allclose(below, -above)
    np.testing.assert_allclose(drawn, run)
    shown = axes["map"].collections[0].get_array()
    assert np.ma.count_masked(shown) == (rates > 1).sum()
    plt.close(axes["map"].figure)
