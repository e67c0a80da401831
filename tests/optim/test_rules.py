"""Every rule against the papers in NumPy, torch.optim, optax, and its identities."""

import functools
import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from companion import optim
from companion.problems import gradient, rastrigin, rosenbrock
from tests import reference_rules as reference
from tests.cases import CALLS, agree, cases, draw, every, follow, odd_and_even, settings
from tests.naming import label

# How a gradient and a decay reach a rule; the sign turns before the decay is added.
DECAYS = [{}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "decoupled": True, "maximize": True}]


@pytest.mark.parametrize("decay", DECAYS, ids=label)
@cases
def test_equals_the_paper(cls, options, decay):
    xs, rows = draw()
    calls = settings({**options, **decay})
    agree(follow(cls, xs, rows, calls), reference.follow(cls.__name__, xs, rows, calls))


def test_adasgd_moves_all_tensors_of_a_group_by_one_factor():
    xs, rows = draw()
    paths = follow(optim.AdaSGD, xs, rows[:1], [{"lr": 0.1}])
    factors = [
        (path[0] - x) / g for path, x, g in zip(paths, xs, rows[0], strict=True) if g is not None
    ]
    assert max(f.max() for f in factors) == pytest.approx(min(f.min() for f in factors), rel=1e-12)


def test_adopt_after_a_zero_first_gradient():
    """The floor under √v makes the unclipped second step enormous; the clip stops it."""
    grads = [np.array(g) for g in (0.0, 0.1, 0.1)]
    for clip, want in ((0.25, -3.1e-4), (None, -19.01)):
        path = path_of(optim.ADOPT, np.array(0.0), grads, 1e-3, clip_lambda=clip)
        assert path[0] == 0
        assert path[-1] == pytest.approx(want, rel=0.01)


# -- optax -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "options", "name", "theirs"),
    [
        (optim.ADOPT, {}, "contrib.adopt", {}),
        (optim.ADOPT, {"betas": (0.5, 0.8)}, "contrib.adopt", {"b1": 0.5, "b2": 0.8}),
        (optim.ADOPT, {"clip_lambda": None}, "contrib.adopt", {"use_clipping": False}),
        (optim.AMSGrad, {"variant": "optax"}, "amsgrad", {}),
        (optim.Adam, {"betas": (0.5, 0.8)}, "adam", {"b1": 0.5, "b2": 0.8}),
    ],
    ids=label,
)
def test_equals_optax(cls, options, name, theirs):
    optax = pytest.importorskip("optax")
    jax = pytest.importorskip("jax")
    (x,), rows = draw(((4, 3),))
    ours = path_of(cls, x, [g for (g,) in rows], **options)
    with jax.enable_x64(True):
        transform = functools.reduce(getattr, name.split("."), optax)(0.01, **theirs)
        z = jax.numpy.asarray(x)
        state, path = transform.init(z), []
        for (g,) in rows:
            change, state = transform.update(jax.numpy.asarray(g), state, z)
            z = optax.apply_updates(z, change)
            path.append(np.asarray(z))
    agree([ours], [path])


# -- identities ------------------------------------------------------------------------------------


def fixed(shape=(4, 3), calls=CALLS, seed=1):
    """Return a point and gradients without zeros, for one parameter."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape), [rng.normal(size=shape) for _ in range(calls)]


def path_of(cls, x, grads, lr=0.01, **options):
    calls = [{"lr": lr, **options}] * len(grads)
    return follow(cls, [x], [[g] for g in grads], calls)[0]


@pytest.mark.parametrize("variant", ["torch", "optax"])
def test_amsgrad_is_adam_until_the_second_moment_falls(variant):
    x, grads = fixed()
    growing = [np.sign(g) * 1.2**t for t, g in enumerate(grads)]
    falling = [*growing[:20], *(1e-3 * g for g in grads[20:])]
    adam, amsgrad = (
        partial(path_of, optim.Adam, x, betas=(0.9, 0.9)),
        partial(path_of, optim.AMSGrad, x, betas=(0.9, 0.9), variant=variant),
    )
    agree([amsgrad(growing)], [adam(growing)])
    agree([amsgrad(falling)[:20]], [adam(falling)[:20]])
    assert np.abs(amsgrad(falling)[-1] - adam(falling)[-1]).min() > 1e-4


def test_blockwise_adam_with_one_entry_a_block_is_adam():
    xs, rows = draw()
    calls = settings({"weight_decay": 0.1})
    ours = follow(optim.BlockwiseAdam, xs, rows, calls, partition="elements")
    agree(ours, follow(optim.Adam, xs, rows, calls))


def test_blockwise_adam_with_one_block_is_adasgd_on_one_tensor_only():
    xs, rows = draw()
    pair = [[row[2], row[3]] for row in rows]
    one = [[g] for g, _ in pair]
    calls, pairs = settings({"weight_decay": 0.1}), (optim.BlockwiseAdam, optim.AdaSGD)
    agree(*(follow(cls, xs[2:3], one, calls) for cls in pairs))
    blockwise, group = (follow(cls, xs[2:4], pair, calls)[0] for cls in pairs)
    assert np.abs(blockwise - group).max() > 1e-2


# AdaShift(n=1, phi=None) sees v_t = Σ_{k<t} (1-β2) β2^{t-1-k} g_k² at call t. ADOPT, which starts
# its average at g_1², divides by the root of v_t + β2^{t-1} g_1². Both move first at call 2.
SHIFT, DOPT = {"n": 1, "phi": None, "eps": 0.0}, {"clip_lambda": None, "eps": 0.0}


def test_adashift_and_adopt_keep_the_same_second_moment_up_to_its_start():
    x, grads = fixed()
    beta2 = 0.9
    shift, adopt = (nn.Parameter(torch.tensor(x)) for _ in range(2))
    shifter = optim.AdaShift([shift], betas=(0.0, beta2), **SHIFT)
    adopter = optim.ADOPT([adopt], betas=(0.0, beta2), **DOPT)
    for t, g in enumerate(grads, start=1):
        before = adopter.state[adopt]["v"].numpy().copy() if t > 1 else None
        for p, optimizer in ((shift, shifter), (adopt, adopter)):
            p.grad = torch.tensor(g)
            optimizer.step()
        if t > 1:
            v = shifter.state[shift]["v"].numpy()
            agree([before], [v + beta2 ** (t - 1) * grads[0] ** 2])


@pytest.mark.parametrize(
    ("beta2", "change", "calls"),
    [
        (0.9, lambda g: g, 2),  # the first move, whatever the gradients
        (0.9, np.sign, CALLS),  # every move, when v does not change
        (0.0, lambda g: g, CALLS),  # every move, when nothing is left of the start
    ],
)
def test_adashift_is_adopt_without_momentum_where_the_start_of_v_is_forgotten(beta2, change, calls):
    x, grads = fixed()
    grads = [change(g) for g in grads[:calls]]
    options = {"betas": (0.0, beta2)}
    shift = path_of(optim.AdaShift, x, grads, **SHIFT, **options)
    agree([shift], [path_of(optim.ADOPT, x, grads, **DOPT, **options)])
    assert np.abs(shift[-1] - x).min() > 1e-4


def test_adashift_and_adopt_differ_after_that():
    x, grads = fixed()
    shift = path_of(optim.AdaShift, x, grads, betas=(0.0, 0.9), **SHIFT)
    adopt = path_of(optim.ADOPT, x, grads, betas=(0.0, 0.9), **DOPT)
    assert np.abs(shift[2] - adopt[2]).min() > 1e-6


def test_signsgd_is_adam_without_memory():
    x, grads = fixed()
    adam = path_of(optim.Adam, x, grads, betas=(0.0, 0.0), eps=0.0)
    agree([path_of(optim.SignSGD, x, grads)], [adam])


def sgd_average(x, grads, lr, beta):
    """Momentum as an average: m = βm + (1-β)g from m = 0, x = x - αm."""
    path, m = [], 0.0
    for g in grads:
        m = beta * m + (1 - beta) * g
        x = x - lr * m
        path.append(x)
    return np.array(path)


@pytest.mark.parametrize("gap", [1e-2, 1e-4, 1e-6])
def test_adopt_that_never_forgets_is_momentum_sgd_with_a_fixed_diagonal(gap):
    """At β2 = 1 the diagonal would be 1/|g_1|; the paths part in proportion to 1 - β2."""
    x, grads = fixed()
    grads = [np.sign(g) * (1 + np.abs(g)) for g in grads]
    ours = path_of(optim.ADOPT, x, grads, betas=(0.9, 1 - gap), clip_lambda=None)
    scaled = [np.zeros_like(x), *(g / np.abs(grads[0]) for g in grads[1:])]
    limit = sgd_average(x, scaled, 0.01, 0.9)
    assert 0.01 * gap < np.abs(ours - limit).max() < 10 * gap


@pytest.mark.parametrize("scale", [2.0**-40, 1e-6, 1e6])
def test_adam_does_not_see_the_scale_of_the_gradient(scale):
    x, grads = fixed()
    adam = partial(path_of, optim.Adam, x, eps=0.0)
    agree([adam([scale * g for g in grads])], [adam(grads)])


def test_sgd_sums_where_the_average_form_averages():
    """α in the sum's form is α/(1-μ) in the average's; dampening = μ only starts differently."""
    x, grads = fixed()
    momentum, lr = 0.9, 0.01
    average = sgd_average(x, grads, lr / (1 - momentum), momentum)
    agree([path_of(optim.SGD, x, grads, lr, momentum=momentum)], [average])
    damped = path_of(optim.SGD, x, grads, lr, momentum=momentum, dampening=momentum)
    average = sgd_average(x, grads, lr, momentum)
    head_start = np.cumsum([momentum**t for t in range(1, CALLS + 1)])[:, None, None]
    agree([damped], [average - lr * head_start * grads[0]])


# -- symmetries ------------------------------------------------------------------------------------

D = 6


def quadratic():
    """Return a start and the Hessian of a quadratic whose axes are not the coordinates."""
    rng = np.random.default_rng(3)
    turn, _ = np.linalg.qr(rng.normal(size=(D, D)))
    return rng.normal(size=D), turn @ np.diag(np.logspace(0, 2, D)) @ turn.T


def descend(cls, x, hessian, steps=40, **options):
    p = nn.Parameter(torch.tensor(x))
    optimizer = cls([p], **options)
    path = []
    for _ in range(steps):
        p.grad = torch.tensor(hessian) @ p.detach()
        optimizer.step()
        path.append(p.detach().numpy().copy())
    return np.array(path)


def turned(cls, turn, **options):
    """Return the path on f and that on f(R·) from R⁻¹x₀, turned back by R."""
    x, hessian = quadratic()
    there = descend(cls, turn.T @ x, turn.T @ hessian @ turn, **options)
    return descend(cls, x, hessian, **options), there @ turn.T


ROTATION = np.linalg.qr(np.random.default_rng(4).normal(size=(D, D)))[0]
PERMUTATION = np.eye(D)[[3, 0, 5, 1, 4, 2]]


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (optim.SGD, {"lr": 1e-3, "momentum": 0.9}),
        (optim.SGD, {"lr": 1e-3, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
        (optim.AdaSGD, {"lr": 0.05}),
        (optim.AdaSGD, {"lr": 0.05, "weight_decay": 0.1, "decoupled": True}),
        (optim.BlockwiseAdam, {"lr": 0.05, "partition": "tensor"}),
    ],
    ids=label,
)
def test_a_rotation_changes_nothing(cls, options):
    here, there = turned(cls, ROTATION, **options)
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-12)


@every
def test_a_permutation_of_coordinates_changes_nothing(cls):
    here, there = turned(cls, PERMUTATION, lr=1e-2)
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cls", [optim.Adam, optim.ADOPT, optim.SignSGD, optim.AdaGrad], ids=label)
def test_a_rotation_changes_what_coordinatewise_rules_do(cls):
    here, there = turned(cls, ROTATION, lr=0.05)
    assert np.abs(there - here)[-1].max() > 0.05


# -- hyper-parameters by name ----------------------------------------------------------------------


@every
def test_hyper_has_the_defaults_of_the_constructor(cls):
    (group,) = cls([torch.zeros(1)]).param_groups
    h = vars(cls.hyper())
    betas = group.pop("betas", ())
    wanted = {k: v for k, v in group.items() if k != "params"}
    wanted |= {f"beta{i}": beta for i, beta in enumerate(betas, start=1)}
    assert {k: h[k] for k in wanted} == wanted


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"beta2": 1.0}, ValueError, r"Adam: beta2 must be in \[0, 1\), got 1.0"),
        ({"lr": torch.tensor([0.1, -0.1])}, ValueError, "Adam: lr must be in"),
        ({"eps": torch.tensor([math.nan])}, ValueError, "Adam: eps must be in"),
        ({"momentum": torch.tensor([0.5])}, TypeError, "unknown option momentum"),
        ({"momentum": 0.5}, TypeError, "unknown option momentum"),
    ],
    ids=label,
)
def test_hyper_refuses_what_the_constructor_refuses(options, error, message):
    with pytest.raises(error, match=message):
        optim.Adam.hyper(**options)


# -- dtypes ----------------------------------------------------------------------------------------


@cases
def test_a_complex_parameter_is_a_pair_of_reals(cls, options):
    rng = np.random.default_rng(5)
    z0 = rng.normal(size=(4, 3, 2)) @ np.array([1, 1j])
    gs = [rng.normal(size=(4, 3, 2)) @ np.array([1, 1j]) for _ in range(CALLS)]

    def pairs(z):
        return np.stack([z.real, z.imag], axis=-1)

    ours = path_of(cls, z0, gs, **options)
    assert np.iscomplexobj(ours)
    if options.get("partition") is odd_and_even:  # both parts are in the block of their entry
        options = {
            **options,
            "partition": lambda p, name: torch.arange(p.numel()).view(p.shape) // 2 % 2,
        }
    agree([pairs(ours)], [path_of(cls, pairs(z0), [pairs(g) for g in gs], **options)])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@cases
def test_half_precision_rounds_a_float32_step_and_nothing_else(cls, options, dtype):
    torch.manual_seed(0)
    half = nn.Parameter(torch.randn(4, 3).to(dtype))
    full = nn.Parameter(half.detach().float())
    twins = [(half, cls([half], lr=0.01, **options)), (full, cls([full], lr=0.01, **options))]
    for _ in range(12):
        g = torch.randn(4, 3).to(dtype)
        for p, optimizer in twins:
            p.grad = g.to(p.dtype)
            optimizer.step()
        full.data = full.data.to(dtype).float()
        assert half.dtype == dtype
        torch.testing.assert_close(half.detach().float(), full.detach(), rtol=0, atol=0)
    for value, want in zip(*(tree_leaves(o.state[p]) for p, o in twins), strict=True):
        if not isinstance(want, torch.Tensor):
            continue
        assert not value.is_floating_point() or value.dtype == torch.float32
        torch.testing.assert_close(value, want, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("cls", [optim.Adam, optim.AMSGrad, optim.ADOPT, optim.AdaSGD], ids=label)
def test_the_second_moment_of_half_precision_does_not_freeze(cls, dtype):
    """In bfloat16 the factor 0.9999 rounds to one; in float16 the square of 1e-4 rounds to zero."""
    p = nn.Parameter(torch.ones(3, dtype=dtype))
    optimizer = cls([p], betas=(0.9, 0.9999))
    seen = []
    for call in range(5):
        p.grad = torch.full((3,), 1e-4 * (1 + call), dtype=dtype)
        optimizer.step()
        seen.append(optimizer.state[p]["v"].max().item())
    assert seen[0] > 0
    assert all(a < b for a, b in itertools.pairwise(seen))


# -- landscapes ------------------------------------------------------------------------------------

RATES = {  # lr on (Rosenbrock, Rastrigin)
    optim.SGD: (1e-4, 1e-3),
    optim.AdaGrad: (0.5, 0.1),
    optim.RMSprop: (0.01, 0.01),
    optim.SignSGD: (0.01, 0.01),
}


@pytest.mark.parametrize(
    ("f", "start", "which", "bound"),
    # from 409 to the valley's floor; from 36.25 to the bottom of a basin beside, 12.93
    [(rosenbrock, (-2.0, 2.0), 0, 7.0), (rastrigin, (-2.0, 3.5), 1, 13.1)],
    ids=["rosenbrock", "rastrigin"],
)
@every
def test_descends(cls, f, start, which, bound):
    x = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer = cls([x], lr=RATES.get(cls, (0.05, 0.05))[which])
    for _ in range(150):
        x.grad = gradient(f)(x.detach())
        optimizer.step()
    assert f(x).item() < bound
