"""Rules printed as JavaScript step as the package does; V8 runs them, without a page."""

import math
from typing import ClassVar, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from companion import optim
from companion.kernels.build import Untranslatable
from companion.kernels.javascript import module, printed
from companion.optim.optimizer import Optimizer
from companion.optim.options import UNIT, Number
from companion.optim.rule import ema, where
from companion.simulate import trajectory
from tests.cases import CASES, label, wide
from tests.play.engine import (
    Engine,
    difference,
    in_browser,
    in_package,
    labels_of,
    literal,
    problem,
)

pytest.importorskip("py_mini_racer", reason="mini-racer brings the V8 that runs them")
TOLERANCE = 1e-12
PRINTED = [(cls, options) for cls, options in CASES if options.get("clip_lambda") is not wide]
printable = pytest.mark.parametrize(("cls", "options"), PRINTED, ids=label)


@printable
def test_a_printed_rule_takes_the_steps_of_the_package(cls, options):
    assert difference(cls, options) <= TOLERANCE


def test_the_problem_moves_x_and_the_state_of_every_rule():
    x0, g = problem(steps=60)
    for cls, options in CASES:
        path = in_package(cls, x0, g, options)
        assert (np.abs(path[-1, 0] - x0) > 1e-5).all(), cls
        assert (path[:, 1:].std(axis=0) > 0).all(), cls


@printable
def test_nan_and_infinity_go_where_they_go_in_the_package(cls, options):
    x0, g = problem(steps=12)
    g[3, 0], g[4, 1], g[5, 2], g[6] = math.nan, math.inf, -math.inf, 0
    g[7, 3], g[8, 4], g[8, 5] = 1e200, 1e-200, -0.0
    labels = labels_of(cls, x0, options)
    got, want = in_browser(cls, x0, g, options, labels), in_package(cls, x0, g, options)
    assert np.isnan(want).any() or (cls is optim.SignSGD and not options)  # NaN has no sign
    np.testing.assert_allclose(got, want, rtol=TOLERANCE, atol=0)


@pytest.mark.parametrize("labels", [[0, 1, 0, 1, 1, 0, 0], [2, 2, 0, 0, 3, 3, 3]])
def test_labelled_blocks_are_those_of_the_package(labels):
    options = {"partition": lambda p, name: torch.tensor(labels), "betas": (0.5, 0.9)}
    x0, g = problem(steps=60)
    assert labels_of(optim.BlockwiseAdam, x0, options) == labels
    got = in_browser(optim.BlockwiseAdam, x0, g, options, labels)
    want = in_package(optim.BlockwiseAdam, x0, g, options)
    np.testing.assert_allclose(got, want, rtol=TOLERANCE)
    one = in_package(optim.BlockwiseAdam, x0, g, {**options, "partition": "tensor"})
    assert not np.allclose(one, want)


@pytest.mark.parametrize(("word", "reduce"), [("mean", np.mean), ("max", np.max)])
def test_the_reductions_of_a_block_are_those_of_its_entries(word, reduce):
    values, labels = [3.0, -1.0, 2.0, 7.0, -5.0], [0, 2, 0, 2, 2]
    engine = Engine()
    z = np.array(values)
    for over, mine in (("Play.whole", [0] * 5), (f"Play.blocks({labels})", labels)):
        want = [reduce(z[np.array(mine) == block]) for block in mine]
        assert engine.call(f"{over}.{word}(Float64Array.from({values}))") == want


def test_numbers_stay_open():
    x0, g = problem(steps=40)
    rule = printed(optim.Adam)
    given = {"lr": 0.05, "beta1": 0.5, "beta2": 0.8, "eps": 1e-3}
    engine = Engine({"Adam": rule})
    setup = f"{{ x0, steps: 40, hyper: {literal(given)}, gradient: (_, t) => g[t - 1] }}"
    got = engine.call(f"Play.run(Play.rules.Adam, {setup}).slice(1)", x0=x0, g=g)
    want = in_package(optim.Adam, x0, g, given)[:, 0]
    np.testing.assert_allclose(got, want, rtol=TOLERANCE)
    assert all(f"h.{name}" in rule for name in given)


def test_what_is_no_number_is_structure_and_zero_decay_is_none():
    plain, decayed = printed(optim.Adam), printed(optim.Adam, weight_decay=0.1)
    assert "weight_decay" not in plain
    assert "weight_decay: 0.1" in decayed
    assert "decoupled" not in printed(optim.Adam, weight_decay=0.1, decoupled=True)
    assert "Play.clamp" not in printed(optim.SGD)
    assert "0.25" in printed(optim.ADOPT)
    assert "0.25" not in printed(optim.ADOPT, clip_lambda=None)
    assert "state: {}" in printed(optim.SGD)
    assert "past: [0, 0, 0]" in printed(optim.AdaShift, n=3)
    assert "v: 0.5" in printed(optim.AdaGrad, initial_accumulator_value=0.5)


class Readers(Optimizer):
    """A reader's own rule: names that JavaScript keeps for itself, a state that starts at x."""

    elementwise = True
    options: ClassVar = {"lambda_": UNIT, "new": Number(0, 1), "β": UNIT}

    class State(NamedTuple):
        var: Tensor
        delete: Tensor
        x: Tensor

    def __init__(self, params, lr=0.1, lambda_=0.5, new=0.25, β=0.75, **options):
        super().__init__(params, {"lr": lr, "lambda_": lambda_, "new": new, "β": β}, **options)

    @classmethod
    def init(cls, x, h):
        return cls.State(torch.zeros_like(x), torch.full_like(x, -0.5), x.clone())

    @staticmethod
    def rule(x, g, s, t, h):
        turn = where(t % 3 == 1, -1.0, 2)
        var = ema(s.var, g, h.new)
        delete = torch.where(g.abs() > 1, s.delete, h.β * s.delete + g.sign())
        slow = ema(s.x, x, h.lambda_)
        step = torch.minimum(var.tanh(), delete.clamp(max=3)) * turn + h.mean_square(g - var).sqrt()
        return x - h.lr * step / t**0.5 + 0.01 * (slow - x), Readers.State(var, delete, slow)


def test_a_rule_of_ones_own_is_printed_too():
    assert difference(Readers, {}) <= TOLERANCE
    assert difference(Readers, {"new": 0.9, "maximize": True, "weight_decay": 0.1}) <= TOLERANCE
    assert "JSON" not in printed(Readers)


class Branching(optim.SGD):
    @staticmethod
    def rule(x, g, s, t, h):
        return (x - g if g.sum() > 0 else x), s


class Keyword(optim.SGD):
    @staticmethod
    def rule(x, g, s, t, h):
        return torch.sub(x, g, alpha=0.5), s


class Norm(optim.SGD):
    @staticmethod
    def rule(x, g, s, t, h):
        return x - h.lr * g / g.norm(), s


class Uneven(optim.SGD):
    @classmethod
    def init(cls, x, h):
        return cls.State(torch.arange(x.numel()).to(x))


def log(t):
    """Have the name of an operation that has a form."""
    return 2.0 * t


@pytest.mark.parametrize(
    ("cls", "options", "words"),
    [
        (optim.ADOPT, {"clip_lambda": wide}, "calls wide, which has no JavaScript form"),
        (optim.ADOPT, {"clip_lambda": log}, "calls log, which has no JavaScript form"),
        (Branching, {}, "cannot be traced"),
        (Keyword, {}, "calls sub with arguments"),
        (Norm, {}, "uses norm, which has no JavaScript form"),
        (Uneven, {}, "state m starts neither"),
    ],
    ids=lambda z: getattr(z, "__name__", None),
)
def test_what_has_no_form_is_refused_by_name(cls, options, words):
    with pytest.raises(Untranslatable, match=words):
        printed(cls, **options)


def test_a_module_holds_rules_by_any_name():
    name = 'with "quotes", n = 1'
    engine = Engine({name: (optim.SGD, {"lr": 0.5}), "text": printed(optim.Adam)})
    assert engine.call("Object.keys(Play.rules)") == [name, "text"]
    assert engine.call("Object.values(Play.rules).map((r) => r.name)") == [name, "Adam"]
    assert module({}).startswith("// Rules of companion.optim, printed by")


def test_runs_follow_the_conventions_of_trajectory():
    rule, options = optim.AdaBound, {"betas": (0.5, 0.9), "final_lr": 0.3, "gamma": 0.1}
    curvature = [1.0, 3.0]
    got = Engine({"it": (rule, options)}).call(
        """Play.run(Play.rules.it, {
          x0: [1, -2], steps: 20, every: 3, project: [-1.5, 0.9],
          hyper: { lr: (t) => 0.2 / t }, gradient: (x) => x.map((z, i) => a[i] * z),
        })""",
        a=curvature,
    )
    want = trajectory(
        rule,
        lambda x: torch.tensor(curvature) * x,
        torch.tensor([1.0, -2.0], dtype=torch.float64),
        20,
        every=3,
        project=(-1.5, 0.9),
        lr=lambda t: 0.2 / t,
        **options,
    )
    np.testing.assert_allclose(got, want, rtol=TOLERANCE)


def test_a_rule_is_small():
    sizes = {(cls, *options): len(printed(cls, **options)) for cls, options in PRINTED}
    assert all(size < 1100 for (cls, *_), size in sizes.items() if cls is not optim.AdaShift)
    assert max(sizes.values()) < 2200
