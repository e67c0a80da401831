"""core.js: walkers, and mathematics that agrees with NumPy's and SciPy's."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from companion.hessian import Dense, smoothness_bracket
from companion.optim import Adam, AdaShift
from companion.play.rules import RULES, rules_js
from companion.problems import Quadratic
from companion.theory import cyclic_drift, cyclic_threshold
from tests.play.engine import Engine, literal


@pytest.fixture(scope="module")
def engine():
    return Engine(RULES)


def close(got, want, tolerance=1e-14):
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


# -- the rules of the figures ----------------------------------------------------------------------


def test_the_rules_of_the_figures_load_and_step(engine):
    last = engine.call(
        """Object.values(Play.rules).map((rule) => {
          const setup = { x0: [1, -2], steps: 50, gradient: (x) => x, hyper: { lr: 0.01 } };
          return Play.run(rule, setup).at(-1);
        })"""
    )
    assert len(last) == len(RULES)
    assert all(0 < abs(x) < abs(x0) for row in last for x, x0 in zip(row, (1, 2), strict=True))


def test_the_rules_take_little_room():
    assert len(rules_js().encode()) < 25_000


# -- walkers ---------------------------------------------------------------------------------------


def test_a_walker_shows_what_it_does_and_can_be_steered(engine):
    got = engine.call(
        """(() => {
          const rule = Play.rules.Adam, seen = [];
          const gradient = (x, _, g) => void (g[0] = 2 * x[0]);
          const walker = Play.walker(rule, { x0: [3], gradient });
          for (let k = 0; k < 4; ++k) {
            if (k === 2) walker.h.lr = 0.5;
            const { x, g, s, t } = walker.step();
            seen.push([x[0], g[0], s.m[0], s.v[0], t]);
          }
          return [seen, walker.h, rule.hyper.lr];
        })()"""
    )
    x, m, v, want = 3.0, 0.0, 0.0, []
    for t in range(1, 5):
        g = 2 * x
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        lr = 0.5 if t > 2 else 0.001
        x -= lr * m / (1 - 0.9**t) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
        want.append([x, g, m, v, t])
    close(got[0], want, 1e-12)
    assert got[1] == {"lr": 0.5, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    assert got[2] == 0.001  # the rule's own numbers stay


def test_a_start_is_not_shared(engine):
    got = engine.call(
        """(() => {
          const x0 = [1, 2], rule = Play.rules["AdaShift, n = 1"];
          const walker = () => Play.walker(rule, { x0, gradient: (x) => x });
          return [x0, walker().step().step().x, walker().s, Play.start(rule, [7])];
        })()"""
    )
    assert got[0] == [1, 2] != got[1]
    assert got[2] == {"v": [0, 0], "past": [[0, 0]]}
    assert got[3] == {"v": [0], "past": [[0]]}


def test_an_unknown_number_is_ignored_and_a_projection_may_be_a_function(engine):
    got = engine.call(
        """Play.run(Play.rules.SGD, {
          x0: [8], steps: 3, gradient: (x) => x, hyper: { lr: 0.5, beta1: 7 },
          project: (x) => x.map((z) => Math.max(z, 3)),
        })"""
    )
    assert got == [[8], [4], [3], [3]]


@pytest.mark.parametrize("rule", [Adam, AdaShift])
def test_a_nan_stays_where_it_is_under_a_projection(engine, rule):
    name = rule.__name__
    assert math.isnan(engine.call("Play.clamp(NaN, -1, 1)"))
    assert engine.call("Play.clamp(0, 2, 1)") == torch.tensor(0.0).clamp(2, 1).item()
    setup = "{ x0: [NaN], steps: 2, gradient: (x) => x, project: [0, 1] }"
    got = engine.call(f"Play.run(Play.rules.{name}, {setup})")
    assert all(math.isnan(x) for (x,) in got)


def test_a_gradient_has_the_length_of_x(engine):
    with pytest.raises(Exception, match="2 entries need a gradient of as many"):
        engine.call("Play.run(Play.rules.SGD, { x0: [1, 2], steps: 1, gradient: () => [1] })")


# -- mathematics -----------------------------------------------------------------------------------


@pytest.mark.parametrize("w", [0, 0.1, 0.49, 0.5, 0.51, 0.9, 1])
def test_weighted_means_are_those_of_torch(engine, w):
    for a, b in ((1 / 3, 0.7), (1e17, 1.0), (1.0, 1e17), (2.0, -math.inf), (math.inf, 2.0)):
        a, b = (torch.tensor(z, dtype=torch.float64) for z in (a, b))
        want = torch.lerp(a, b, w).item()
        got = engine.call(f"Play.lerp(a, b, {w})", a=a, b=b)
        np.testing.assert_allclose(got, want, rtol=1e-15)


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_spaces(engine, n):
    close(engine.call(f"Play.linspace(-0.3, 1.7, {n})"), np.linspace(-0.3, 1.7, n))
    close(engine.call(f"Play.logspace(-3, 0.5, {n})"), np.logspace(-3, 0.5, n), 1e-13)
    assert engine.call(f"Play.linspace(0.1, 0.7, {n}).at(-1)") == (0.7 if n > 1 else 0.1)


@pytest.mark.parametrize("n", [1, 2, 5, 10])
def test_quantiles_are_those_of_torch(engine, n):
    z = torch.randn(n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    for q in (0, 0.1, 0.25, 0.5, 0.9, 1):
        close(engine.call(f"Play.quantile(z, {q})", z=z), z.quantile(q).item())
    close(engine.call("Play.median(z)", z=z), np.median(z))
    close(engine.call("Play.mean(z)", z=z), z.mean().item())
    z[0] = math.nan
    assert math.isnan(engine.call("Play.median(z)", z=z))
    assert engine.call("Play.median([-Infinity, Infinity, Infinity])") == math.inf


def test_products(engine):
    rng = np.random.default_rng(0)
    A, B, x = rng.normal(size=(3, 4)), rng.normal(size=(4, 2)), rng.normal(size=4)
    close(engine.call("Play.matmul(A, B)", A=A, B=B), A @ B)
    close(engine.call("Play.apply(A, x)", A=A, x=x), A @ x)
    close(engine.call("Play.dot(x, x)", x=x), x @ x)
    close(engine.call("Play.norm(x)", x=x), np.linalg.norm(x))
    assert engine.call("Play.transpose(A)", A=A) == A.T.tolist()
    assert engine.call("Play.identity(3)") == np.eye(3).tolist()


MATRICES = {
    "one": [[2.0]],
    "diagonal": np.diag([3.0, -1.0, 2.0]),
    "multiple": np.ones((5, 5)),
    "zero": np.zeros((3, 3)),
    "graded": np.diag([1e-6, 1.0, 1e6]) + 1e-3,
    "random": np.random.default_rng(1).normal(size=(30, 30)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_eigenvalues_and_eigenvectors(engine, name):
    A = np.array(MATRICES[name])
    A = A + A.T
    found = engine.call("Play.eigh(A)", A=A)
    values, V = np.array(found["values"]), np.array(found["vectors"])
    size = max(np.abs(A).sum(), 1.0)
    close(values / size, np.linalg.eigvalsh(A) / size)
    close(V.T @ V, np.eye(len(A)), 1e-13)
    close(A @ V / size, V * values / size)


@pytest.mark.parametrize(("n", "size"), [(1, 3.0), (2, 0.1), (4, 1.0), (6, 20.0), (10, 1.0)])
def test_exponentials_of_skew_matrices_are_rotations(engine, n, size):
    A = size * np.random.default_rng(n).normal(size=(n, n))
    A = A - A.T
    got = engine.call(f"Play.expm({literal(A)})")
    close(got, scipy.linalg.expm(A), 1e-12)
    close(np.array(got).T @ got, np.eye(n), 1e-12)


def test_exponentials_of_other_matrices(engine):
    A = np.random.default_rng(0).normal(size=(5, 5))
    close(engine.call("Play.expm(A)", A=A), scipy.linalg.expm(A), 1e-12)
    assert engine.call("Play.expm([[0, 0], [0, 0]])") == np.eye(2).tolist()


# -- gradients in a cycle --------------------------------------------------------------------------


def test_drift_and_threshold_of_a_cycle_are_those_of_the_package(engine):
    for beta1, beta2, n, rare, common in (
        (0.0, 0.1, 3, 3.0, -1.0),
        (0.9, 0.999, 101, 1010.0, -10.0),
        (0.9, 0.5, 5, 5.0, -1.0),  # no β2 is wrong
        (0.3, 1.0, 5, 5.0, -1.0),
    ):
        cycle = {"n": n, "rare": rare, "common": common}
        got = engine.call("Play.cyclicDrift(beta1, beta2, z)", beta1=beta1, beta2=beta2, z=cycle)
        close(got, cyclic_drift(beta1, beta2, **cycle), 1e-12)
        got = engine.call("Play.cyclicThreshold(beta1, z)", beta1=beta1, z=cycle)
        close(got, cyclic_threshold(beta1, **cycle), 1e-12)


@pytest.mark.parametrize("partition", [[0] * 6, [0, 1, 0, 2, 2, 1], range(6)])
@pytest.mark.parametrize("kind", ["definite", "indefinite", "a zero row"])
def test_the_constant_of_a_partition_lies_in_the_package_s_bracket(engine, partition, kind):
    labels = torch.tensor(list(partition))
    A = torch.randn(6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    H = A @ A.T if kind == "definite" else A + A.T
    if kind == "a zero row":
        H[0] = H[:, 0] = 0
    bracket = smoothness_bracket(Dense(H), labels, rtol=1e-6)
    found = engine.call(f"Play.smoothness(H, {labels.tolist()})", H=H)
    assert bracket.lower * (1 - 1e-4) <= found <= bracket.upper * (1 + 1e-9)


def test_a_quadratic_of_several_starts_is_that_of_each(engine):
    A = torch.randn(3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    x = torch.randn(2, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    f = Quadratic(torch.linalg.eigvalsh(A @ A.T), torch.linalg.eigh(A @ A.T).eigenvectors)
    made = "const f = Play.quadratic(H), g = new Float64Array(6); f.gradient(x, 1, g);"
    call = f"(() => {{ {made} return [g, f.losses(x), f.losses([NaN, 0, 0])]; }})()"
    slope, losses, broken = engine.call(call, H=f.hessian, x=x.flatten())
    close(slope, f.grad(x).flatten(), 1e-12)
    close(losses, f.loss(x), 1e-12)
    assert broken == [math.inf]
